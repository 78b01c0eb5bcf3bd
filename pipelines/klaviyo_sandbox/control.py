"""
Control over HTTP, for tests in other processes: `/_sandbox/...`, without a key, not counted as API requests.

    GET    /_sandbox/state      the time, requests answered and throttled, jobs listed
    GET    /_sandbox/requests   every API request so far;  DELETE forgets them
    POST   /_sandbox/clock      {"set": "2026-11-22T12:00:00Z"} or {"advance_seconds": 3600}
    GET    /_sandbox/faults     the faults at work;  DELETE removes all
    POST   /_sandbox/faults     {"spec": "status:503@times=2"} adds one
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from klaviyo_sandbox.clock import format_time, parse_time
from klaviyo_sandbox.exchange import Response
from klaviyo_sandbox.faults import parse_fault
from klaviyo_sandbox.render import encode_json
from klaviyo_sandbox.state import SandboxState

CONTROL_PREFIX = "/_sandbox/"


def answer_control(sandbox: SandboxState, method: str, path: str, body: bytes) -> Response:
    """
    Answer one control request; a mistake in it is a 400 or 404 that says so.

    Args:
        sandbox: What to look at or change.
        method: `GET`, `POST` or `DELETE`.
        path: Below `/_sandbox/`.
        body: A JSON object, or nothing.
    """
    try:
        match method, path.removeprefix(CONTROL_PREFIX):
            case "GET", "state":
                data: Any = _state(sandbox)
            case "GET", "requests":
                data = [asdict(record) for record in sandbox.requests]
            case "DELETE", "requests":
                sandbox.reset_requests()
                data = []
            case "POST", "clock":
                _move_clock(sandbox, json.loads(body))
                data = _state(sandbox)
            case "GET", "faults":
                data = _faults(sandbox)
            case "POST", "faults":
                sandbox.faults.append(parse_fault(json.loads(body)["spec"], seed=sandbox.seed))
                data = _faults(sandbox)
            case "DELETE", "faults":
                sandbox.faults.clear()
                data = []
            case _:
                return _json_response(404, {"error": f"there is no control {method} {path}"})
    except (ValueError, KeyError, TypeError) as error:
        return _json_response(400, {"error": f"{type(error).__name__}: {error}"})
    return _json_response(200, data)


def _state(sandbox: SandboxState) -> dict[str, Any]:
    now = sandbox.clock.now()
    return {
        "now": format_time(now),
        "clock_is_fixed": sandbox.clock.is_fixed,
        "request_count": len(sandbox.requests),
        "throttled_count": sandbox.throttled_count,
        "jobs": {label: account.world.counts(now) for label, account in sandbox.accounts.items()},
    }


def _faults(sandbox: SandboxState) -> list[dict[str, Any]]:
    return [asdict(fault) for fault in sandbox.faults]


def _move_clock(sandbox: SandboxState, setting: dict[str, Any]) -> None:
    if set(setting) == {"set"}:
        sandbox.clock.set(parse_time(setting["set"]))
    elif set(setting) == {"advance_seconds"}:
        sandbox.clock.advance(seconds=float(setting["advance_seconds"]))
    else:
        raise ValueError('give either "set" or "advance_seconds"')


def _json_response(status: int, data: Any) -> Response:
    return Response(status, encode_json(data), {"Content-Type": "application/json"})

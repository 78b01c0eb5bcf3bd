"""
Tell a monitor how the command goes: pings in the healthchecks.io protocol, and a webhook when something is wrong.

In:     two addresses, each optional, and how the command ended.
Out:    requests. None of them is ever the reason for the command to fail, or to wait for long.
Source: https://healthchecks.io/docs/http_api/ (`/start`, `/fail`, `/<exit code>`, `rid`), read in November 2026.
Secret: whoever knows such an address can use it, so no message, log line or error holds one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import requests

from klaviyo_jobs.errors import KlaviyoJobsError, StoppedError, ThresholdError, find_cause
from klaviyo_jobs.log import LOGGER

# How long a monitor may take to accept a connection, and then to answer; what fails is tried twice.
_TIMEOUT_SECONDS: Final = 2.5
# A command that was told to stop has less time, and tries once.
_HURRIED_SECONDS: Final = 0.5
# healthchecks.io keeps the first 100 kB of a body; a message is far below that.
_BODY_CHARACTERS: Final = 10_000


@dataclass(slots=True)
class Announcement:
    """
    What is to be told at the end.

    Attributes:
        text: How it went, in one line, if it went well.
        fields: More of it, for the webhook.
        is_known: Whether what is wrong was told before and has not changed, so that it is not told again.
        has_recovered: Whether what was told to be wrong has ended, so that the webhook hears of that, too.
    """

    text: str = "done"
    fields: dict[str, Any] = field(default_factory=dict)
    is_known: bool = False
    has_recovered: bool = False


@contextmanager
def announced(command: str, *, ping_url: str | None = None, webhook_url: str | None = None) -> Iterator[Announcement]:
    """
    Tell when *command* begins and how it ends.

    Args:
        command: Its name.
        ping_url: Gets `/start`, then the exit code: `/0`, or `/fail` for an error that nobody expected.
        webhook_url: Gets a JSON object by POST if the command ends with another code than 0, or has recovered: `text`
            (what Slack and its likes show), `command`, `exit_code`, `error`, `data`, `next_step`, and the fields of the
            announcement.
    """
    announcement = Announcement()
    rid = str(uuid.uuid4())
    _ping(ping_url, "start", rid, "")
    try:
        yield announcement
    except BaseException as error:
        ours = find_cause(error)
        if announcement.is_known and isinstance(ours, ThresholdError):
            raise
        is_hurried = isinstance(ours, StoppedError)
        exit_code = ours.exit_code if ours else 1
        # An unexpected error may quote anything; its class says enough here.
        text = ours.headline if ours else type(error).__name__
        _ping(ping_url, "fail" if exit_code == 1 else str(exit_code), rid, str(ours or text), is_hurried=is_hurried)
        if webhook_url:
            _send("webhook_url", webhook_url, is_hurried, json=_object_of(command, exit_code, text, ours, announcement))
        raise
    _ping(ping_url, "0", rid, announcement.text)
    if webhook_url and announcement.has_recovered:
        _send("webhook_url", webhook_url, False, json=_object_of(command, 0, announcement.text, None, announcement))


def _object_of(
    command: str, exit_code: int, text: str, error: KlaviyoJobsError | None, announcement: Announcement
) -> dict[str, Any]:
    return {
        "text": f"klaviyo-jobs {command} ended with {exit_code}. {text}",
        "command": command,
        "exit_code": exit_code,
        "error": text if exit_code else None,
        "data": error.data if error else None,
        "next_step": error.next_step if error else None,
        **announcement.fields,
    }


def _ping(url: str | None, signal: str, rid: str, text: str, *, is_hurried: bool = False) -> None:
    if not url:
        return
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, f"rid={rid}"]))
    address = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{signal}", query=query))
    _send("ping_url", address, is_hurried, data=text[:_BODY_CHARACTERS].encode())


def _send(setting: str, url: str, is_hurried: bool, **body: Any) -> None:
    """POST once, and unless that is a matter of seconds once more if it fails; say so if all fail."""
    seconds = _HURRIED_SECONDS if is_hurried else _TIMEOUT_SECONDS
    problem = ""
    # Not urllib3's way to repeat, which logs the address.
    for _ in range(1 if is_hurried else 2):
        try:
            # The answer's status is all that matters; its body is not read.
            with requests.post(url, timeout=seconds, allow_redirects=False, stream=True, **body) as answer:
                if answer.status_code < 300:
                    return
                problem = f"answered {answer.status_code}"
                if answer.status_code < 500:
                    break
        except (requests.RequestException, ValueError, OSError) as error:
            # The text of such an error holds the address.
            problem = f"could not be reached: {type(error).__name__}"
    LOGGER.warning("%s %s", setting, problem)

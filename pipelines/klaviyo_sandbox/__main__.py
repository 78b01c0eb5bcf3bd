"""
The sandbox as a program: one JSON line on stdout when it is ready, everything else on stderr.

    python -m klaviyo_sandbox --world demo --port 8080
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from klaviyo_sandbox import control
from klaviyo_sandbox.clock import parse_time
from klaviyo_sandbox.faults import describe_faults, parse_fault
from klaviyo_sandbox.limits import RateLimits
from klaviyo_sandbox.server import Sandbox
from klaviyo_sandbox.worlds import WORLDS

_log = logging.getLogger("klaviyo_sandbox")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the sandbox until SIGTERM, SIGINT or, if asked for, the end of stdin.

    Returns:
        0 after an orderly end, 1 if it could not listen. Wrong arguments exit with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, stream=sys.stderr)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        sandbox = Sandbox(
            options.world,
            seed=options.seed,
            clock=options.clock,
            limits=options.limits,
            latency_seconds=options.latency_ms / 1000,
            serve_retired=options.serve_retired,
            host=options.host,
            port=options.port,
        )
        for spec in options.fault:
            sandbox.faults.append(parse_fault(spec, seed=options.seed))
        for label, world in options.account:
            sandbox.add_account(label, world)
    except ValueError as error:
        parser.error(str(error))
    try:
        sandbox.start()
    except OSError as error:
        print(f"klaviyo_sandbox: cannot listen on {options.host} port {options.port}: {error}", file=sys.stderr)
        return 1
    if options.port_file is not None:
        options.port_file.write_text(f"{sandbox.base_url.rpartition(':')[2]}\n")
    if options.until_stdin_closes:
        threading.Thread(target=_wait_for_end_of_stdin, args=(ended,), daemon=True).start()
    accounts = {label: account.key for label, account in sandbox.accounts.items()}
    ready = {"base_url": sandbox.base_url, "world": options.world, "seed": options.seed, "accounts": accounts}
    print(json.dumps(ready), flush=True)
    _log.info("listening on %s", sandbox.base_url)
    ended.wait()
    sandbox.stop()
    _log.info("answered %d requests", len(sandbox.requests))
    return 0


def _parser() -> argparse.ArgumentParser:
    worlds = "\n".join(f"  {name:<8}{text}" for name, text in WORLDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m klaviyo_sandbox",
        description="A local stand-in for Klaviyo's bulk-job API. Loopback only; its keys are fake.",
        epilog=f"worlds:\n{worlds}\n\nfaults (NAME[:ARGUMENT]):\n{describe_faults()}\n\n"
        "fault rules (@RULE=VALUE,...):\n"
        "  kind=item-create  endpoint=list|detail|errors  account=LABEL  path=TEXT (in path and query)\n"
        "  nth=N (only the nth)  after=N (not the first N)  one_in=N (seeded choice)  times=N (at most)\n\n"
        f"control over HTTP, without a key:\n{(control.__doc__ or '').partition(chr(10) * 2)[2]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, metavar="N", help="port to listen on (default: any free one)")
    add("--port-file", type=Path, metavar="PATH", help="also write the port here when ready")
    add("--world", default="demo", metavar="NAME", help="what the account holds (default: %(default)s)")
    add(
        "--account",
        action="append",
        default=[],
        type=_account,
        metavar="LABEL=WORLD",
        help="another account; repeatable",
    )
    add("--seed", type=int, default=1, metavar="N", help="chooses the world's content (default: %(default)s)")
    add(
        "--clock",
        type=_clock,
        default="now",
        metavar="ISO|now",
        help="stand still at a time (default: real time)",
    )
    add(
        "--latency-ms",
        type=float,
        default=0,
        metavar="N",
        help="wait before every answer (default: %(default)s)",
    )
    add(
        "--limits",
        type=_limits,
        default="off",
        metavar="on|off|BURST/STEADY",
        help="enforce rate limits (default: off)",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="something that goes wrong; repeatable, see below",
    )
    add("--serve-retired", action="store_true", help="serve retired revisions in their old shapes")
    add(
        "--until-stdin-closes",
        action="store_true",
        help="also end when stdin does, so with the parent process",
    )
    add("--verbose", action="store_true", help="log to stderr")
    return parser


def _account(text: str) -> tuple[str, str]:
    label, separator, world = text.partition("=")
    if not (label and separator and world):
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=WORLD")
    return label, world


def _clock(text: str) -> datetime | None:
    try:
        return None if text == "now" else parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _limits(text: str) -> bool | RateLimits:
    if text in ("on", "off"):
        return text == "on"
    match = re.fullmatch(r"(?P<burst>\d+)/(?P<steady>\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither on, off nor BURST/STEADY, e.g. 10/100")
    quota = int(match["burst"]), int(match["steady"])
    return RateLimits(narrow=quota, wide=quota, slow=quota)


def _wait_for_end_of_stdin(ended: threading.Event) -> None:
    # Not sys.stdin: a thread waiting inside it holds its lock, and the interpreter cannot end.
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    sys.exit(main())

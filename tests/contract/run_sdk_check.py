"""
Run `sdk_check.py` with the official SDK in an environment of its own, against a sandbox started with this Python.

    PYTHONPATH=tests python tests/contract/run_sdk_check.py FOLDER

The environment is made in FOLDER at the first run and used again later.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.environments import environment_in

SDK = "klaviyo-api==25.0.0"
HERE = Path(__file__).parent
SANDBOX = (
    *("-m", "klaviyo_sandbox", "--world", "demo", "--account", "others=every-kind"),
    *("--clock", "2026-11-22T12:00:00Z", "--until-stdin-closes"),
)


def main(folder: Path) -> int:
    """The exit code of the check."""
    python = environment_in(folder, (SDK,))
    # Leaving the block closes the sandbox's stdin, which ends it.
    with subprocess.Popen([sys.executable, *SANDBOX], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sandbox:
        assert sandbox.stdout is not None
        ready = json.loads(sandbox.stdout.readline())
        arguments = [python, HERE / "sdk_check.py", ready["base_url"], *ready["accounts"].values()]
        return subprocess.run(arguments, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    sys.exit(main(Path(sys.argv[1])))

"""`python -m klaviyo_jobs` is the command `klaviyo-jobs`."""

import sys

# What only the command needs; `klaviyo-jobs-source` comes without.
_PACKAGES = ("typer", "rich", "aiohttp")


def main() -> None:
    """Run the command, or tell what to install for it; exit code 2 then."""
    try:
        from klaviyo_jobs.cli.app import main as command
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _PACKAGES:
            raise
        sys.exit(_refuse(missing))
    command()


def _refuse(missing: str) -> int:
    message = f"""klaviyo-jobs: the command needs the package {missing}, which is not installed here.
  Data: nothing was read or written.
  Next: python -m pip install "klaviyo-jobs-source[cli]"
"""
    sys.stderr.write(message)
    return 2


if __name__ == "__main__":
    main()

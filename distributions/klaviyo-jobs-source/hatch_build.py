"""
The metadata of `klaviyo-jobs-source`, out of that of the project.

In:     the project's pyproject.toml.
Out:    the same metadata, but what only the command needs is the extra `cli`.
Why:    whoever imports the source into Airflow or Dagster has versions of these packages already, and no use for ours;
        whoever installs `klaviyo-jobs` wants a command that works, and Python knows no extra that is there by default.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# Imported by the command, what it draws, and the sandbox, and nowhere else: import-linter proves it.
ONLY_FOR_THE_COMMAND = frozenset({"typer", "rich", "aiohttp"})
SHARED = ("classifiers", "keywords", "license", "requires-python", "scripts")


class SourceMetadata(MetadataHookInterface):
    """Takes the project's metadata and sorts its dependencies."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Complete *metadata*, the table `project`."""
        project = tomllib.loads((Path(self.root) / "../../pyproject.toml").read_text(encoding="utf-8"))["project"]
        metadata.update({name: project[name] for name in SHARED})
        command = [text for text in project["dependencies"] if _name_of(text) in ONLY_FOR_THE_COMMAND]
        metadata["dependencies"] = [text for text in project["dependencies"] if text not in command]
        metadata["optional-dependencies"] = {"cli": command, **project["optional-dependencies"]}


def _name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0]

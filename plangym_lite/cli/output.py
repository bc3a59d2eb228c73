"""What a command writes: a report, ``--json``, versions, and files that are checked before."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from plangym_lite import __version__
from plangym_lite.cli.target import CommandError

__all__ = ["STDOUT", "Output", "add_output", "check_paths", "versions"]

STDOUT = Path("-")
"""``--json -``: standard output."""
PACKAGES = (
    *("gymnasium", "numpy", "ale-py", "mujoco", "dm-control"),
    *("box2d", "minigrid", "stable-retro", "ray"),
)
"""Packages that a result depends on."""


class Output(NamedTuple):
    """The report of a command, for people on standard output, and as JSON."""

    json: Path | None = None
    """File of the numbers; with :data:`STDOUT` the report goes to standard error."""
    quiet: bool = False
    """Print no report and no progress bar."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr if self.json == STDOUT else sys.stdout

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def write(self, record: Any) -> None:
        if self.json is None:
            return
        text = json.dumps(record, indent=2) + "\n"
        if self.json == STDOUT:
            sys.stdout.write(text)
        else:
            self.json.write_text(text)
            self.say(f"JSON: {self.json}")


def add_output(
    parser: argparse.ArgumentParser, quiet: str = "no report and no progress bar"
) -> None:
    """Add ``--json`` and ``--quiet``, with the help text of the latter."""
    add = parser.add_argument
    add("--json", type=Path, metavar="PATH", help="write the numbers; - is standard output")
    add("-q", "--quiet", action="store_true", help=quiet)


def check_paths(*paths: Path | None) -> None:
    """Raise :class:`CommandError` unless the files can be written."""
    for path in paths:
        if path is None or path == STDOUT:
            continue
        folder = path.resolve().parent
        if path.is_dir():
            raise CommandError(f"{path} cannot be written: it is a folder")
        if not folder.is_dir():
            raise CommandError(f"{path} cannot be written: there is no folder {path.parent}")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise CommandError(f"{path} cannot be written: permission denied")


def versions() -> dict[str, str]:
    """The versions of Python, plangym_lite and installed packages that it uses."""
    found = {"plangym_lite": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:
            continue
    return found

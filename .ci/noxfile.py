"""`make pythons`: the core tests on every supported Python that is installed here."""

import os
import shutil
from pathlib import Path

import nox

HERE = Path(__file__).resolve().parent.parent
VERSIONS = ["3.10", "3.11", "3.12", "3.13"]


def _find(version: str) -> str | None:
    """A Python of that version: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = sorted(pyenv.glob(f"{version}.*/bin/python"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


INSTALLED = [path for version in VERSIONS if (path := _find(version))]


@nox.session(python=INSTALLED)
def core(session: nox.Session) -> None:
    """Install with the dev extra and run the tests."""
    session.chdir(HERE)
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", "-q", *session.posargs)

"""`make pythons`: the core tests on every supported Python here, on the lowest and newest versions.

The lowest versions are the bounds in pyproject.toml of what the project names itself. uv resolves
them if it is installed; otherwise pip gets them as constraints.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nox

HERE = Path(__file__).resolve().parent.parent
VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
FILES = ("actions", "as_gym", "core", "infos", "registry", "simulator", "transitions", "validation")
CORE = [
    *(f"tests/test_{name}.py" for name in FILES),
    *("tests/nested", "tests/recipe", "tests/states", "tests/envs/batched/test_toy_text.py"),
    *("tests/envs/mujoco/test_batch.py", "tests/vectorization/test_parallel.py"),
]
"""A few minutes; `make pythons TESTS=tests` runs all of them."""
UV = os.environ.get("UV") or shutil.which("uv")


def _find(version: str) -> str | None:
    """A Python of that version: one of pyenv's, on the path, or one of uv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = sorted(pyenv.glob(f"{version}.*/bin/python"))
    found = str(kept[-1]) if kept else shutil.which(f"python{version}")
    if found or not UV:
        return found
    command = [UV, "python", "find", "--no-python-downloads", version]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _lowest() -> str:
    """The lower bounds in pyproject.toml, as constraints of pip."""
    text = (HERE / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    bounds = re.findall(r'"([\w-]+)(?:\[[\w,-]+\])?>=([\w.]+)', text.partition("dependencies =")[2])
    return "".join(f"{name}=={version}\n" for name, version in bounds)


INSTALLED = [path for version in VERSIONS if (path := _find(version))]


@nox.session(python=INSTALLED)
@nox.parametrize("resolution", ["lowest-direct", "highest"])
def core(session: nox.Session, resolution: str) -> None:
    """Install with the dev extra and run the tests."""
    session.chdir(HERE)
    if UV:
        python = shutil.which("python", path=session.bin)
        options = ["--quiet", "--python", python, "--resolution", resolution]
        session.run(UV, "pip", "install", *options, "-e", ".[dev]", external=True)
    else:
        constraints = Path(session.create_tmp()) / "lowest.txt"
        constraints.write_text(_lowest())
        lowest = ["--constraint", str(constraints)] if resolution == "lowest-direct" else []
        session.install(*lowest, "-e", ".[dev]")
    session.run("python", "-m", "pytest", "-q", *(session.posargs or CORE))

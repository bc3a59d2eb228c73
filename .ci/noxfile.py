"""`make pythons`: the core tests on every supported Python here, on the lowest and newest versions.

The lowest versions are those that pyproject.toml allows of what it names, as uv resolves them.
`make newest` is a part of it: the newest mujoco, which dm_control does not allow.
"""

import os
import shutil
import subprocess
import sys
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
MUJOCO = ["envs/mujoco", "vectorization/test_on_threads.py", "cli/bench/test_physics.py"]
UV = [sys.executable, "-m", "uv"]


def _find(version: str) -> str | None:
    """A Python of that version: one of pyenv's, on the path, or one of uv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = sorted(pyenv.glob(f"{version}.*/bin/python"))
    found = str(kept[-1]) if kept else shutil.which(f"python{version}")
    find = [*UV, "python", "find", "--no-python-downloads", version]
    return found or subprocess.run(find, capture_output=True, text=True).stdout.strip() or None


INSTALLED = [path for version in VERSIONS if (path := _find(version))]


@nox.session(python=INSTALLED)
@nox.parametrize("resolution", ["lowest-direct", "highest"])
def core(session: nox.Session, resolution: str) -> None:
    """Install with the dev extra and run the tests."""
    session.chdir(HERE)
    python = shutil.which("python", path=session.bin)
    options = ["--quiet", "--python", python, "--resolution", resolution]
    session.run(*UV, "pip", "install", *options, "-e", ".[dev]", external=True)
    session.run("python", "-m", "pytest", "-q", *(session.posargs or CORE))


@nox.session(python=INSTALLED[-1:])
def newest(session: nox.Session) -> None:
    """The tests of Gymnasium's MuJoCo with the newest mujoco, without dm_control."""
    session.chdir(HERE)
    session.install("-e", ".[mujoco]", "pytest", "pytest-timeout", "hypothesis", "psutil")
    session.run("python", "-c", "import mujoco; print('mujoco', mujoco.__version__)")
    session.run("python", "-m", "pytest", "-q", *(f"tests/{name}" for name in MUJOCO))

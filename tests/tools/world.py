"""A survey of packages with Gymnasium environments: ``python tests/tools/world.py``.

Each package of ``world_packages.py`` is installed in a virtual environment of its own under
``--root``; environments that are there already are kept, so that a second run only checks. Each
case runs in a process of its own, in which a plain Gymnasium environment is the judge
(``world_judge.py``) and ``plangym_lite.testing.check_exact`` is asked besides. Outcomes are kept in
``ROOT/world.json`` and written as a table to ``--markdown``.

Not part of the tests: it downloads some gigabytes and takes an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from world_packages import BASE, PACKAGES, Case, Package
from world_table import write_markdown

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
INSTALL_SECONDS, CASE_SECONDS = 300, 120
LARGE = ("nvidia-", "tensorflow==", "jaxlib-")  # what makes an installation pass 2 GB
TAIL = 1500


def quiet_environment(tree: Path, root: Path) -> dict[str, str]:
    """No windows, no sound, one thread."""
    return {
        **{key: value for key, value in os.environ.items() if key != "DISPLAY"},
        "PYTHONPATH": str(tree),
        "PYTHONPYCACHEPREFIX": str(root / ".pycache"),
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
        "PYGAME_HIDE_SUPPORT_PROMPT": "1",
        "MPLBACKEND": "Agg",
        "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl"),
        "PYOPENGL_PLATFORM": os.environ.get("MUJOCO_GL", "egl"),
        "PYGLET_HEADLESS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


class Venv:
    """The virtual environment of one package."""

    def __init__(self, root: Path, package: Package) -> None:
        self.path = root / package.name
        self.python = self.path / "bin" / "python"
        self.package = package
        self.uv = shutil.which(
            "uv", path=os.pathsep.join([os.environ["PATH"], str(root / ".uv/bin")])
        )

    def ensure(self) -> str:
        """Install the package if it is not there; why it cannot be, or nothing."""
        done = self.path / "installed"
        refused = self.path.with_name(self.path.name + ".failed")
        if done.exists():
            return ""
        if refused.exists():
            return refused.read_text()
        reason = self._install()
        if reason:
            shutil.rmtree(self.path, ignore_errors=True)
            refused.write_text(reason)
        else:
            done.touch()
        return reason

    def _install(self) -> str:
        python = _interpreter(self.package.python)
        create = [python, "-m", "venv"]
        if self.uv:
            create = [self.uv, "venv", "-q", "--no-python-downloads", "-p", python]
        if not self.python.exists():
            code, text = _call([*create, str(self.path)], INSTALL_SECONDS)
            if code:
                return _why(text)
        wanted = self.package.name + self.package.version
        if self.package.past_pins:
            return self._pip([*BASE, *self.package.requires]) or self._pip(["--no-deps", wanted])
        return self._pip([*BASE, *self.package.requires, wanted])

    def _pip(self, arguments: list[str]) -> str:
        """Install; the reason where it cannot be done, on one line."""
        links = os.environ.get("PIP_FIND_LINKS")
        arguments = [*(["--find-links", links] if links else []), *arguments]
        if self.uv:
            pip = [self.uv, "pip", "install", "--python", str(self.python)]
        else:
            pip = [str(self.python), "-m", "pip", "install", "--prefer-binary"]
        plan, text = _call([*pip, "--dry-run", *arguments], INSTALL_SECONDS)
        if plan:
            return _why(text)
        if any(name in text for name in LARGE):
            return "needs CUDA or TensorFlow wheels (over 2 GB)"
        code, text = _call([*pip, *arguments], INSTALL_SECONDS)
        return _why(text) if code else ""

    def version(self) -> str:
        """The version that was installed."""
        ask = f"import importlib.metadata as m; print(m.version({self.package.name!r}))"
        code, text = _call([str(self.python), "-c", ask], 30)
        return "?" if code else text.strip()


def _interpreter(version: str) -> str:
    """The Python of a version, pyenv's among them; ours where none is asked for."""
    if not version:
        return sys.executable
    kept = Path.home() / ".pyenv" / "versions"
    found = sorted(kept.glob(f"{version}.*/bin/python{version}"))
    return str(found[-1]) if found else f"python{version}"


def _call(command: list[str], seconds: float) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds
        )
    except FileNotFoundError as error:
        return 1, f"error: {error}"
    except subprocess.TimeoutExpired:
        return 1, f"cause: takes over {seconds:.0f} seconds"
    return done.returncode, done.stdout


def _why(text: str) -> str:
    """The line of an installer's complaint that says most."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    for start in ("cause: Because", "Because", "fatal error", "error:", "ERROR:", "cause:"):
        for line in lines:
            if start in line:
                return line.replace("cause: ", "")[:300]
    return lines[-1][:300] if lines else "no reason given"


def run_case(
    venv: Venv, case: Case, tree: Path, seconds: float, check: bool = True
) -> dict[str, Any]:
    """One case in a process of its own; whatever happens is in the row."""
    slug = "".join(letter if letter.isalnum() else "_" for letter in case.id + str(case.kwargs))
    work = venv.path / "cases"
    work.mkdir(exist_ok=True)
    question, answer = work / f"{slug[:80]}.json", work / f"{slug[:80]}.out.json"
    answer.unlink(missing_ok=True)
    question.write_text(
        json.dumps({**asdict(case), "imports": venv.package.imports, "check": check})
    )
    command = [str(venv.python), str(HERE / "world_child.py"), str(question), str(answer)]
    with (work / f"{slug[:80]}.log").open("w+") as log:
        child = subprocess.Popen(
            ["nice", "-n", "10", *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=quiet_environment(tree, venv.path.parent),
            cwd=work,
            start_new_session=True,
        )
        try:
            end = f"ended with {child.wait(seconds)}"
        except subprocess.TimeoutExpired:
            end = f"took over {seconds:.0f} s"
        finally:
            _end_group(child)
    row: dict[str, Any] = json.loads(answer.read_text()) if answer.exists() else {"phase": "start"}
    row.update(id=case.id, kwargs=case.kwargs, log=str(work / f"{slug[:80]}.log"))
    if row.get("phase") != "done" and "verdict" not in row:
        late = end.startswith("took") and row["phase"] in ("make", "judge")
        made = row["phase"] not in ("start", "import", "plain")
        row["verdict"] = "not finished" if late else "wrong" if made else "not made"
        row["text"] = f"the process {end} in phase {row['phase']!r}"
    elif row.get("phase") == "check":
        row["check"] = f"the process {end}"
    return row


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started; nothing else is in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


class Survey:
    """All packages, two at a time; outcomes are kept as they come."""

    def __init__(
        self, root: Path, tree: Path, out: Path, seconds: float, check: bool = True
    ) -> None:
        self.root, self.tree, self.out, self.seconds = root, tree, out, seconds
        self.check = check
        self.lock = threading.Lock()
        self.found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}

    def package(self, package: Package) -> None:
        """Install one package and run its cases."""
        venv = Venv(self.root, package)
        reason = venv.ensure()
        entry: dict[str, Any] = {"past_pins": package.past_pins, "install": reason, "rows": []}
        if not reason:
            entry["version"] = venv.version()
            for case in package.cases:
                row = run_case(venv, case, self.tree, max(self.seconds, case.seconds), self.check)
                entry["rows"].append(row)
                print(
                    f"{package.name} {case.id}: {row['verdict']} {row.get('text', '')}", flush=True
                )
        else:
            print(f"{package.name}: not installable: {reason}", flush=True)
        with self.lock:
            self.found = json.loads(self.out.read_text()) if self.out.exists() else {}
            self.found[package.name] = entry
            self.out.write_text(json.dumps(self.found, indent=1))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these packages only")
    parser.add_argument("--root", type=Path, default=Path("/tmp/world"))
    parser.add_argument("--tree", type=Path, default=TREE, help="the plangym_lite under test")
    parser.add_argument("--json", type=Path, help="default: ROOT/world.json")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--seconds", type=float, default=CASE_SECONDS, help="for one case")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--no-check", action="store_true", help="the judge alone, which is quicker")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    args.root.mkdir(parents=True, exist_ok=True)
    out = args.json or args.root / "world.json"
    survey = Survey(args.root, args.tree.resolve(), out, args.seconds, not args.no_check)
    wanted = [each for each in PACKAGES if not args.only or each.name in args.only]
    wanted.sort(key=lambda package: -max(case.seconds for case in package.cases))  # long ones first
    if not args.table_only:
        with ThreadPoolExecutor(args.at_once) as pool:
            list(pool.map(survey.package, wanted))
    if args.markdown:
        write_markdown(args.markdown, survey.found)


if __name__ == "__main__":
    main()

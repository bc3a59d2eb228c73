"""Windows without workers, macOS with them: simulated, by taking away what those systems lack."""

import ast
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from plangym_lite import (
    ExternalProcess,
    ParallelEnv,
    SubprocVecEnv,
    SubprocVectorEnv,
    make,
)
from plangym_lite.envs.batched.classic_control import ClassicControl
from plangym_lite.errors import NoWorkersError
from plangym_lite.system import NEEDED_BY_WORKERS, missing_for_workers
from plangym_lite.testing.contract.contract import check_exact
from tests.systems.playing import batches, play
from tests.vectorization.helpers import is_running, wait_until

ROOT = Path(__file__).parents[2]
LACKING = Path(__file__).with_name("lacking.py").read_text()
MODULES = {"os": os, "select": select, "signal": signal, "socket": socket}

MACOS = """
import os, select, signal
from plangym_lite import make
from plangym_lite.vectorization.memory.chunks import MOST_CHUNKS
from plangym_lite.vectorization.process.start import hash_seed
from tests.systems.playing import batches

assert not hasattr(os, "memfd_create") and MOST_CHUNKS == 42 and hash_seed() is None
with make("ALE/Pong-v5", n_workers=2, start_method="{how}", use_caller=False) as env:
    first = batches(env)
    for worker in env._batch_env._envs:
        os.kill(worker.pid, signal.SIGKILL)
    assert batches(env) == first and env.stats.replacements == 2, env.stats
    files = [os.readlink(f"/proc/self/fd/{{arena.fd}}") for arena in env._batch_env._pool._arenas]
    assert files and not any("memfd" in file for file in files), files
print(first)
"""


def run_on(system, code, folder, *args):
    """Run Python code, or a module's command, where only what that system has is there."""
    (folder / "sitecustomize.py").write_text(LACKING)
    env = dict(os.environ, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}", PLANGYM_TEST_SYSTEM=system)
    env.pop("PYTHONHASHSEED", None)
    command = [sys.executable, "-c", code] if code else [sys.executable, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=55, env=env, cwd=folder)


def test_this_system_has_all_that_is_needed():
    assert missing_for_workers() == []


class TestWindows:
    def test_plays_the_same(self, tmp_path):
        code = "from tests.systems.playing import batches, play\nprint(play())"
        done = run_on("windows", code, tmp_path)
        assert done.returncode == 0, done.stderr
        assert ast.literal_eval(done.stdout) == play()

    def test_the_command_line(self, tmp_path):
        plan = ["-m", "plangym_lite", "plan", "CartPole-v1", "--steps", "2", "--simulations", "9"]
        done = run_on("windows", "", tmp_path, *plan)
        assert (done.returncode, "mcts: 2 points" in done.stdout) == (0, True), done.stderr
        done = run_on("windows", "", tmp_path, *plan, "--workers", "2")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("plangym-lite: workers need Linux or macOS (on Windows: WSL)")
        assert all(name in done.stderr for name in NEEDED_BY_WORKERS)

    @pytest.mark.parametrize("name", [name for name in NEEDED_BY_WORKERS if "resource" not in name])
    def test_each_is_missed_by_name(self, name, monkeypatch):
        module, _, attribute = name.partition(".")
        monkeypatch.delattr(MODULES[module], attribute)
        for start in (
            lambda: make("CartPole-v1", n_workers=2),
            lambda: make("CartPole-v1", ray=True),
            lambda: ParallelEnv(ClassicControl, "CartPole-v1", delay_setup=True),
            lambda: SubprocVectorEnv(["CartPole-v1"] * 2),
            lambda: SubprocVecEnv(["CartPole-v1"] * 2),
            lambda: ExternalProcess(dict, start=False),
        ):
            with pytest.raises(NoWorkersError, match=f"lacks {name};"):
                start()
        with make("CartPole-v1", n_workers="auto") as env:
            assert type(env) is ClassicControl

    def test_a_missing_module(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "resource", None)
        assert missing_for_workers() == ["resource.getrlimit"]


class TestCheck:
    """What cannot be started is no fault of the environment."""

    def test_without_processes(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise OSError("this system has no processes")

        monkeypatch.setattr(subprocess, "run", refuse)
        monkeypatch.delattr(select, "poll")
        report = check_exact(lambda: make("CartPole-v1"), depths=(0,), length=5, n_workers=2)
        assert report.exact
        process, workers = report.notes[-2:]
        assert process.startswith("another process was not checked: none can be started (this sys")
        assert workers.startswith("workers were not checked: workers need Linux or macOS")


@pytest.mark.parametrize("how", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_macos_plays_the_same(how, tmp_path):
    done = run_on("macos", MACOS.format(how=how), tmp_path)
    assert done.returncode == 0, done.stderr
    with make("ALE/Pong-v5") as env:
        assert ast.literal_eval(done.stdout) == batches(env)


def test_without_fcntl_workers_end_with_their_parent():
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import os, plangym_lite\n"
        "worker = plangym_lite.ExternalProcess(dict, start_method='fork')\n"
        "print(worker.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert wait_until(lambda: not is_running(int(done.stdout)))

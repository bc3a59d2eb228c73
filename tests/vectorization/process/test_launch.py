"""Launch: children by any start method, from any kind of program."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from plangym_lite.testing.toy import RIGHT, ToyEnv
from plangym_lite.vectorization import ExternalProcess, ParallelEnv
from plangym_lite.vectorization.process import launch
from tests.vectorization.helpers import ROOT, is_running, run_python, wait_until

METHODS = multiprocessing.get_all_start_methods()
all_methods = pytest.mark.parametrize("method", METHODS)
forks_may_warn = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)

PROGRAM = """
import numpy as np
from plangym_lite import make
from plangym_lite.testing.toy import ToyEnv

class MyError(Exception):
    pass

class Mine(ToyEnv):
    def advance(self, action, n_frames):
        if action == 0:
            raise MyError("left")
        return super().advance(action, n_frames)

print("started")
offset = 3
for constructor in (Mine, lambda **kwargs: Mine(size=5 + offset, **kwargs)):
    with make(constructor, n_workers=2) as env:
        states = [env.get_state()] * 7
        print(env.step_batch([2] * 7, states).observs[:, 0].sum())
        try:
            env.step_batch([2, 0], states[:2])
        except MyError as error:
            print(type(error) is MyError, error)
"""
PRINTED = "started\n" + "21.0\nTrue left\n" * 2


class Drawing(ToyEnv):
    """Observes what numpy's and Python's own generators draw."""

    def current_obs(self):
        import random

        return np.array([np.random.random() * 7, random.random()], np.float32)


# ---- start methods -------------------------------------------------------------------------------


def test_default_method_never_forks_this_process():
    assert launch.default_start_method() in ("forkserver", "spawn")


@all_methods
@forks_may_warn
def test_constructors_that_only_fork_could_carry(method):
    threads = [threading.Lock()]  # cannot be pickled, and is not needed

    class Local(ToyEnv):
        def cells(self):
            return self.size

    def closure():
        return Local(size=offset + 5)

    offset = len(threads)
    for constructor in (Local, closure, lambda: Local(size=9)):
        process = ExternalProcess(constructor, start_method=method)
        assert process.call("cells")() == constructor().size
        process.close()


@all_methods
@forks_may_warn
def test_workers_draw_different_random_numbers(method):
    with ParallelEnv(Drawing, n_workers=2, start_method=method) as env:
        batch = env.step_batch([RIGHT] * 8, [env.get_state()] * 8)
        assert len(np.unique(batch.observs[:, 0])) == 8
        assert len(np.unique(batch.observs[:, 1])) == 8
        assert len({float(process.call("observe")()[0]) for process in env.batch_env}) == 2


@all_methods
@forks_may_warn
def test_children_do_not_share_their_ends(method):
    """What one child holds of another would hide that other's death, or the parent's."""
    with ParallelEnv(ToyEnv, n_workers=3, start_method=method) as env:
        state = env.get_state()
        for index in (2, 0, 1):
            os.kill(env.batch_env[index].pid, signal.SIGKILL)
            assert len(env.step_batch([RIGHT] * 30, [state] * 30).rewards) == 30


def test_children_know_their_place():
    process = ExternalProcess(lambda: os.environ)
    assert process.call("get", "MPLBACKEND")() == "Agg"
    process.close()
    assert os.environ.get("MPLBACKEND") != "Agg"


def test_main_module_and_environment_are_as_before():
    main, environment = sys.modules["__main__"], dict(os.environ)
    ExternalProcess(ToyEnv, start_method="spawn").close()
    assert sys.modules["__main__"] is main
    assert dict(os.environ) == environment


def test_interrupts_are_let_through_again():
    ExternalProcess(ToyEnv).close()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_parent_with_threads():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with ParallelEnv(ToyEnv, n_workers=2) as env:
            assert env.step_batch([RIGHT] * 5).observs[:, 0].tolist() == [3] * 5
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "exit code not known"),
        (3, "exit code 3"),
        (-9, "exit code -9, signal SIGKILL"),
        (-99, "exit code -99, signal 99"),
    ],
)
def test_exit_codes_in_words(code, words):
    assert launch.describe_exit(code) == words


@forks_may_warn
def test_fork_of_the_parent_leaves_the_workers_alone():
    with ParallelEnv(ToyEnv, n_workers=1) as env:
        workers = env.batch_env._envs
        child = os.fork()
        if child == 0:
            workers.clear()  # the last reference to the worker
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert env.step_batch([RIGHT]).observs[0, 0] == 3


# ---- programs ------------------------------------------------------------------------------------


def test_script_without_a_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    assert run_python(str(script)) == PRINTED


def test_code_on_standard_input():
    assert run_python("-", input=PROGRAM) == PRINTED


def test_code_on_the_command_line():
    assert run_python("-c", PROGRAM) == PRINTED


def test_module_run_by_name(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    assert run_python("-m", "program", cwd=tmp_path) == PRINTED


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_script_with_another_method(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.replace("n_workers=2", f"n_workers=2, start_method={method!r}"))
    assert run_python(str(script)) == PRINTED


def test_interactive_prompt():
    lines = PROGRAM.replace("\n\n", "\n").replace("\nclass Mine", "\n\nclass Mine")
    lines = lines.replace('\nprint("started")', '\n\nprint("started")') + "\n\nquit()\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=lines,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout == PRINTED
    assert "Traceback" not in done.stderr


@pytest.mark.filterwarnings("ignore")  # of the notebook machinery
def test_classes_and_lambdas_of_a_notebook_cell(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    definitions, usage = PROGRAM.split('print("started")')
    cells = [definitions, 'print("started")' + usage]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=50, kernel_name="python3").execute()
    outputs = notebook.cells[1].outputs
    assert "".join(output.text for output in outputs if output.name == "stdout") == PRINTED


def test_program_that_forgets_to_close():
    code = PROGRAM.replace(
        "with make(constructor, n_workers=2) as env:", "for env in [open_it(constructor)]:"
    )
    opener = "\ndef open_it(constructor):\n    return make(constructor, n_workers=2)\n"
    report = "\nprint(*[process.pid for process in env.batch_env])\n"
    *printed, pids = run_python("-c", opener + code + report).splitlines()
    assert "\n".join(printed) + "\n" == PRINTED
    assert wait_until(lambda: not any(is_running(int(pid)) for pid in pids.split()))


# ---- little shared memory ------------------------------------------------------------------------

PICTURES = """
import os
import numpy as np
from plangym_lite import make
from plangym_lite.testing.toy import ToyEnv
{before}

class Picture(ToyEnv):
    def build_engine(self):
        super().build_engine()
        self.observation_space = type(self.observation_space)(0, 255, (210, 160, 3), np.uint8)

    def current_obs(self):
        return np.full((210, 160, 3), self._random % 256, np.uint8)

local = Picture(slip=0.3)
with make(Picture, slip=0.3, n_workers=2) as env:
    held = []
    for size in (30, 60, 30, 60):
        batch = [2] * size, [env.get_state()] * size, range(1, size + 1)
        held.append((env.step_batch(*batch), local.step_batch(*batch)))
    print(all((ours.observs == theirs.observs).all() for ours, theirs in held))
"""


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode,
    reason="this machine does not permit mounts of one's own",
)
@pytest.mark.parametrize("before", ["", "del os.memfd_create"])
def test_tiny_dev_shm(before):
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount + f"{sys.executable} -"],
        input=PICTURES.format(before=before),
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr

"""Workers in other people's programs: what they know, and that their start disturbs nothing."""

import gc
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from plangym_lite.errors import ForkedError, WorkerDiedError
from plangym_lite.vectorization import ExternalProcess, ParallelEnv
from plangym_lite.vectorization.process import start
from tests.same import assert_same
from tests.toys import RIGHT, ToyEnv
from tests.vectorization.helpers import is_running, run_python, wait_until

METHODS = multiprocessing.get_all_start_methods()
SPAWN = pytest.param("spawn", marks=pytest.mark.slow)
all_methods = pytest.mark.parametrize("method", METHODS)
slow_spawn = pytest.mark.parametrize("method", [SPAWN if m == "spawn" else m for m in METHODS])
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


class Knows(ToyEnv):
    """Says what its process knows."""

    def surroundings(self):
        signals = {
            name: signal.getsignal(getattr(signal, name)) == signal.SIG_DFL
            for name in ("SIGALRM", "SIGCHLD", "SIGUSR1")
        }
        return dict(os.environ), os.getcwd(), sys.path, sys.argv, signals

    def blocked(self):
        return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


# ---- what workers know ---------------------------------------------------------------------------


@all_methods
def test_surroundings_of_the_moment_of_the_start(method, tmp_path, monkeypatch):
    """Of the first start, and of a replacement that comes later."""
    monkeypatch.setenv("GOES_AWAY", "soon")
    with ExternalProcess(Knows, start_method=method) as process:
        for number in range(2):
            folder = tmp_path / f"folder {number}"
            folder.mkdir()
            monkeypatch.chdir(folder)
            monkeypatch.setenv("PLANGYM_LITE_TEST", f"é={number}")
            monkeypatch.delenv("GOES_AWAY", raising=False)
            monkeypatch.syspath_prepend(str(folder))
            monkeypatch.setattr(sys, "argv", ["program", str(number)])
            process.restart()
            environ, cwd, path, argv, _ = process.call("surroundings")()
            assert environ["PLANGYM_LITE_TEST"] == f"é={number}"
            assert "GOES_AWAY" not in environ
            assert (cwd, path, argv) == (str(folder), sys.path, sys.argv)


@slow_spawn
def test_a_deleted_working_directory(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with ExternalProcess(ToyEnv, start_method=method) as process:
        assert process.step(RIGHT).obs[0] == 3
    monkeypatch.undo()


@all_methods
def test_handlers_and_masks_of_signals_are_not_the_workers(method):
    handlers = {signal.SIGALRM: print, signal.SIGUSR1: print, signal.SIGCHLD: signal.SIG_IGN}
    before = {number: signal.signal(number, each) for number, each in handlers.items()}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO, signal.SIGTERM})
    try:
        with ExternalProcess(Knows, start_method=method) as process:
            *_, signals = process.call("surroundings")()
            assert all(signals.values()), signals
            assert process.call("blocked")() == []
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, each in before.items():
            signal.signal(number, each)


@slow_spawn
def test_workers_have_a_parent(method):
    with ExternalProcess(multiprocessing.parent_process, start_method=method) as process:
        assert process.pid != os.getpid()
        assert process.access("pid") == os.getpid()


@slow_spawn
def test_workers_may_use_the_managers_of_the_program(method):
    with multiprocessing.get_context("fork").Manager() as manager:
        shared = manager.dict(answer=42)
        with ExternalProcess(lambda: shared, start_method=method) as process:
            assert process.call("get", "answer")() == 42


# ---- nothing is disturbed ------------------------------------------------------------------------

WATCHED = """
import os, sys, threading
import plangym_lite
from plangym_lite.testing.toy import ToyEnv

def watch():
    main, environ = sys.modules["__main__"], dict(os.environ)
    while not stop.wait(2e-4):
        looks[0] += 1
        if sys.modules["__main__"] is not main or os.environ.copy() != environ:
            changed[0] += 1

stop, looks, changed = threading.Event(), [0], [0]
thread = threading.Thread(target=watch)
thread.start()
for method in ("forkserver", "spawn"):
    plangym_lite.make(ToyEnv, n_workers=2, start_method=method).close()
stop.set()
thread.join()
print(looks[0] > 100, changed[0], sorted(sys.modules) == sorted(set(sys.modules)))
"""


def test_no_other_thread_sees_a_change():
    assert run_python("-c", WATCHED).split() == ["True", "0", "True"]


def test_children_of_the_program_are_as_ever():
    """Those that multiprocessing starts after ours have no variables of ours."""
    code = """
import multiprocessing, os, plangym_lite
from plangym_lite.testing.toy import ToyEnv
if __name__ == "__main__":
    plangym_lite.make(ToyEnv, n_workers=2).close()
    for method in ("forkserver", "spawn", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found = pool.apply(os.getenv, ("OMP_NUM_THREADS",)), pool.apply(os.getenv, ("TEST",))
            print(*found)
"""
    environ = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    environ |= {"TEST": "here", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=50)
    assert done.stdout == "None here\n" * 3, done.stderr


# ---- daemons, signals, limits --------------------------------------------------------------------


def use_workers(method):
    with ParallelEnv(ToyEnv, n_workers=2, start_method=method, use_caller=False) as env:
        state, *_ = env.reset(seed=0)
        os.kill(env.batch_env[0].pid, signal.SIGKILL)
        return env.step_batch([RIGHT] * 9, [state] * 9).rewards.tolist()


@slow_spawn
def test_inside_a_daemonic_process(method):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(use_workers, (method,)) == use_workers(method)


@slow_spawn
def test_a_program_that_ignores_the_end_of_its_children(method):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        began = time.monotonic()
        use_workers(method)
        process = ExternalProcess(ToyEnv, start_method=method)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match="exit code"):
            process.step(RIGHT)
        process.close()
        assert time.monotonic() - began < 20
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_long_names_of_folders_for_temporary_files(tmp_path):
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    code = "from tests.vectorization.process.test_programs import use_workers\n"
    code += "print(len(use_workers('forkserver')))"
    environ = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "9\n", done.stderr


class Alarm(Exception):
    pass


@slow_spawn
def test_alarms_while_workers_start(method, new_children):
    """Those that only count are heard; those that raise leave nothing behind."""

    def count(*_):
        heard[0] += 1

    def throw(*_):
        raise Alarm

    heard, raised = [0], 0
    before = signal.signal(signal.SIGALRM, count)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        assert len(use_workers(method)) == 9
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert heard[0] > 3
        signal.signal(signal.SIGALRM, throw)
        for delay in (0.001, 0.004, 0.01, 0.02, 0.03):
            process = None
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                process = ExternalProcess(ToyEnv, start_method=method, start=False)
                process.start(wait_to_start=False)
                process.wait_start()
                time.sleep(0.05)
            except Alarm:
                raised += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if process is not None:
                process.close()
        assert raised == 5
        gc.collect()
        assert wait_until(lambda: not new_children())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_limit_of_descriptors_is_named():
    code = """
import gc, os, resource, plangym_lite
from plangym_lite.testing.toy import ToyEnv
plangym_lite.make(ToyEnv, n_workers=1).close()
gc.collect()
n_open = len(os.listdir("/dev/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (45, 200))
for method in ("forkserver", "spawn", "fork"):
    try:
        plangym_lite.make(ToyEnv, n_workers=20, start_method=method)
    except OSError as error:
        needed = int(str(error).split("need ")[1].split()[0])
        print(error.errno, str(error))
    plangym_lite.make(ToyEnv, n_workers=2, start_method=method).close()
resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
with plangym_lite.make(ToyEnv, n_workers=20, use_caller=False, start_method="fork") as env:
    print(len(env.step_batch([2] * 99).rewards))
gc.collect()
print(len(os.listdir("/dev/fd")) - n_open)
"""
    *errors, rows, leaked = run_python("-c", code).splitlines()
    assert len(errors) == 3
    for error in errors:
        assert all(word in error for word in ("24 ", "20 workers", "45", "ulimit -n"))
    assert (rows, leaked) == ("99", "0")


def test_a_limit_of_processes_is_named(monkeypatch):
    def refuse(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(start, "_spawn", refuse)
    with pytest.raises(BlockingIOError, match=r"worker 0 .* 3 workers need 4 processes .*ulimit"):
        ParallelEnv(ToyEnv, n_workers=3, start_method="spawn")


@pytest.mark.skipif(os.getuid() != 0, reason="to be another user, one must be root")
@all_methods
def test_a_user_who_may_have_no_more_processes(method):
    code = f"""
import os, resource, plangym_lite
from plangym_lite.testing.toy import ToyEnv
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
os.setuid(54321)
try:
    plangym_lite.make(ToyEnv, n_workers=3, start_method={method!r})
except OSError as error:
    parts = "3 workers need 4 processes", "RLIMIT_NPROC: 0"
    print(error.errno == 11, *(part in str(error) for part in parts))
"""
    assert run_python("-c", code).split() == ["True"] * 3


# ---- forks and threads ---------------------------------------------------------------------------


def in_a_fork(work):
    """What ``work`` returns in a raw fork of this process, which ends as programs do."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.write(writer, str(work()).encode())
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader) as answers:
        answer = answers.read()
    assert os.waitpid(pid, 0)[1] == 0
    return answer


@slow_spawn
def test_a_fork_leaves_the_workers_alone(method):
    env = ToyEnv()
    with ExternalProcess(ToyEnv, start_method=method) as process:
        pending = process.step(RIGHT, blocking=False)

        def refused():
            for use in (process.get_state, process.restart, pending.result, pending.done):
                with pytest.raises(ForkedError, match="forked"):
                    use()
            process.close()
            return process.is_alive()

        assert in_a_fork(refused) == "False"
        assert_same(env.step(RIGHT), pending.result())
        assert process.is_alive()
        assert in_a_fork(lambda: len(use_workers(method))) == "9"
        assert_same(env.step(RIGHT), process.step(RIGHT))


def test_workers_end_with_their_parent_though_a_fork_of_it_lives():
    code = """
import os, sys, time, plangym_lite
from plangym_lite.testing.toy import ToyEnv
env = plangym_lite.make(ToyEnv, n_workers=2)
pids = [process.pid for process in env.batch_env]
child = os.fork()
if child == 0:
    sys.stdout.close(); os.close(1); os.close(2)
    time.sleep(30)
print(child, *pids, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    child, *pids = map(int, done.stdout.split())
    try:
        assert wait_until(lambda: not any(map(is_running, pids)), timeout=5)
    finally:
        os.kill(child, signal.SIGKILL)


def test_threads_take_turns():
    wanted = {action: ToyEnv().step_batch([action] * 3) for action in range(3)}
    wrong = []

    def use(action):
        for _ in range(100):
            batch = process.step_batch([action] * 3, timeout=20)
            if batch.observs.tolist() != wanted[action].observs.tolist():
                wrong.append(action)

    with ExternalProcess(ToyEnv) as process:
        threads = [threading.Thread(target=use, args=(action,)) for action in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert wrong == []


def test_waiting_for_another_thread_counts_for_the_timeout():
    with ExternalProcess(lambda: ToyEnv(sleep_at=RIGHT, sleep_for=2)) as process:
        thread = threading.Thread(target=process.step, args=(RIGHT,))
        thread.start()
        time.sleep(0.2)
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="another thread"):
            process.get_state(timeout=0.3)
        assert time.monotonic() - began < 1.5
        thread.join()
        assert process.get_state(timeout=20) is not None


# ---- seen ----------------------------------------------------------------------------------------


def test_a_replaced_worker_leaves_a_line_in_the_log(caplog):
    with caplog.at_level(logging.WARNING, "plangym_lite"):
        with ParallelEnv(ToyEnv, n_workers=1, use_caller=False) as env:
            env.step_batch([RIGHT] * 3)
            assert caplog.records == []
            pid = env.batch_env[0].pid
            os.kill(pid, signal.SIGKILL)
            env.step_batch([RIGHT] * 3)
        (record,) = caplog.records
        assert record.name == "plangym_lite"
        for part in (str(pid), "replaced", "SIGKILL"):
            assert part in record.getMessage()

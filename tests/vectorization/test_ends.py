"""Ends: Ctrl-C, a parent that is killed, and what is left of them: nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.vectorization.helpers import ROOT, is_running, wait_until

HEAD = """
import os, sys, time
from plangym_lite import make
from tests.toys import LEFT, RIGHT, STAY, ToyEnv

class Stuck(ToyEnv):
    def advance(self, action, n_frames):
        if action == LEFT:
            import ctypes
            ctypes.PyDLL(None).sleep(60)  # in C, and the interpreter waits with it
        return super().advance(action, n_frames)
"""


@contextlib.contextmanager
def program(code):
    """A program in a process group of its own, as in a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_pids(process):
    pids = [int(pid) for pid in process.stdout.readline().split()]
    below = psutil.Process(process.pid).children(recursive=True)
    assert set(pids) <= {child.pid for child in below}
    return {*pids, *(child.pid for child in below)}


def end_of(process, timeout=30):
    out, err = process.communicate(timeout=timeout)
    err = [line for line in err.splitlines() if " is replaced: " not in line]  # what is logged
    assert (process.returncode, err) == (0, []), err
    return out.splitlines()


# ---- Ctrl-C --------------------------------------------------------------------------------------

INTERRUPTED = """
env = make(ToyEnv, n_workers=2, sleep_at=STAY, sleep_for={seconds}, start_method={method!r})
state = env.get_state()
pids = [process.pid for process in env.batch_env]
print("ready", flush=True)
try:
    env.step_batch([STAY] * {rows}, [state] * {rows})
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted", flush=True)
actions = [RIGHT, LEFT] * 10
expected = ToyEnv().step_batch(actions, [state] * 20)
got = env.step_batch(actions, [state] * 20)
print((got.states == expected.states).all(), got.infos == expected.infos)
print([process.pid for process in env.batch_env] == pids)
env.close()
"""


@pytest.mark.parametrize(
    ("method", "seconds", "same_workers"),
    [
        ("forkserver", 0.01, True),
        ("forkserver", 60, False),
        ("spawn", 0.01, True),
        ("fork", 60, False),
    ],
)
def test_interrupt_in_a_batch_leaves_a_usable_environment(method, seconds, same_workers):
    code = INTERRUPTED.format(method=method, seconds=seconds, rows=60)
    with program(code) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        assert end_of(process) == ["interrupted", "True True", str(same_workers)]


REPEATED = """
import signal
interrupted = right = 0
armed = False
def interrupt(*args):
    global armed
    if armed:  # only inside of step_batch
        armed = False
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupt)
env = make(ToyEnv, n_workers=2, slip=0.3)
states = [env.get_state()] * 300
actions = [RIGHT, LEFT, STAY] * 100
expected = ToyEnv(slip=0.3).step_batch(actions, states)
print("ready", flush=True)
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        armed = True
        got = env.step_batch(actions, states)
        armed = False
        assert (got.states == expected.states).all() and got.infos == expected.infos
        right += 1
    except KeyboardInterrupt:
        interrupted += 1
env.close()
print(interrupted > 5 and right > 5)
"""


def test_interrupts_at_any_moment():
    with program(REPEATED) as process:
        assert process.stdout.readline() == "ready\n"
        for number in range(40):
            time.sleep(0.02 + number * 0.001)
            os.killpg(process.pid, signal.SIGINT)
        assert end_of(process) == ["True"]


STARTING = """
print("starting", flush=True)
try:
    env = make(ToyEnv, n_workers=3, start_method={method!r})
    env.close()
except KeyboardInterrupt:
    pass
import contextlib
import psutil
def is_starting(child):
    with contextlib.suppress(psutil.NoSuchProcess):
        return "--multiprocessing-fork" in child.cmdline()
end = time.monotonic() + 5
while time.monotonic() < end and any(map(is_starting, psutil.Process().children())):
    time.sleep(0.05)
with make(ToyEnv, n_workers=2, start_method={method!r}) as env:
    print(env.step_batch([RIGHT] * 3).observs[:, 0].tolist())
"""


@pytest.mark.parametrize(
    ("method", "delay"), [("forkserver", 0.0), ("forkserver", 0.2), ("spawn", 0.3)]
)
def test_interrupt_while_starting(method, delay):
    with program(STARTING.format(method=method)) as process:
        assert process.stdout.readline() == "starting\n"
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        assert end_of(process) == ["[3.0, 3.0, 3.0]"]


def test_interrupted_program_ends_without_noise_from_its_workers():
    code = """
env = make(ToyEnv, n_workers=2, sleep_at=STAY, sleep_for=0.1)
print(*[process.pid for process in env.batch_env], flush=True)
env.step_batch([STAY] * 30)
"""
    with program(code) as process:
        pids = read_pids(process)
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode != 0
        assert err.count("Traceback") == 1
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert wait_until(lambda: not any(map(is_running, pids)))


# ---- a parent that is gone -----------------------------------------------------------------------

BUSY = {
    "idle": "time.sleep(60)",
    "in a long step": "env.step_batch([STAY] * 20)",
    "in C code": "env.step_batch([LEFT] * 20)",
}


@pytest.mark.parametrize(
    ("method", "doing"),
    [*(("forkserver", doing) for doing in BUSY), ("spawn", "in C code"), ("fork", "in C code")],
)
def test_no_child_survives_a_killed_parent(method, doing):
    code = f"""
env = make(Stuck, n_workers=2, sleep_at=STAY, sleep_for=60, start_method={method!r})
print(*[process.pid for process in env.batch_env], flush=True)
{BUSY[doing]}
"""
    names = set(os.listdir("/dev/shm"))
    with program(code) as process:
        pids = read_pids(process)
        time.sleep(0.1)
        process.kill()
        assert wait_until(lambda: not any(map(is_running, pids)), timeout=5)
    assert set(os.listdir("/dev/shm")) <= names


def test_no_child_survives_a_parent_killed_while_it_starts():
    code = """
import threading
def slow():
    time.sleep(60)
threading.Thread(target=lambda: make(slow_env, n_workers=3), daemon=True).start()
import psutil
children = []
while len(children) < 4:  # the server that forks, and three workers
    time.sleep(0.05)
    children = psutil.Process().children(recursive=True)
print(*[child.pid for child in children], flush=True)
time.sleep(60)
""".replace("make(slow_env,", "ParallelEnv(slow,")
    code = "from plangym_lite.vectorization import ParallelEnv\n" + code
    with program(code) as process:
        pids = read_pids(process)
        process.kill()
        assert wait_until(lambda: not any(map(is_running, pids)), timeout=5)


def test_parent_that_leaves_without_a_word():
    code = """
env = make(ToyEnv, n_workers=2)
print(*[process.pid for process in env.batch_env], flush=True)
sys.stdin.read(0)
time.sleep(0.3)
os._exit(0)
"""
    with program(code) as process:
        pids = read_pids(process)
        assert end_of(process) == []
        assert wait_until(lambda: not any(map(is_running, pids)), timeout=5)


def test_death_of_the_fork_server():
    code = """
import os, signal
from plangym_lite.vectorization.process.start import forkserver_pid
env = make(ToyEnv, n_workers=2)
pids = [process.pid for process in env.batch_env]
os.kill(forkserver_pid(), signal.SIGKILL)
time.sleep(0.1)
print(env.step_batch([RIGHT] * 3).observs[:, 0].tolist())
os.kill(pids[0], signal.SIGKILL)
print(env.step_batch([RIGHT] * 3).observs[:, 0].tolist())
env.close()
"""
    with program(code) as process:
        assert end_of(process) == ["[3.0, 3.0, 3.0]"] * 2


# ---- an end that nobody waits for ----------------------------------------------------------------


def test_a_thread_that_steps_while_the_program_ends_prints_nothing():
    code = """
import threading
from plangym_lite import SubprocVectorEnv
env = make(ToyEnv, n_workers=2)
env.get_state()
vector = SubprocVectorEnv([ToyEnv] * 2)
vector.reset()
def run(step, actions):
    while True:
        step(actions)
threading.Thread(target=run, args=(env.step_batch, [RIGHT] * 50), daemon=True).start()
threading.Thread(target=run, args=(vector.step, [STAY] * 2), daemon=True).start()
print(*[worker.pid for worker in (*env.batch_env, *vector.workers)], flush=True)
sys.stdin.read(0)
time.sleep(0.5)
"""
    with program(code) as process:
        pids = read_pids(process)
        assert end_of(process) == []
        assert wait_until(lambda: not any(map(is_running, pids)), timeout=5)


def test_a_global_that_closes_its_environment_when_it_is_deleted():
    code = """
class Holder:
    def __init__(self):
        self.env = make(ToyEnv, n_workers=2)
        self.env.step_batch([RIGHT] * 3)
    def __del__(self):
        self.env.close()
holder = Holder()
"""
    with program(code) as process:
        assert end_of(process) == []


def test_dead_workers_where_sigpipe_ends_a_program():
    code = """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
env = make(ToyEnv, n_workers=2, use_caller=False)
for worker in env.batch_env:
    os.kill(worker.pid, signal.SIGKILL)
time.sleep(0.1)
print(env.step_batch([RIGHT] * 3).observs[:, 0].tolist())
"""
    with program(code) as process:
        assert end_of(process) == ["[3.0, 3.0, 3.0]"]


CLOSING = """
import signal, warnings
warnings.simplefilter("ignore")  # Gymnasium's: a step is pending
from plangym_lite import ExternalProcess, SubprocVectorEnv
import gymnasium as gym, numpy as np
def end(*args):
    opened.close()
    print("closed", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
if KIND == "batches":
    opened = make(ToyEnv, n_workers=2)
    states = [opened.get_state()] * 300
    step = lambda: opened.step_batch([RIGHT] * 300, states)
else:
    opened = SubprocVectorEnv([lambda: gym.make("CartPole-v1")] * 2)
    opened.reset(seed=0)
    step = lambda: opened.step(np.zeros(2, int))
print("ready", flush=True)
while True:
    step()
"""


@pytest.mark.parametrize("kind", ["batches", "vector"])
def test_a_handler_of_a_signal_closes_in_the_middle_of_a_call(kind):
    with program(CLOSING.replace("KIND", repr(kind))) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert end_of(process) == ["closed"]
        assert not psutil.wait_procs(children, timeout=5)[1]

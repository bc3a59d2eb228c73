"""Ctrl-C and hung environments: what a vector environment can do afterwards."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from plangym_lite import AlreadySteppingError, SequentialVectorEnv, SubprocVecEnv, SubprocVectorEnv
from tests.toys import LEFT, RIGHT, STAY, ToyEnv
from tests.vectorization.helpers import is_running, wait_until

slow_toy = partial(ToyEnv, sleep_at=LEFT, sleep_for=0.6, size=30)
hanging = partial(ToyEnv, sleep_at=LEFT, sleep_for=60, slip=0.01, size=60)

PROGRAM = """
from functools import partial
import json
import numpy as np
from plangym_lite import {kind}
from tests.toys import LEFT, RIGHT, ToyEnv

if __name__ == "__main__":
    env = {kind}([partial(ToyEnv, sleep_at=LEFT, sleep_for=0.7, size=30)] * 2)
    env.reset()
    start = env.step(np.array([RIGHT, RIGHT]))[0][:, 0].tolist()
    print(json.dumps(start), flush=True)
    try:
        env.step(np.array([LEFT, RIGHT]))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(json.dumps(env.step(np.array([RIGHT, RIGHT]))[0][:, 0].tolist()), flush=True)
    env.reset()
    env.close()
    print("closed", flush=True)
"""


@pytest.mark.parametrize("kind", ["SubprocVectorEnv", "SubprocVecEnv", "SequentialVectorEnv"])
def test_the_step_after_ctrl_c(tmp_path, kind):
    """A signal to the whole group of processes, as a terminal sends it."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(kind=kind))
    child = subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        start = json.loads(child.stdout.readline())
        time.sleep(0.3)
        os.killpg(child.pid, signal.SIGINT)
        said = child.communicate(timeout=30)[0].splitlines()
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, said[0], said[2]) == (0, "interrupted", "closed")
    if kind == "SequentialVectorEnv":  # cut off inside of the first environment
        assert json.loads(said[1]) == [start[0] + 1, start[1] + 1]
    else:  # the workers have made the step that was interrupted
        assert json.loads(said[1]) == [start[0], start[1] + 2]


def interrupt_after(seconds):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@pytest.mark.parametrize("kind", [SubprocVectorEnv, SubprocVecEnv])
def test_every_call_after_an_interrupted_step(kind):
    with kind([slow_toy] * 2) as env:
        env.reset()
        for use in (env.get_state, env.reset, lambda: env.get_attr("size")):
            timer = interrupt_after(0.2)
            with pytest.raises(KeyboardInterrupt):
                env.step(np.array([LEFT, RIGHT]))
            timer.join()
            assert use() is not None
            env.step(np.array([RIGHT, RIGHT]))


def test_an_interrupted_wait_can_be_taken_up_again():
    with SubprocVectorEnv([slow_toy] * 2) as env:
        start = env.reset()[0][:, 0]
        env.step_async(np.array([LEFT, RIGHT]))
        timer = interrupt_after(0.2)
        with pytest.raises(KeyboardInterrupt):
            env.step_wait()
        timer.join()
        with pytest.raises(AlreadySteppingError, match="step_wait"):
            env.step(np.array([STAY, STAY]))
        assert (env.step_wait()[0][:, 0] - start).tolist() == [-1, 1]


# ---- hung environments ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SubprocVectorEnv, SubprocVecEnv])
def test_reset_leaves_a_hung_environment(kind):
    with kind([hanging] * 3) as env:
        env.reset()
        pids = [worker.pid for worker in env.workers]
        env.step_async(np.array([RIGHT, LEFT, RIGHT]))
        with pytest.raises(TimeoutError):
            env.step_wait(timeout=0.2)
        started = time.monotonic()
        env.reset(timeout=1.0)
        assert time.monotonic() - started < 10
        assert wait_until(lambda: not is_running(pids[1]))
        now = [worker.pid for worker in env.workers]
        assert (now[0], now[2]) == (pids[0], pids[2])
        assert now[1] != pids[1]
        env.step(np.array([RIGHT, STAY, RIGHT]))


def test_the_fresh_worker_has_its_seeds():
    with SubprocVectorEnv([hanging] * 2) as env:
        env.seed([3, 4, 5, 6])
        first = env.reset()[0]
        env.step_async(np.array([STAY, LEFT]))
        with pytest.raises(TimeoutError):
            env.step_wait(timeout=0.1)
        assert np.array_equal(env.reset(timeout=0.5)[0], first)


def test_a_masked_reset_leaves_the_others_where_they_are():
    with SubprocVectorEnv([hanging] * 2) as env:
        start = env.reset(seed=1)[0]
        env.step_async(np.array([RIGHT, LEFT]))
        mask = {"reset_mask": np.array([False, True])}
        with pytest.raises(TimeoutError, match=r"\[1\].*reset them, too"):
            env.reset(options={"reset_mask": np.array([True, False])}, timeout=0.3)
        observations = env.reset(options=mask, seed=1, timeout=0.3)[0]
        assert observations[0, 0] == start[0, 0] + 1
        env.step(np.array([STAY, STAY]))


class HangsInReset(ToyEnv):
    """Its second reset hangs, in one of two environments."""

    def apply_reset(self, seed, options):
        if options and options.get("hang") == self.time_limit:
            time.sleep(60)
        return super().apply_reset(seed, options)


def test_a_reset_that_hangs():
    factories = [partial(HangsInReset, time_limit=limit) for limit in (10, 11)]
    with SubprocVectorEnv(factories) as env:
        env.reset()
        with pytest.raises(TimeoutError, match=r"environments \[1\] were not reset"):
            env.reset(options={"hang": 11}, timeout=0.5)
        env.reset()
        env.step(np.array([STAY, STAY]))


def test_timeouts_are_checked():
    with SequentialVectorEnv([ToyEnv]) as env:
        env.reset(timeout=5)
        for wrong, error in ((0, ValueError), (-1, ValueError), ("5", TypeError)):
            with pytest.raises(error, match="timeout"):
                env.reset(timeout=wrong)

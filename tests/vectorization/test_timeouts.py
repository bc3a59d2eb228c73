"""Time: a call takes as long as it was given; what is stuck is replaced; nothing late is heard."""

import multiprocessing
import os
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest

from plangym_lite import make
from plangym_lite.vectorization import BatchEnv, ExternalProcess, InlineWorker, ParallelEnv
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, OpaqueToy, ToyEnv
from tests.vectorization.helpers import is_running, wait_until
from tests.vectorization.worker.probe import SLEEPS, Probe, make_probe

FOREVER = 60
SLACK = 3.0  # seconds that a busy machine may need beyond a timeout


@contextmanager
def too_late(*words):
    """What happens in here must end in a TimeoutError soon, which says all of ``words``."""
    start = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        yield
    assert time.monotonic() - start < SLACK
    for word in words:
        assert word in str(caught.value), caught.value


class Moody(Probe):
    """Sleeps for ever in any verb, if told so beforehand."""

    def __init__(self, **toy_args):
        self.sleeps_in = ""
        super().__init__(**toy_args)

    def fall_asleep_in(self, name):
        self.sleeps_in = name

    def _maybe_sleep(self, name):
        if self.sleeps_in == name:
            time.sleep(FOREVER)

    def step(self, *args):
        self._maybe_sleep("step")
        return super().step(*args)

    def step_batch(self, *args):
        self._maybe_sleep("step_batch")
        return super().step_batch(*args)

    def rollout_batch(self, *args):
        self._maybe_sleep("rollout_batch")
        return super().rollout_batch(*args)

    def reset(self, *args, **kwargs):
        self._maybe_sleep("reset")
        return super().reset(*args, **kwargs)

    def get_state(self):
        self._maybe_sleep("get_state")
        return super().get_state()

    def set_state(self, state):
        self._maybe_sleep("set_state")
        super().set_state(state)

    def render(self):
        self._maybe_sleep("render")
        return super().render()


def drowsy():
    return ToyEnv(sleep_at=STAY, sleep_for=0.3)


VERBS = {
    "step": (RIGHT,),
    "step_batch": ([RIGHT] * 3,),
    "rollout_batch": ([[RIGHT] * 2] * 3,),
    "reset": (),
    "get_state": (),
    "set_state": (ToyEnv().get_state(),),
    "render": (),
}


class Raising(ToyEnv):
    """Raises a TimeoutError of its own."""

    def advance(self, action, n_frames):
        raise TimeoutError("the game's own")


# ---- one process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_verb_that_takes_too_long(verb):
    process = ExternalProcess(Moody)
    expected = getattr(process, verb)(*VERBS[verb], timeout=20)
    process.call("fall_asleep_in", verb)
    pid = process.pid
    with too_late(verb, f"pid={pid}", "0.3 s", "replaced"):
        getattr(process, verb)(*VERBS[verb], timeout=0.3)
    assert not is_running(pid)
    got = getattr(process, verb)(*VERBS[verb], timeout=20)
    assert process.pid != pid
    if verb != "step":
        assert_same(expected, got)
    process.close()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_every_start_method(method):
    process = ExternalProcess(drowsy, start_method=method)
    with too_late("step"):
        process.step(STAY, timeout=0.05)
    assert process.step(RIGHT, timeout=20).obs[0] == 3
    process.close()


def test_call_behind_one_that_is_stuck():
    process = ExternalProcess(lambda: ToyEnv(sleep_at=STAY, sleep_for=FOREVER))
    stuck = process.step(STAY, blocking=False)
    with too_late("get_state", "at 'step'"):
        process.get_state(timeout=0.1)
    with pytest.raises(Exception, match="replaced"):
        stuck()
    assert process.step(RIGHT).obs[0] == 3
    process.close()


def test_stopped_process_with_a_full_pipe():
    process = ExternalProcess(make_probe)
    os.kill(process.pid, signal.SIGSTOP)
    state = np.zeros(1 << 20)
    with too_late("set_state", "replaced"):
        process.set_state(state, timeout=0.2)
    assert process.call("count")() == 1
    process.close()


def test_a_promise_of_before_is_void_after_a_timeout():
    process = ExternalProcess(make_probe)
    answered = process.call("count")
    assert process.step(RIGHT, timeout=20).obs[0] == 3
    late = process.call("trouble", SLEEPS)
    with too_late("step"):
        process.step(RIGHT, timeout=0.05)
    assert answered() == 1
    with pytest.raises(Exception, match="replaced"):
        late()
    assert process.call("count")() == 1
    process.close()


def test_timeout_error_of_the_environment_arrives_as_itself():
    process = ExternalProcess(Raising)
    pid = process.pid
    for timeout in (None, 20):
        with pytest.raises(TimeoutError, match="the game's own"):
            process.step(RIGHT, timeout=timeout)
    assert process.pid == pid
    process.close()
    with ParallelEnv(Raising, n_workers=2) as env:
        pids = [worker.pid for worker in env.batch_env]
        with pytest.raises(TimeoutError, match="the game's own"):
            env.step_batch([RIGHT] * 9, timeout=20)
        assert pids == [worker.pid for worker in env.batch_env]


def test_timeout_without_blocking_is_refused():
    process = ExternalProcess(ToyEnv)
    with pytest.raises(ValueError, match="result"):
        process.step(RIGHT, blocking=False, timeout=1)
    process.close()


# ---- starting ------------------------------------------------------------------------------------


def slow_start():
    time.sleep(FOREVER)
    return ToyEnv()


def test_constructor_that_hangs():
    with too_late("did not start within 0.2 s"):
        ExternalProcess(slow_start, start_timeout=0.2)
    with too_late("did not start within 0.2 s"):
        ParallelEnv(slow_start, n_workers=3, start_timeout=0.2)


def test_constructor_that_hangs_in_the_next_process(tmp_path):
    flag = tmp_path / "flag"

    def constructor():
        if flag.exists():
            time.sleep(FOREVER)
        return ToyEnv(slip=0.3, sleep_at=STAY, sleep_for=FOREVER)

    process = ExternalProcess(constructor, start_timeout=2)
    flag.touch()
    with too_late("step"):
        process.step(STAY, timeout=0.1)
    with too_late("still starting"):
        process.step(RIGHT, timeout=0.1)
    pid = process.pid
    with too_late("did not start within 2 s"):
        process.step(RIGHT)
    assert not is_running(pid)
    flag.unlink()
    process.restart()
    assert process.step(RIGHT).obs.shape == (2,)
    process.close()


def test_start_that_hangs_inside_a_batch(tmp_path):
    flag = tmp_path / "flag"

    def constructor():
        if flag.exists() and multiprocessing.parent_process() is not None:
            time.sleep(FOREVER)
        return ToyEnv()

    with ParallelEnv(constructor, n_workers=1) as env:
        flag.touch()
        pid = env.batch_env[0].pid
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: not is_running(pid))
        for _ in range(2):
            with too_late("step_batch", "still starting"):
                env.step_batch([RIGHT] * 9, timeout=0.3)
        flag.unlink()
        env.batch_env[0].restart()
        assert env.step_batch([RIGHT] * 9, timeout=20).observs[:, 0].tolist() == [3.0] * 9


# ---- pools ---------------------------------------------------------------------------------------


@pytest.fixture(params=[ToyEnv, OpaqueToy])
def env(request):
    with ParallelEnv(request.param, n_workers=2, slip=0.3, sleep_at=STAY, sleep_for=FOREVER) as env:
        yield env


def check(env, timeout=20):
    """Every answer is right, whatever happened before."""
    states = [env.get_state()] * 30
    with type(env.unwrapped)(slip=0.3) as local:
        arguments = [RIGHT] * 30, states, range(1, 31)
        expected = local.step_batch(*arguments)
        assert_same(expected, env.step_batch(*arguments, timeout=timeout))
        actions = [[RIGHT, LEFT]] * 30
        expected = local.rollout_batch(actions, states)
        assert_same(expected, env.rollout_batch(actions, states, timeout=timeout))


def test_batch_that_takes_too_long(env):
    state = env.step(RIGHT, return_state=True).state
    env.set_state(state)
    pids = [worker.pid for worker in env.batch_env]
    with too_late("step_batch", "1.5 s", "was replaced"):
        env.step_batch([RIGHT] * 20 + [STAY], timeout=1.5)
    check(env)
    assert sum(worker.pid not in pids for worker in env.batch_env) == 1
    pids = [worker.pid for worker in env.batch_env]
    with too_late("rollout_batch", "(ExternalProcess(pid="):
        env.rollout_batch([[RIGHT, STAY]] * 20, timeout=0.2)
    assert_same([state] * 2, [worker.get_state() for worker in env.batch_env])
    check(env)
    replaced = set(pids) - {worker.pid for worker in env.batch_env}
    assert replaced
    assert not any(map(is_running, replaced))


def test_batch_that_is_in_time_costs_no_worker(env):
    pids = [worker.pid for worker in env.batch_env]
    check(env, timeout=np.float32(20))
    check(env, timeout=float("inf"))
    assert pids == [worker.pid for worker in env.batch_env]
    assert [worker.deadline for worker in env.batch_env] == [None] * 2


def test_stopped_worker_in_every_call_of_a_pool(env):
    state = env.get_state()
    calls = {
        "step_batch": lambda: env.step_batch([RIGHT] * 30, timeout=0.3),
        "rollout_batch": lambda: env.rollout_batch([[RIGHT]] * 30, timeout=0.3),
        "sync_states": lambda: env.sync_states(state, timeout=0.3),
        "reset": lambda: env.batch_env.reset(timeout=0.3),
        "make_transitions": lambda: env.batch_env.make_transitions([RIGHT] * 9, timeout=0.3),
    }
    for name, call in calls.items():
        pid, other = (worker.pid for worker in env.batch_env)
        for each in (pid, other):
            os.kill(each, signal.SIGSTOP)
        with too_late(name, f"worker 0 (ExternalProcess(pid={pid}"):
            call()
        assert not is_running(pid)
        if env.batch_env[1].pid == other:
            os.kill(other, signal.SIGCONT)
        check(env)
    os.kill(env.batch_env[1].pid, signal.SIGSTOP)
    with too_late("sync_states"):
        env.reset(timeout=0.3)
    assert len(env.reset(timeout=20)) == 3
    check(env)


def test_a_stopped_worker_is_not_waited_for_where_others_take_its_rows():
    with ParallelEnv(ToyEnv, n_workers=2, sleep_at=STAY, sleep_for=0.01) as env, ToyEnv() as local:
        states = [env.get_state()] * 20
        env.step_batch([STAY] * 20, states)  # so that it is known how long a row takes
        pid = env.batch_env[1].pid
        os.kill(pid, signal.SIGSTOP)
        for timeout in (None, 20):
            got = env.step_batch([STAY] * 20, states, timeout=timeout)
            assert_same(local.step_batch([STAY] * 20, states), got)
        os.kill(pid, signal.SIGCONT)
        assert env.batch_env[1].pid == pid
        assert_same([states[0]] * 2, [worker.get_state() for worker in env.batch_env])


def test_unwaited_calls_into_a_full_pipe(env):
    os.kill(env.batch_env[1].pid, signal.SIGSTOP)
    with too_late("sync_states"):
        while True:
            env.sync_states(blocking=False, timeout=0.2)
    check(env)


def test_close_of_a_stuck_worker_is_bounded(env):
    pid = env.batch_env[0].pid
    os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    env.close(timeout=0.1)
    assert time.monotonic() - start < SLACK
    assert not is_running(pid)


def test_inline_workers_are_looked_at_between_pieces():
    batch_env = BatchEnv([InlineWorker(lambda: ToyEnv(sleep_at=STAY, sleep_for=0.1))])
    with too_late("make_transitions"):
        batch_env.make_transitions([STAY] * 2 + [RIGHT] * 30, timeout=0.05)
    assert len(batch_env.make_transitions([RIGHT] * 30, timeout=5).rewards) == 30
    batch_env.close()


def test_environment_without_workers_refuses_a_timeout():
    with make("CartPole-v1") as env:
        with pytest.raises(ValueError, match="workers"):
            env.step_batch([0, 1], timeout=1)
        with pytest.raises(ValueError, match="workers"):
            env.rollout_batch([[0, 1]], timeout=1)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        *((value, ValueError) for value in (0, -1, float("nan"))),
        *((value, TypeError) for value in ("1", True, [1])),
    ],
)
def test_timeouts_that_are_none(env, timeout, error):
    process, state = env.batch_env[0], env.get_state()
    for use in (
        lambda: process.step(RIGHT, timeout=timeout),
        lambda: env.step_batch([RIGHT] * 3, timeout=timeout),
        lambda: env.rollout_batch([[RIGHT]] * 3, timeout=timeout),
        lambda: env.reset(timeout=timeout),
        lambda: env.sync_states(state, timeout=timeout),
        lambda: ExternalProcess(ToyEnv, start_timeout=timeout),
        lambda: ParallelEnv(ToyEnv, n_workers=1, start_timeout=timeout),
        *([lambda: env.close(timeout), lambda: process.close(timeout)] if timeout != 0 else []),
    ):
        with pytest.raises(error, match="timeout must be"):
            use()
    check(env)


def test_a_worker_that_is_restarted_before_it_answered():
    """It took no rows of the batch, which had ended before it ran at all."""
    with make(ToyEnv, n_workers=2, use_caller=False) as env:
        state, actions = env.get_state(), [RIGHT] * 200
        os.kill(env.batch_env[1].pid, signal.SIGSTOP)
        expected = env.step_batch(actions)
        for worker in env.batch_env:  # which ends the stopped one
            worker.restart()
        env.sync_states(state)
        pids = [worker.pid for worker in env.batch_env]
        assert_same(expected, env.step_batch(actions))
        assert [worker.pid for worker in env.batch_env] == pids
        assert env.stats.replacements == 0

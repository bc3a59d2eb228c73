"""Faults: nothing is lost when a worker dies, nothing stale is returned, nothing is left."""

import gc
import os
import random
import signal
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from plangym_lite import ClosedError, RemoteError, WorkerDiedError, make
from plangym_lite.vectorization import ParallelEnv
from plangym_lite.vectorization.worker.worker import close_all
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, OpaqueToy, ToyEnv, ToyError
from tests.vectorization.helpers import is_running, wait_until


def kill(process):
    """Kill a worker and wait until it is gone."""
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not is_running(pid))


def batch_of(env, size=30, action=RIGHT):
    """A batch with different answers in every row, and those answers."""
    states = [env.get_state()] * size
    with ToyEnv(slip=env.unwrapped.slip) as local:
        expected = local.step_batch([action] * size, states, range(1, size + 1))
    return ([action] * size, states, range(1, size + 1)), expected


@pytest.fixture
def env():
    with ParallelEnv(ToyEnv, n_workers=3, slip=0.3) as env:
        yield env


class Segfaulting(ToyEnv):
    """Crashes when it goes left."""

    def advance(self, action, n_frames):
        if action == LEFT:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().advance(action, n_frames)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy])
def test_no_stale_answers_after_an_exception(kind):
    with ParallelEnv(kind, n_workers=3, fail_at=LEFT) as env, kind() as local:
        state = env.get_state()
        for _ in range(5):
            with pytest.raises(ToyError):
                env.step_batch([RIGHT] * 11 + [LEFT] + [STAY] * 12, [state] * 24)
            actions = [STAY, RIGHT] * 12
            expected = local.step_batch(actions, [state] * 24, 2)
            assert_same(expected, env.step_batch(actions, [state] * 24, 2))


def test_every_worker_lives_after_an_exception():
    with ParallelEnv(ToyEnv, n_workers=3, fail_at=LEFT) as env:
        pids = [process.pid for process in env.batch_env]
        with pytest.raises(ToyError):
            env.step_batch([LEFT] * 30)
        assert [process.step(RIGHT).obs[0] for process in env.batch_env] == [3] * 3
        assert [process.pid for process in env.batch_env] == pids


@pytest.mark.parametrize("row", [0, 13, 19])  # the last ones are taken from the queue
def test_error_of_a_row_names_it_and_shows_where_it_happened(row):
    with ParallelEnv(ToyEnv, n_workers=2, fail_at=LEFT, use_caller=False) as env:
        with pytest.raises(ToyError, match="fails at action 0") as caught:
            env.step_batch([STAY] * row + [LEFT] + [STAY, LEFT] * 10)
        assert "in _make_trouble" in str(caught.value.__cause__)
        if hasattr(caught.value, "__notes__"):
            assert f"in row {row} of the batch" in caught.value.__notes__[0]


def test_unwaited_sync_does_not_shift_later_answers(env):
    states = [env.step(RIGHT, return_state=True).state for _ in range(4)]
    for state in states * 3:
        env.sync_states(state, blocking=False)
        arguments, expected = batch_of(env)
        assert_same(expected, env.step_batch(*arguments))
        assert_same([state] * 3, [process.get_state() for process in env.batch_env])


def test_thousands_of_unwaited_calls_do_not_block(env):
    for _ in range(3000):
        env.set_state(env.get_state())
    arguments, expected = batch_of(env)
    assert_same(expected, env.step_batch(*arguments))


class Leaving(ToyEnv):
    """Calls ``sys.exit`` when it goes left."""

    def advance(self, action, n_frames):
        if action == LEFT:
            sys.exit("leaving")
        return super().advance(action, n_frames)


def test_row_that_would_end_the_program():
    with ParallelEnv(Leaving, n_workers=2) as env:
        pids = [process.pid for process in env.batch_env]
        with pytest.raises(RemoteError, match="SystemExit: leaving") as caught:
            env.step_batch([STAY] * 13 + [LEFT] + [STAY] * 6)
        if hasattr(caught.value, "add_note"):
            assert "in row 13 of the batch" in str(caught.value)
        assert env.step_batch([RIGHT] * 20).observs[:, 0].tolist() == [3.0] * 20
        assert [process.pid for process in env.batch_env] == pids


# ---- deaths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("victims", [[0], [1], [2], [0, 1, 2]])
def test_worker_killed_between_batches(env, victims):
    arguments, expected = batch_of(env)
    for index in victims:
        kill(env.batch_env[index])
    assert_same(expected, env.step_batch(*arguments))
    assert all(process.is_alive() for process in env.batch_env)
    assert len(env.batch_env) == len({process.pid for process in env.batch_env}) == 3


@pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy])
@pytest.mark.parametrize("victims", [[0], [1], [0, 1]])
def test_worker_killed_in_a_batch(kind, victims, tmp_path):
    options = {"sleep_at": STAY, "sleep_for": 0.02}
    with ParallelEnv(kind, n_workers=2, slip=0.3, **options) as env, kind(slip=0.3) as local:
        state = env.get_state()
        pids = [env.batch_env[index].pid for index in victims]
        killer = threading.Timer(0.1, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
        killer.start()
        got = env.step_batch([STAY] * 24, [state] * 24)
        killer.join()
        assert_same(local.step_batch([STAY] * 24, [state] * 24), got)
        assert all(process.is_alive() for process in env.batch_env)
        assert not set(pids) & {process.pid for process in env.batch_env}


@pytest.mark.parametrize("size", [1, 2, 30])
def test_row_that_crashes_its_worker_once(size, tmp_path):
    once = str(tmp_path / "once")
    with ParallelEnv(ToyEnv, n_workers=2, slip=0.3, exit_at=LEFT, trouble_once=once) as env:
        arguments, expected = batch_of(env, size, LEFT)
        assert_same(expected, env.step_batch(*arguments))
        assert os.path.exists(once)


@pytest.mark.parametrize(
    ("kind", "options", "end"),
    [(ToyEnv, {"exit_at": LEFT}, "exit code 3"), (Segfaulting, {}, "SIGSEGV")],
    ids=["exit", "segfault"],
)
@pytest.mark.parametrize("row", [0, 17, 29])
def test_row_that_crashes_its_worker_every_time(kind, options, end, row):
    with ParallelEnv(kind, n_workers=2, slip=0.3, **options) as env:
        (_, states, dts), expected = batch_of(env)
        actions = [RIGHT] * 30
        actions[row] = LEFT
        with pytest.raises(WorkerDiedError) as caught:
            env.step_batch(actions, states, dts)
        for part in (f"row {row} ", "3 times", end, "step_batch"):
            assert part in str(caught.value)
        assert_same(expected, env.step_batch([RIGHT] * 30, states, dts))
        assert all(process.is_alive() for process in env.batch_env)


def test_batches_go_on_under_fire():
    """Workers are killed at random moments; no row is wrong, no row is lost."""
    stop, deaths = threading.Event(), []

    def fire():
        random.seed(0)
        while not stop.wait(0.12):
            process = random.choice(list(env.batch_env))
            if process.is_alive() and process._ready is not None:
                os.kill(process.pid, signal.SIGKILL)
                deaths.append(process.pid)

    with ParallelEnv(ToyEnv, n_workers=3, slip=0.3) as env:
        arguments, expected = batch_of(env, 200)
        thread = threading.Thread(target=fire)
        thread.start()
        end = time.monotonic() + 2
        try:
            while time.monotonic() < end:
                assert_same(expected, env.step_batch(*arguments))
        finally:
            stop.set()
            thread.join()
        assert len(deaths) > 3


def test_repeatable_calls_survive_a_death(env):
    state = env.step(RIGHT, return_state=True).state
    env.sync_states(state)
    for index in range(3):
        kill(env.batch_env[index])
    assert_same(state, env.batch_env.make_transitions([STAY], return_state=False) and state)
    assert_same([state] * 3, [process.get_state() for process in alive(env)])
    kill(env.batch_env[1])
    assert len(env.batch_env.reset()[0]) == 3
    kill(env.batch_env[2])
    env.sync_states(state)
    assert_same([state] * 3, [process.get_state() for process in env.batch_env])


def alive(env):
    """All processes, after a batch has replaced the dead ones."""
    env.step_batch([STAY] * 30)
    return list(env.batch_env)


def test_replaced_worker_is_in_the_state_of_all(env):
    state = env.step(RIGHT, return_state=True).state
    env.set_state(state)
    expected = env.batch_env.make_transitions([RIGHT, LEFT])
    kill(env.batch_env[0])
    assert_same([state] * 3, [process.get_state() for process in alive(env)])
    assert_same(expected, env.batch_env.make_transitions([RIGHT, LEFT]))


def test_restart_that_fails_raises_and_can_be_repeated(tmp_path):
    flag = tmp_path / "flag"

    def constructor():
        if flag.exists():
            raise RuntimeError("no licence left")
        return ToyEnv(slip=0.3)

    with ParallelEnv(constructor, n_workers=2) as env:
        arguments, expected = batch_of(env)
        flag.touch()
        kill(env.batch_env[0])
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no licence left"):
                env.step_batch(*arguments)
        flag.unlink()
        assert_same(expected, env.step_batch(*arguments))


@pytest.mark.parametrize("times", [2, 3])
def test_worker_that_dies_while_it_is_replaced(times, tmp_path):
    folder = tmp_path / "deaths"

    def constructor():
        if folder.exists() and len(list(folder.iterdir())) < times:
            (folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return ToyEnv(slip=0.3)

    with ParallelEnv(constructor, n_workers=2) as env:
        arguments, expected = batch_of(env)
        folder.mkdir()
        kill(env.batch_env[0])
        if times == 3:
            with pytest.raises(WorkerDiedError, match=r"SIGKILL.* during 'starting'"):
                env.step_batch(*arguments)
        assert_same(expected, env.step_batch(*arguments))


def test_worker_closed_by_hand(env):
    env.batch_env[1].close()
    with pytest.raises(ClosedError):
        env.step_batch([RIGHT] * 30)


# ---- time ----------------------------------------------------------------------------------------


def test_late_answer_after_a_timeout_answers_nothing_else():
    with ParallelEnv(ToyEnv, n_workers=2, slip=0.3, sleep_at=STAY, sleep_for=0.2) as env:
        arguments, expected = batch_of(env)
        late = [process.step(STAY, blocking=False) for process in env.batch_env]
        for promise in late:
            with pytest.raises(TimeoutError):
                promise.result(timeout=0.01)
        assert_same(expected, env.step_batch(*arguments))
        assert [promise().info["n_step"] for promise in late] == [1, 1]


def test_close_while_a_batch_is_under_way_elsewhere():
    """A large answer that nobody reads does not hold up the end."""
    env = ParallelEnv(OpaqueToy, n_workers=2)
    promises = [process.call("step_batch", [STAY] * 20000) for process in env.batch_env]
    start = time.monotonic()
    env.close()
    assert time.monotonic() - start < 5
    for promise in promises:
        with pytest.raises(ClosedError):
            promise()


def test_close_of_stuck_workers_is_bounded_together():
    env = ParallelEnv(ToyEnv, n_workers=3, sleep_at=STAY, sleep_for=60)
    for process in env.batch_env:
        process.step(STAY, blocking=False)
    start = time.monotonic()
    close_all(env.batch_env, timeout=0.5)
    assert time.monotonic() - start < 4
    env.close()


# ---- nothing grows -------------------------------------------------------------------------------


def held_by(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_descriptors_and_memory_do_not_grow_with_batches(env):
    def run(count):
        for index in range(count):
            env.step_batch([RIGHT] * (8 << index % 4))
        gc.collect()
        pids = [os.getpid(), *(process.pid for process in env.batch_env)]
        return [held_by(pid) for pid in pids], len(env.batch_env._pool.blocks)

    def memory():
        everyone = [psutil.Process(), *(psutil.Process(process.pid) for process in env.batch_env)]
        return [process.memory_full_info().uss for process in everyone]

    first, before = run(60), memory()
    assert run(2000) == first
    grown = [now - then for now, then in zip(memory(), before, strict=True)]
    assert max(grown) < 4 << 20, grown


@pytest.mark.timeout(180)
@pytest.mark.parametrize("cycles", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_descriptors_do_not_grow_with_environments(cycles):
    def cycle():
        env = ParallelEnv(ToyEnv, n_workers=1)
        batch = env.step_batch([RIGHT] * 20)
        env.close()
        del env, batch
        gc.collect()
        return held_by(os.getpid())

    first = cycle()
    assert [cycle() for _ in range(cycles)][-1] == first


def test_descriptors_do_not_grow_with_deaths(env):
    def cycle(index):
        kill(env.batch_env[index % 3])
        env.step_batch([RIGHT] * 20)
        gc.collect()
        return held_by(os.getpid())

    first = cycle(0)
    assert [cycle(index) for index in range(8)][-1] == first


def test_forgotten_environment_ends_its_workers():
    env = make(ToyEnv, n_workers=2)
    pids = [process.pid for process in env.batch_env]
    batch = env.step_batch([RIGHT] * 20)
    del env
    gc.collect()
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))
    assert batch.rewards.shape == (20,)
    assert np.isfinite(batch.rewards).all()

"""MuJoCo's batches on threads of this process: processes start only where they are needed."""

import gymnasium as gym
import numpy as np
import psutil
import pytest

from plangym_lite import ClosedError, ParallelEnv, make
from tests.same import assert_same

pytest.importorskip("mujoco")


WRAPPER = gym.wrappers.FrameStackObservation, {"stack_size": 2}


def children():
    return [child for child in psutil.Process().children(recursive=True) if child.is_running()]


def some_rows(env, size):
    draw = np.random.default_rng(0)
    state, *_ = env.reset(seed=0)
    actions = draw.uniform(-1, 1, (size, *env.action_space.shape)).astype(env.action_space.dtype)
    states = env.step_batch(actions, [state] * size).states
    return actions[::-1].copy(), states, draw.integers(1, 4, size)


def plain_rows(name, actions, states, dts):
    """The rows by the simulator alone, one at a time."""
    with make(name) as env:
        return [
            env.step(action, state, int(dt))
            for action, state, dt in zip(actions, states, dts, strict=True)
        ]


def row_of(batch, row):
    """A row as ``step`` returns it."""
    plain = [column[row].item() for column in batch[2:5]]
    return batch.states[row], batch.observs[row], *plain, batch.infos[row]


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Ant-v5", "cartpole-swingup"])
def test_rows_on_threads(name):
    if "-v" not in name:
        pytest.importorskip("dm_control")
    before = children()
    with make(name, n_workers=2) as env:
        actions, states, dts = some_rows(env, 40)
        batch = env.step_batch(actions, states, dts)
        few = env.step_batch(actions[:3], states[:3], dts[:3])
        rolled = env.rollout_batch(np.stack([actions, actions], 1), states, dts)
        assert children() == before
        assert (env.stats.batches, env.stats.rows) == (4, 40 + 40 + 3 + 40)
        expected = plain_rows(name, actions, states, dts)
        for row, step in enumerate(expected):
            assert_same(tuple(step), row_of(batch, row))
        for row, step in enumerate(expected[:3]):
            assert_same(tuple(step), row_of(few, row))
        second = plain_rows(name, actions, batch.states, dts)
        for row, step in enumerate(second):
            assert_same(step.state, rolled.states[row])
            assert rolled.rewards[row, 1] == step.reward


def test_processes_start_where_they_are_needed():
    with make("Hopper-v5", n_workers=2) as env:
        actions, states, dts = some_rows(env, 16)
        on_threads, before = env.step_batch(actions, states, dts), children()
        env.set_state(states[3])
        in_time = env.step_batch(actions, states, dts, timeout=60)  # threads cannot be stopped
        assert len(children()) > len(before)
        assert_same(tuple(on_threads), tuple(in_time))
        assert_same(states[3], env.batch_env[0].get_state())
        env.step(actions[0], states[5])
        assert_same(states[3], env.batch_env[1].get_state())  # as of the last sync
        env.sync_states(states[6])
        assert_same(states[6], env.batch_env[1].get_state())
        assert env.stats.batches == 3
    with pytest.raises(ClosedError):
        env.step_batch(actions, states)
    with pytest.raises(ClosedError):
        env.batch_env  # noqa: B018


def test_wrapped_rows_run_in_processes():
    before = children()
    with make("Hopper-v5", n_workers=2, wrappers=[WRAPPER]) as env:
        assert len(children()) > len(before)
        actions, states, _ = some_rows(env, 16)
        expected = plain_rows_wrapped(actions, states)
        assert_same(expected, list(env.step_batch(actions, states).observs))


def plain_rows_wrapped(actions, states):
    with make("Hopper-v5", wrappers=[WRAPPER]) as env:
        return [env.step(a, s).obs for a, s in zip(actions, states, strict=True)]


def test_processes_for_all_batches():
    before = children()
    with ParallelEnv(type(make("Hopper-v5")), "Hopper-v5", n_workers=2, threads=False) as env:
        assert len(children()) > len(before)
        actions, states, dts = some_rows(env, 16)
        batch = env.step_batch(actions, states, dts)
        for row, step in enumerate(plain_rows("Hopper-v5", actions, states, dts)):
            assert_same(tuple(step), row_of(batch, row))

"""Long walks, continued from the middle in a fresh object: bit for bit those of the engine."""

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import make
from tests.same import assert_same

STEPS = 10_000
pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Ant-v5"])
def test_gymnasium(name):
    options = {"terminate_when_unhealthy": False} if name == "Ant-v5" else {}
    raw = gym.make(name, max_episode_steps=-1, **options)
    raw.action_space.seed(0)
    actions = [raw.action_space.sample() for _ in range(STEPS)]
    with make(name, render_mode=None, **options) as env:
        assert_same(raw.reset(seed=1)[0], env.reset(seed=1)[1])
        for action in actions[: STEPS // 2]:
            raw.step(action)
            env.step(action)
        state = env.get_state()
    with make(name, render_mode=None, **options) as env:
        env.set_state(state)
        for action in actions[STEPS // 2 :]:
            expected, step = raw.step(action), env.step(action)
            assert_same(expected[0], step.obs)
            assert tuple(expected[1:4]) == tuple(step)[1:4]
            assert_same(expected[4], {key: step.info[key] for key in expected[4]})
    with make(name, render_mode=None, **options) as env:
        rolled = env.rollout_batch([actions[STEPS // 2 :]] * 8, [state] * 8)
        for obs in rolled.observs:
            assert_same(expected[0], obs)
        assert env.is_batched
    raw.close()


@pytest.mark.timeout(600)
def test_dm_control():
    suite = pytest.importorskip("dm_control.suite")
    raw = suite.load("cheetah", "run", task_kwargs={"random": 0})
    raw._step_limit = float("inf")
    raw.task.random.seed(1)
    raw.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, 6))
    with make("cheetah-run", render_mode=None) as env:
        env.reset(seed=1)
        for action in actions[: STEPS // 2]:
            raw.step(action)
            env.step(action)
        state = env.get_state()
    with make("cheetah-run", render_mode=None) as env:
        env.set_state(state)
        for action in actions[STEPS // 2 :]:
            expected, step = raw.step(action), env.step(action)
            assert_same(np.concatenate(list(expected.observation.values())), step.obs)
            assert step.reward == expected.reward
        rolled = env.rollout_batch([actions[STEPS // 2 :]] * 8, [state] * 8)
        for obs in rolled.observs:
            assert_same(step.obs, obs)
        assert env.is_batched

"""``env.as_gym()`` against the environments of plain Gymnasium, alone and under its wrappers."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics, TimeLimit

import plangym_lite

GAMES = {
    "CartPole-v1": {"max_episode_steps": -1},
    "ALE/Boxing-v5": {
        "frameskip": 5,
        "repeat_action_probability": 0.0,
        "max_episode_steps": -1,
        "obs_type": "ram",
    },
}


def ours(name, **kwargs):
    kwargs |= {"obs_type": "ram"} if name.startswith("ALE") else {}
    return plangym_lite.make(name, **kwargs).as_gym()


def plain(name):
    return gym.make(name, disable_env_checker=True, **GAMES[name])


def wrapped(env):
    return FrameStackObservation(RecordEpisodeStatistics(TimeLimit(env, 30)), 3)


@pytest.mark.filterwarnings("ignore:.*A Box observation space")  # CartPole's own is unbounded
@pytest.mark.filterwarnings("ignore:.*not having a spec")  # no id makes a view
@pytest.mark.parametrize("name", GAMES)
def test_the_checker_of_gymnasium_passes(name):
    env = ours(name)
    assert env.render_mode == "rgb_array"
    check_env(env)
    env.close()  # again
    env.close()
    assert isinstance(env, gym.Env)


@pytest.mark.parametrize("wrap", [lambda env: env, wrapped], ids=["bare", "wrapped"])
@pytest.mark.parametrize("name", GAMES)
def test_it_plays_as_plain_gymnasium(name, wrap):
    env, other = wrap(ours(name)), wrap(plain(name))
    other.action_space.seed(0)
    ends = 0
    for seed in range(3):
        np.testing.assert_array_equal(env.reset(seed=seed)[0], other.reset(seed=seed)[0])
        for _ in range(40):
            action = other.action_space.sample()
            obs, *step, info = env.step(action)
            wanted, *wanted_step, wanted_info = other.step(action)
            np.testing.assert_array_equal(obs, wanted)
            assert step == wanted_step
            if any(step[1:]):
                if wrap is wrapped:
                    assert info["episode"]["r"] == wanted_info["episode"]["r"]
                ends += 1
                break
    env.close()
    other.close()
    assert ends or not (wrap is wrapped or name == "CartPole-v1")


def test_batches_leave_its_state_alone():
    with plangym_lite.make("CartPole-v1") as plan_env:
        view, twin = plan_env.as_gym(), plain("CartPole-v1")
        view.reset(seed=3)
        twin.reset(seed=3)
        plan_env.step_batch([0, 1, 1], [plan_env.get_state()] * 3)
        np.testing.assert_array_equal(view.step(1)[0], twin.step(1)[0])
        assert view.render().shape == plan_env.get_image().shape

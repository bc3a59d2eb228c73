"""``plan --save``: the steps of the file are those of the game."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import make
from plangym_lite.cli.main import main
from plangym_lite.states.files import load_states


def saved(tmp_path, name, *options):
    path = tmp_path / "game.npz"
    assert main(["plan", name, "--workers", "none", "--save", str(path), *options, "-q"]) == 0
    with np.load(path) as file:
        return path, dict(file)


def test_the_file_is_the_game(tmp_path):
    options = "--steps", "4", "--episodes", "2", "--simulations", "20", "--seed", "5"
    path, found = saved(tmp_path, "CartPole-v1", *options)
    assert found["seeds"].tolist() == [5] * 4 + [6] * 4
    assert found["weights"].shape == (8, 2)
    np.testing.assert_allclose(found["weights"].sum(1), 1.0)
    assert np.isfinite(found["values"]).all()
    plain = gym.make("CartPole-v1")  # the judge: the same seeds and actions
    for row, (seed, action) in enumerate(zip(found["seeds"], found["actions"], strict=True)):
        obs = plain.reset(seed=int(seed))[0] if row % 4 == 0 else obs  # noqa: F821
        np.testing.assert_array_equal(found["observations"][row], obs)
        obs, reward, terminated, truncated, _ = plain.step(action)
        assert found["rewards"][row] == reward
        assert (found["terminateds"][row], found["truncateds"][row]) == (terminated, truncated)
    env = make("CartPole-v1")
    states = load_states(path, env)
    out = env.step_batch(found["actions"], states)
    np.testing.assert_array_equal(out.observs[:3], found["observations"][1:4])


def test_actions_of_earlier_plans_have_no_weights(tmp_path):
    options = "--steps", "4", "--execute", "2", "--budget", "100"
    _, found = saved(tmp_path, "CartPole-v1", *options)
    assert np.isnan(found["values"]).tolist() == [False, True, False, True]
    assert np.isnan(found["weights"]).all(1).tolist() == [False, True, False, True]


def test_continuous_actions_have_no_weights(tmp_path):
    options = "--planner", "cem", "--steps", "2", "--budget", "120"
    _, found = saved(tmp_path, "Pendulum-v1", *options)
    assert "weights" not in found
    assert found["actions"].shape == (2, 1)


def test_nested_observations_have_an_array_for_each_leaf(tmp_path):
    pytest.importorskip("minigrid")
    options = "--planner", "fractal", "--steps", "2", "--budget", "100"
    path, found = saved(tmp_path, "MiniGrid-Empty-5x5-v0", *options)
    assert found["observations.image"].shape == (2, 7, 7, 3)
    assert set(found["observations.mission"]) == {"get to the green goal square"}
    assert len(load_states(path, make("MiniGrid-Empty-5x5-v0"), trusted=True)) == 2


class Bags(gym.Env):
    """Observations are sequences of any length."""

    observation_space = gym.spaces.Sequence(gym.spaces.Discrete(3))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return (), {}

    def step(self, action):
        return (1,), 0.0, False, False, {}


def test_values_of_no_fixed_form_are_refused_before_the_game(tmp_path, capsys):
    path = tmp_path / "game.npz"
    name = f"{Bags.__module__}:Bags"
    assert main(["plan", name, "--workers", "none", "--save", str(path)]) == 2
    assert "has values of no fixed form: Sequence" in capsys.readouterr().err
    assert not path.exists()

"""Toy text: bit for bit what Gymnasium does, and exact."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.toy_text.taxi import TaxiEnv

from plangym_lite import InvalidStateError, make
from plangym_lite.envs.batched.toy_text import ToyText
from plangym_lite.testing import ContractSuite, check_exact
from tests.same import assert_same

NAMES = [
    name
    for name, spec in sorted(gym.registry.items())
    if "toy_text" in str(spec.entry_point) and spec.namespace is None
]


class ToyTextSuite(ContractSuite):
    name: str
    options: dict = {}

    def make_env(self):
        return make(self.name, **self.options)


class TestTaxi(ToyTextSuite):
    name = next(name for name in NAMES if name.startswith("Taxi"))
    options = {"fickle_passenger": True, "remove_time_limit": False}
    reach = 250


class TestFrozenLake(ToyTextSuite):
    name = "FrozenLake-v1"
    n_workers = 2


class TestFrozenLakeImages(ToyTextSuite):
    name = "FrozenLake8x8-v1"
    options = {"obs_type": "rgb"}
    depths, length, reach = (0, 7), 10, 40


class TestBlackjack(ToyTextSuite):
    name = "Blackjack-v1"


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize("name", NAMES)
def test_a_plain_walk_is_gymnasiums(name):
    raw = gym.make(name, disable_env_checker=True)
    with make(name, remove_time_limit=False) as env:
        assert type(env) is ToyText
        raw.action_space.seed(3)
        _same_obs(raw.reset(seed=3)[0], env.reset(return_state=False, seed=3)[0])
        for _ in range(300):
            action = raw.action_space.sample()
            obs, reward, terminated, truncated, info = raw.step(action)
            step = env.step(action, env.get_state())
            _same_obs(obs, step.obs)
            assert_same((float(reward), terminated, truncated), step[2:5])
            assert_same({**info, "n_step": 1, "dt": 1}, step.info)
            if terminated or truncated:
                _same_obs(raw.reset()[0], env.reset(return_state=False)[0])
    raw.close()


def _same_obs(expected, got):
    assert np.array_equal(np.array(expected), np.array(got))


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_a_short_row_of_bytes(name):
    with make(name) as env:
        state = env.get_state()
        assert state.dtype == np.uint8
        assert len(state) <= 100


def test_a_subclass_is_saved_by_the_generic_snapshot():
    class Detour(TaxiEnv):
        def reset(self, *, seed=None, options=None):
            self.visits = []
            return super().reset(seed=seed, options=options)

        def step(self, action):
            self.visits.append(self.s)
            obs, _, terminated, truncated, info = super().step(action)
            return obs, float(len(set(self.visits))), terminated, truncated, info

    with make(Detour) as env:
        assert type(env) is ToyText
        state = env.reset(seed=0)[0]
        first = env.step(0, state, dt=9)
        assert_same(first, env.step(0, state, dt=9))
        assert first.reward > 9


def test_a_picture_does_not_depend_on_pictures_drawn_before():
    name = next(name for name in NAMES if name.startswith("Taxi"))
    with make(name) as one, make(name) as other:
        for env in (one, other):
            env.reset(seed=4)
        for action in (0, 1, 2, 3, 3, 4):
            one.step(action)
            one.get_image()
            other.step(action)
        assert_same(one.get_image(), other.get_image())
        assert_same(one.get_state(), other.get_state())


def test_clone_seeds_false_samples_from_one_state():
    with make("FrozenLake-v1", is_slippery=True, clone_seeds=False) as env:
        state = env.reset(seed=0)[0]
        batch = env.step_batch([2] * 30, [state] * 30, 2)
        assert len(set(batch.observs.tolist())) > 1
        assert_same(state, env.get_state())


@pytest.mark.parametrize(("place", "value"), [(0, 9), (1, 77), (48, 255)])
def test_what_is_no_state(place, value):
    with make("FrozenLake-v1") as env:
        state = env.get_state()
        state[place] = value
        with pytest.raises(InvalidStateError, match="not a state of"):
            env.set_state(state)


def test_what_is_no_hand():
    with make("Blackjack-v1") as env:
        state = env.get_state()
        state[-50:] = 200
        with pytest.raises(InvalidStateError, match="hands"):
            env.set_state(state)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("FrozenLake-v1", slice(12, 28)),  # the generator
        ("Blackjack-v1", slice(44, 68)),  # the player's hand
        ("FrozenLake-v1", slice(4, 8)),  # the elapsed steps
    ],
)
def test_what_is_dropped_is_missed(name, cut, monkeypatch):
    load = ToyText.load_state

    def forgetful(self, state):
        changed = state.copy()
        changed[cut] = self.save_state()[cut]
        load(self, changed)

    monkeypatch.setattr(ToyText, "load_state", forgetful)
    options = {"remove_time_limit": False}
    if "Lake" in name:
        options["max_episode_steps"] = 7
    assert not check_exact(lambda: make(name, **options), depths=(0, 3)).exact

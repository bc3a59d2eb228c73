"""Environments that do not answer as Gymnasium asks: clear errors, and what is forgiven."""

from functools import partial
from types import MappingProxyType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import InvalidStepError, SequentialVectorEnv, SubprocVecEnv, make
from plangym_lite.nested import as_reward, copy_element, fit_element
from tests.same import assert_same

SMALL = spaces.Box(-9, 9, (2,), np.float32)
WHOLE = spaces.Box(0, 255, (2,), np.uint8)


class Odd(gym.Env):
    """Answers what it is told to."""

    action_space = spaces.Discrete(2)

    def __init__(self, space=SMALL, first=None, **answer):
        self.observation_space = space
        self.first = np.zeros(space.shape, space.dtype) if first is None else first
        given = {"obs": self.first, "reward": 1.0, "info": {}, **answer}
        self.answer = (given["obs"], given["reward"], False, False, given["info"])
        if "all" in given:
            self.answer = given["all"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.first, {}

    def step(self, action):
        return self.answer


class Late(Odd):
    """Gives no info in the end."""

    n = 0

    def reset(self, *, seed=None, options=None):
        self.n = 0
        return super().reset(seed=seed)

    def step(self, action):
        self.n += 1
        return (*self.answer[:4], {} if self.n < 60 else None)


def step_of(**answer):
    """A step of such an environment, verified by nobody."""
    with make(partial(Odd, **answer), certify=False) as env:
        env.reset(seed=0)
        return env.step(0)


@pytest.mark.parametrize(
    "reward",
    [
        *(1, True, 1.5, np.float32(0.5), np.int8(3), np.bool_(True), np.float64(2)),
        *(np.array(0.25), np.array([0.25]), np.array([[3]]), np.array([True])),
    ],
)
def test_rewards_that_are_one_number(reward):
    got = step_of(reward=reward).reward
    assert (type(got), got) == (float, float(np.asarray(reward).item()))


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (np.array([1.0, 2.0]), r"shape \(2,\).*LinearReward"),
        (np.zeros(0), r"shape \(0,\)"),
        ([1.0, 2.0], "a list of 2"),
        (None, "reward None"),
        ({"one": 1.0}, "reward {'one'"),
        (1j, "reward 1j"),
    ],
)
def test_rewards_that_are_none(reward, message):
    with pytest.raises(InvalidStepError, match=message) as caught:
        step_of(reward=reward)
    assert "Odd" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"info": None}, r"step\(\) of .*Odd.* returned None for its info"),
        ({"info": [1]}, "a list of 1.*for its info"),
        ({"all": (np.zeros(2), 0.0, False, {})}, r"a tuple of 4.*GymV21"),
        ({"all": None}, "returned None, not the five values"),
        ({"obs": np.zeros(3, np.float32)}, r"gave one of shape \(3,\)"),
        ({"obs": np.zeros((2, 1), np.float32)}, r"Box.*\(2, 1\)"),
        ({"obs": np.float32(1)}, r"gave one of shape \(\)"),
        ({"obs": None}, r"shape \(\)"),
        ({"obs": ["a", "b"]}, "no numbers"),
        ({"obs": [[1], [1, 2]]}, "no array"),
        ({"space": WHOLE, "obs": np.array([0.5, 1])}, "numbers of dtype float64 that uint8 cannot"),
        ({"space": WHOLE, "obs": np.array([1, np.nan])}, "float64 that uint8 cannot"),
        ({"space": WHOLE, "obs": np.array([-1, 1])}, "int64 that uint8 cannot hold"),
        ({"space": WHOLE, "obs": np.array([256, 1])}, "int64 that uint8 cannot hold"),
        ({"space": spaces.Discrete(3), "obs": 0.5}, "float64 that int64 cannot hold"),
        ({"space": spaces.Discrete(3), "obs": np.array([1])}, r"shape \(1,\)"),
        ({"space": spaces.MultiBinary(2), "obs": np.array([0.1, 1])}, "int8 cannot hold"),
    ],
)
def test_what_is_no_step(answer, message):
    with pytest.raises(InvalidStepError, match=message):
        step_of(**answer)


@pytest.mark.parametrize(
    ("kind", "answer", "message"),
    [
        (SubprocVecEnv, {"info": None}, "for its info"),
        (SequentialVectorEnv, {"info": None}, "for its info"),
        (SequentialVectorEnv, {"reward": np.zeros(2)}, "reward"),
        (SequentialVectorEnv, {"all": (1, 2, 3, 4)}, "five values"),
        (SequentialVectorEnv, {"space": WHOLE, "obs": np.array([0.5, 1])}, "cannot hold"),
    ],
)
def test_vector_environments_say_it_too(kind, answer, message):
    with kind([partial(Odd, **answer)]) as env:
        env.reset()
        with pytest.raises(InvalidStepError, match=message):
            env.step([0])


def test_vector_environments_forgive_the_same():
    with SequentialVectorEnv([partial(Odd, reward=np.array([0.5]))] * 2) as env:
        env.reset()
        assert env.step([0, 0])[1].tolist() == [0.5, 0.5]


def test_workers_say_it_too():
    with make(Late, n_workers=2, use_caller=False, certify=False) as env:
        env.reset(seed=0)
        with pytest.raises(InvalidStepError, match="for its info") as caught:
            env.step_batch([0] * 3, dt=99)
        assert "row 0" in getattr(caught.value, "__notes__", ["row 0"])[0]


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        (np.zeros(2, np.float32), r"shape \(2,\).*two values"),
        ((np.zeros(2, np.float32), None), "for its info"),
        (None, "None, not the two"),
    ],
)
def test_what_is_no_reset(reset, message):
    class Old(Odd):
        def reset(self, *, seed=None, options=None):
            return reset

    with pytest.raises(InvalidStepError, match=message):
        make(Old, certify=False)
    with SequentialVectorEnv([Old]) as env, pytest.raises(InvalidStepError, match=message):
        env.reset()


def test_infos_may_be_other_mappings():
    assert step_of(info=MappingProxyType({"a": 1})).info["a"] == 1


@pytest.mark.parametrize(
    ("space", "element", "expected"),
    [
        (WHOLE, np.array([1.0, 2.0]), np.array([1, 2], np.uint8)),
        (WHOLE, [1, 2], np.array([1, 2], np.uint8)),
        (SMALL, np.array([0.1, 2]), np.array([0.1, 2], np.float32)),
        (SMALL, [True, 2], np.array([1, 2], np.float32)),
        (spaces.Discrete(5), 3.0, np.int64(3)),
        (spaces.Discrete(5), np.uint8(3), np.int64(3)),
        (spaces.Discrete(5), 3, np.int64(3)),
        (spaces.Discrete(5), True, np.int64(1)),
        (spaces.MultiBinary(2), np.array([True, False]), np.array([1, 0], np.int8)),
        (spaces.Dict(a=SMALL), {"a": [1, 2], "b": 3}, {"a": np.array([1, 2], np.float32)}),
        (spaces.Tuple((SMALL,)), [[1, 2]], (np.array([1, 2], np.float32),)),
        (spaces.Text(3), "abc", "abc"),
    ],
)
def test_observations_in_the_dtypes_of_their_space(space, element, expected):
    assert_same(expected, copy_element(space, element))
    assert_same(expected, copy_element(space, fit_element(space, element)))


@pytest.mark.parametrize(
    ("space", "element"),
    [
        (spaces.Dict(a=SMALL), {"b": [1, 2]}),
        (spaces.Dict(a=SMALL), None),
        (spaces.Tuple((SMALL,)), ()),
        (spaces.Tuple((SMALL, SMALL)), ([0, 0], [0, 0, 0])),
        (spaces.Tuple((SMALL,)), 3),
    ],
)
def test_nested_observations_that_do_not_fit(space, element):
    with pytest.raises(InvalidStepError, match="observation_space"):
        copy_element(space, element)


def test_an_observation_that_fits_is_not_copied_before_it_must():
    obs = np.zeros(2, np.float32)
    assert fit_element(SMALL, obs) is obs
    assert not np.shares_memory(copy_element(SMALL, obs), obs)


def test_rewards_do_not_warn():
    assert as_reward(np.array([2.5]), "env") == 2.5


@pytest.mark.parametrize(
    ("wrappers", "message"),
    [
        (gym.wrappers.ClipReward, r"must be a list.*wrappers=\["),
        (lambda env: env, "must be a list"),
        ("ClipReward", "must be a list"),
        ({"a": 1}, "must be a list"),
        ((gym.wrappers.ClipReward, 3), r"pairs \(callable, arguments\), got 3"),
        ([3], "got 3"),
        ([("ClipReward", {})], "got"),
    ],
)
def test_wrappers_that_are_none(wrappers, message):
    with pytest.raises(TypeError, match=message):
        make("CartPole-v1", wrappers=wrappers)

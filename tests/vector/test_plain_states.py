"""States of plain environments in vector environments; the judge is Gymnasium's SyncVectorEnv."""

from functools import partial

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from plangym_lite import (
    InvalidStateError,
    NotCloneableError,
    SequentialVectorEnv,
    SubprocVecEnv,
    SubprocVectorEnv,
    make,
)
from tests.same import assert_same

gym.register_envs(ale_py)
KINDS = [SubprocVectorEnv, SequentialVectorEnv]


class Diary(gym.Env):
    """Nested observations, a history in lists, and an end."""

    observation_space = spaces.Dict(last=spaces.Box(-99, 99, (2,), np.float64))
    action_space = spaces.Discrete(3)
    scale = 1.0

    def _obs(self):
        return {"last": np.array([self.log[-1], len(self.log)], float)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.log = [self.np_random.random()]
        return self._obs(), {"log": list(self.log)}

    def step(self, action):
        self.log.append(self.scale * self.np_random.normal() * (action + 1))
        return self._obs(), self.log[-1], len(self.log) > 12, False, {"log": list(self.log)}


class Unsaveable(Diary):
    """Draws from a generator that nobody can read."""

    def __init__(self):
        self.secret = (number for number in np.random.default_rng().random(1000))

    def step(self, action):
        return super().step(action)[0], next(self.secret), False, False, {}


def stacked():
    return gym.wrappers.FrameStackObservation(gym.make("CartPole-v1"), 3)


FACTORIES = {
    "CartPole": partial(gym.make, "CartPole-v1"),
    "Taxi": partial(gym.make, "Taxi-v4"),
    "HalfCheetah": partial(gym.make, "HalfCheetah-v5"),
    "LunarLander": partial(gym.make, "LunarLander-v3"),
    "Pong": partial(gym.make, "ALE/Pong-v5", obs_type="ram"),
    "Diary": Diary,
    "stacked": stacked,
}


@pytest.fixture(params=KINDS, ids=["subproc", "sequential"])
def kind(request):
    return request.param


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    "name", [pytest.param(key, marks=[pytest.mark.slow] * (key == "Pong")) for key in FACTORIES]
)
def test_states_are_exact_and_nothing_else_changes(name, mode):
    kind = KINDS[mode is AutoresetMode.SAME_STEP]
    factory = FACTORIES[name]
    theirs = SyncVectorEnv([factory] * 2, autoreset_mode=mode)
    theirs.action_space.seed(1)
    actions = [theirs.action_space.sample() for _ in range(40)]
    expected = [theirs.reset(seed=3), *(theirs.step(action) for action in actions)]
    theirs.close()
    with kind([factory] * 2, autoreset_mode=mode) as env:
        got = [env.reset(seed=3), *(env.step(action) for action in actions[:7])]
        first = env.get_state()
        got += [env.step(action) for action in actions[7:20]]
        second = env.get_state()
        got += [env.step(action) for action in actions[20:]]
        assert_same(expected, got)
        for states, place in ((first, 7), (second, 20), (first, 7)):
            env.set_state(states)
            assert_same(expected[place + 1 :], [env.step(action) for action in actions[place:]])
        env.set_state(second[::-1], [1, 0])
        assert_same(list(second), list(env.get_state()))


def test_states_of_an_adapters_own_are_those_of_make(kind):
    with kind([FACTORIES["CartPole"]] * 2) as env:
        env.reset(seed=3)
        states = env.get_state()
        assert states.shape == (2, 19)
        expected = env.step(np.array([0, 1]))
        batch = make(FACTORIES["CartPole"]).step_batch([0, 1], states)
        assert_same(expected[:2], (batch.observs, batch.rewards))


def test_without_a_seed(kind):
    for name in ("CartPole", "Diary", "LunarLander"):
        with kind([FACTORIES[name]] * 2) as env:
            env.reset()
            env.step(np.array([1, 1]))
            states = env.get_state()
            expected = [env.step(np.array([1, 0])) for _ in range(20)]
            env.set_state(states)
            assert_same(expected, [env.step(np.array([1, 0])) for _ in range(20)])


def test_in_fresh_workers(kind):
    with kind([Diary] * 2) as env, kind([Diary] * 2) as other:
        env.reset(seed=1)
        env.step(np.array([1, 2]))
        states = env.get_state()
        other.set_state(states)
        assert_same(env.step(np.array([0, 1])), other.step(np.array([0, 1])))


def test_what_is_no_state_moves_nothing(kind):
    with kind([Diary] * 2) as env, kind([FACTORIES["CartPole"]] * 2) as poles:
        for each in (env, poles):
            each.reset(seed=1)
        states, others = env.get_state(), poles.get_state()
        env.step(np.array([1, 2]))
        before = env.get_state()
        for wrong in ([states[0], b"no state"], [states[0], others[1]], [None, states[1]]):
            with pytest.raises(InvalidStateError):
                env.set_state(wrong)
        with pytest.raises(InvalidStateError):
            poles.set_state([others[0], states[1]])
        assert_same(before, env.get_state())


def test_attributes_that_were_set_stay(kind):
    with kind([Diary] * 2) as env:
        env.set_attr("scale", [10.0, 20.0])
        env.reset(seed=1)
        states = env.get_state()
        expected = env.step(np.array([0, 0]))
        assert env.get_attr("scale") == (10.0, 20.0)
        env.set_state(states)
        assert_same(expected, env.step(np.array([0, 0])))


def test_an_environment_that_must_be_replaced_and_was_changed():
    with SequentialVectorEnv([FACTORIES["LunarLander"]]) as env:
        env.set_attr("wind_power", 3.0)
        env.reset(seed=1)
        with pytest.raises(NotCloneableError, match=r"'wind_power'.*factory"):
            env.get_state()
        env.step(np.array([1]))


def test_an_environment_without_states_is_stepped_all_the_same(kind):
    with kind([Unsaveable] * 2) as env:
        env.reset()
        with pytest.raises(NotCloneableError, match="Unsaveable"):
            env.get_state()
        env.step(np.array([0, 1]))


def test_the_other_dialect():
    with SubprocVecEnv([Diary] * 2) as env:
        env.seed(5)
        env.reset()
        for _ in range(9):
            env.step([0, 1])
        states = env.get_state()
        expected = [env.step([1, 1]) for _ in range(6)]
        assert expected[2][2].all(), "an episode ends on the way"
        env.set_state(states)
        assert_same(expected, [env.step([1, 1]) for _ in range(6)])

"""Plain Gymnasium environments in workers, beside the same ones stepped here."""

import os

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite.errors import InvalidStateError, NotCloneableError
from plangym_lite.vectorization import ExternalProcess, InlineWorker
from tests.same import assert_same


class Counts(gym.Env):
    """Ends after nine steps; hands out the same info each time."""

    observation_space, action_space = spaces.Box(-9, 9, (2,), np.float32), spaces.Discrete(2)
    colour = "red"

    def __init__(self):
        self.info = {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.options = 0, options
        return np.zeros(2, np.float32), {"options": options}

    def step(self, action):
        self.t += 1
        self.info["t"] = self.t
        obs = np.array([self.t, self.np_random.random()], np.float32)
        return obs, float(action), self.t >= 9, False, dict(self.info)

    def shades(self, number):
        return [self.colour] * number


MAKERS = {
    "counts": Counts,
    "cartpole": lambda: gym.make("CartPole-v1"),
    "taxi": lambda: gym.make("Taxi-v4"),
    "wrapped": lambda: gym.wrappers.FrameStackObservation(gym.make("CartPole-v1"), 2),
    "box2d": lambda: gym.make("LunarLander-v3"),
}


def verbs_of(worker):
    """The verbs, waited for, of whatever worker."""
    return lambda name, *args, **kwargs: worker.call(name, *args, **kwargs).result()


def play(ask, twin, n_steps, seed=None):
    """Step both; they must agree."""
    assert_same(tuple(twin.reset(seed=seed)), tuple(ask("reset", seed=seed)))
    for _ in range(n_steps):
        action = twin.action_space.sample()
        assert_same(tuple(twin.step(action)), tuple(ask("step", action)))


@pytest.mark.parametrize("name", MAKERS)
def test_as_plain_gymnasium_and_back(name):
    twin = MAKERS[name]()
    twin.action_space.seed(0)
    worker = InlineWorker(MAKERS[name])
    ask = verbs_of(worker)
    play(ask, twin, 5, seed=3)
    state = ask("get_state")
    actions = [twin.action_space.sample() for _ in range(3)]
    wanted = [twin.step(action) for action in actions]
    for _ in range(2):
        for action, answer in zip(actions, wanted, strict=True):
            assert_same(tuple(answer), tuple(ask("step", action)))
        ask("set_state", state)
    batch = ask("step_batch", actions[:1] * 2, [state, None], return_state=True)
    for row in range(2):
        assert np.array_equal(wanted[0][0], batch.observs[row])
        assert batch.rewards[row] == wanted[0][1]
    ended, *step = ask("step", actions[0], state)
    assert_same(tuple(wanted[0]), tuple(step))
    assert_same(tuple(wanted[1]), tuple(ask("step", actions[1])))
    ask("set_state", ended)
    assert_same(tuple(wanted[1]), tuple(ask("step", actions[1])))
    rollout = ask("rollout_batch", [actions], [state])
    assert rollout.rewards[0].sum() == sum(answer[1] for answer in wanted)
    play(ask, twin, 3, seed=5)
    worker.close()
    twin.close()


@pytest.mark.parametrize("name", ["counts", "cartpole"])
def test_in_a_process(name):
    twin = MAKERS[name]()
    with ExternalProcess(MAKERS[name]) as process:
        obs, info = process.reset(seed=7)
        assert_same(twin.reset(seed=7), (obs, info))
        state, *again = process.reset(seed=7, return_state=True)
        assert_same((obs, info), tuple(again))
        first = process.step(0)
        assert_same(tuple(twin.step(0)), tuple(first))
        assert len(process.step(1, return_state=True)) == 6
        process.set_state(state)
        assert_same(first, process.step(0))
        assert len(process.step_batch([0, 1], [state, state], dt=[1, 2]).rewards) == 2
        assert process.observation_space == twin.observation_space


def test_a_step_of_several_frames():
    worker = InlineWorker(Counts)
    ask, twin = verbs_of(worker), Counts()
    ask("reset", seed=0)
    twin.reset(seed=0)
    assert ask("step", 1, None, 4).reward == sum(twin.step(1)[1] for _ in range(4))
    assert ask("step", 1, None, 100).reward == 5
    ended = ask("get_state")
    step = ask("step", 1, ended, 1, False)
    assert (step.reward, step.terminated) == (0.0, True)


def test_its_own_methods_and_attributes():
    worker = InlineWorker(Counts)
    ask = verbs_of(worker)
    assert ask("shades", 2) == ["red", "red"]
    assert worker.access("colour") == "red"
    assert ask("reset", options={"a": 1})[1] == {"options": {"a": 1}}
    assert ask("get_state") is not None
    assert ask("shades", 1) == ["red"]
    with pytest.raises(AttributeError):
        worker.access("no_such_name")
    with pytest.raises(InvalidStateError):
        ask("set_state", b"nonsense")


def test_a_state_that_cannot_be_saved_is_refused():
    class Drawn(Counts):
        def step(self, action):
            obs, _, *others = super().step(action)
            return obs, float(int.from_bytes(os.urandom(4), "big")), *others

    worker = InlineWorker(Drawn)
    ask = verbs_of(worker)
    ask("reset")
    assert len(ask("step", 0)) == 5
    with pytest.raises(NotCloneableError):
        ask("get_state")
    assert len(ask("step", 0)) == 5


class Dice(gym.Env):
    """Adds up what it throws."""

    observation_space, action_space = spaces.Discrete(1000), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.total = 0
        return 0, {}

    def step(self, action):
        self.total += int(self.np_random.integers(1, 7))
        return self.total, float(self.total), False, False, {"total": self.total}


def thrown(seed, n):
    """The sum of ``n`` throws of a plain environment whose generator is seeded."""
    env = Dice()
    env.reset(seed=1)
    child = np.random.SeedSequence(seed).spawn(1)[0]
    env.np_random = np.random.Generator(np.random.PCG64(child))
    for _ in range(n):
        obs = env.step(0)[0]
    return obs


def test_seeded_rows_and_steps():
    with ExternalProcess(Dice) as process:
        start, *_ = process.reset(seed=5, return_state=True)
        assert process.step(0, start, 3, seed=9, return_state=False).obs == thrown(9, 3)
        assert process.step_batch([0, 0], [start] * 2, 2, seeds=[9, 4]).observs.tolist() == [
            thrown(9, 2),
            thrown(4, 2),
        ]
        rolled = process.rollout_batch([[0, 0, 0]], [start], seeds=7)
        assert rolled.observs.tolist() == [thrown(7, 3)]
        process.set_state(start)
        assert process.step(0, seed=3).info["total"] == process.call("info").result()["total"]
        state = process.step(0, start, seed=8).state
        process.set_state(state)
        assert process.step(0).obs == thrown(8, 2)

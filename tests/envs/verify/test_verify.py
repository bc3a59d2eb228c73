"""A snapshot that was verified, else replay, else a refusal."""

import ctypes
import random
import time

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import InvalidStepError, NotCloneableError, PlangymEnv, make
from plangym_lite.envs.verify import verify
from plangym_lite.testing import check_exact
from tests.envs.gymnasium.test_env import STACK
from tests.same import assert_same


class Walk(gym.Env):
    """One number goes up by the action and a random number; subclasses hide it somewhere."""

    built = 0
    stepped = 0

    def __init__(self):
        type(self).built += 1
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = spaces.Discrete(3)

    def put(self, number):
        self.number = number

    def take(self):
        return self.number

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.put(self.np_random.integers(100) / 4)
        return self.obs(), {}

    def step(self, action):
        type(self).stepped += 1
        self.put(self.take() + float(action) + self.np_random.random())
        return self.obs(), 1.0, self.take() > 90, False, {}

    def obs(self):
        return np.array([self.take()])


class InClosure(Walk):
    def __init__(self):
        super().__init__()
        number = 0.0

        def put(value):
            nonlocal number
            number = value

        self.put, self.take = put, lambda: number


class InNewClosure(InClosure):
    """Each episode has a closure of its own."""

    def reset(self, *, seed=None, options=None):
        number = 0.0

        def put(value):
            nonlocal number
            number = value

        self.put, self.take = put, lambda: number
        return super().reset(seed=seed)


class InC(Walk):
    def __init__(self):
        super().__init__()
        self.cell = ctypes.pointer(ctypes.c_double())

    def put(self, number):
        self.cell.contents.value = number

    def take(self):
        return self.cell.contents.value


KEPT = {}


class InGlobal(Walk):
    """All environments of the class share it, but an episode begins anew."""

    def put(self, number):
        KEPT["number"] = number

    def take(self):
        return KEPT["number"]


class GlobalThatStays(InGlobal):
    """Resets do not put it back."""

    def reset(self, *, seed=None, options=None):
        super(Walk, self).reset(seed=seed)
        KEPT.setdefault("number", 0.0)
        return self.obs(), {}


class PythonsGenerator(Walk):
    """Draws from a generator that all of Python shares."""

    def step(self, action):
        self.put(random.random())
        return self.obs(), 1.0, False, False, {}


class Clock(Walk):
    """Tells the time, which no state can hold."""

    def step(self, action):
        obs, reward, terminated, truncated, _ = super().step(action)
        return obs, reward, terminated, truncated, {"time": time.perf_counter_ns()}


class ClockInView(Walk):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def obs(self):
        return np.array([self.take(), time.perf_counter()])


class ClockInC(InC):
    def step(self, action):
        return *super().step(action)[:4], {"time": time.perf_counter_ns()}


class Fragile(Walk):
    """Raises for one of its actions."""

    def step(self, action):
        if action == 2 and self.take() > 20:
            raise RuntimeError("not that way")
        return super().step(action)


@pytest.fixture(autouse=True)
def _nothing_is_remembered():
    verify.OUTCOMES.clear()
    KEPT.clear()


def mechanism(env):
    return env.state_method


def test_a_clock_in_view_is_told():
    with pytest.warns(UserWarning, match="differ in parts of obs"):
        env = make(ClockInView)
    assert mechanism(env) == "snapshot"


@pytest.mark.parametrize("kind", [Walk, Clock, InClosure, PythonsGenerator])
def test_python_attributes_are_a_snapshot(kind):
    with make(kind) as env:
        assert mechanism(env) == "snapshot"
        assert env.get_state().dtype == np.uint8


@pytest.mark.parametrize("kind", [InNewClosure, InC, InGlobal, ClockInC])
def test_what_is_hidden_from_python_is_played_again(kind):
    with make(kind) as env:
        assert mechanism(env) == "replay"
        assert not env.STATE_IS_ARRAY
    report = check_exact(lambda: make(kind), depths=(0, 9), length=12, reach=100)
    assert report.exact, report


class OnlyNoise(Walk):
    def step(self, action):
        self.put(time.perf_counter())
        return self.obs(), 1.0, False, False, {}


@pytest.mark.parametrize("kind", [OnlyNoise, GlobalThatStays])
def test_what_nothing_shows_is_refused(kind):
    for _ in range(2):  # verified, then remembered
        with pytest.raises(NotCloneableError, match=r"obs: .*certify=False"):
            make(kind)


def test_certify_false_lets_everything_through():
    with make(InGlobal, certify=False) as env:
        assert mechanism(env) == "snapshot"
        state = env.reset(seed=0)[0]
        first = env.step(1).obs
        env.step(2)
        env.set_state(state)
        assert not np.array_equal(first, env.step(1).obs)


def test_what_is_not_understood_is_played_without_a_verification_too():
    with make(InC, certify=False) as env:
        assert env.state_method == "replay"


def test_the_refusal_names_what_was_not_understood():
    class Windowed(OnlyNoise):
        def __init__(self):
            super().__init__()
            self.lens = iter({1: 2})

    with pytest.raises(NotCloneableError, match=r"it holds builtins\.dict_keyiterator"):
        make(Windowed)


def test_clone_seeds_false_does_not_go_with_replay():
    with pytest.raises(NotCloneableError, match="snapshot"):
        make(InC, clone_seeds=False)


def test_the_verification_is_short_and_done_once():
    Walk.built = Walk.stepped = 0
    make(Walk).close()
    assert Walk.built == 3  # a plain one, one to be verified, and the user's
    assert Walk.stepped <= 120
    Walk.built = Walk.stepped = 0
    make(Walk).close()
    assert (Walk.built, Walk.stepped) == (1, 0)


def test_options_are_verified_each():
    for options in ({}, {}, {"frameskip": 2}, {"wrappers": [(gym.wrappers.StickyAction, 0.5)]}):
        make(Walk, **options).close()
    assert len(verify.OUTCOMES) == 2  # one environment step is like another


def test_options_that_are_no_key_are_verified_each_time():
    class Big(Walk):
        def __init__(self, table=None):
            super().__init__()
            self.table = table

    make(Big, table=np.zeros(3)).close()
    assert not verify.OUTCOMES


def test_the_verification_leaves_no_trace():
    """Wrappers that count, and generators that others use, are as without it."""
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    walks = []
    for _ in range(2):  # verified, then remembered
        with make("CartPole-v1", wrappers=STACK) as env:
            walks.append([env.reset(seed=4)[1], *(env.step(k % 2) for k in range(20))])
    assert (random.random(), np.random.random()) == expected
    for step in (step for walk in walks for step in walk[1:]):
        step.info.pop("episode", None)
    assert_same(*walks)


@pytest.mark.parametrize("kind", [Walk, InC])
def test_new_environments_start_anywhere(kind):
    envs = [make(kind) for _ in range(4)]
    assert len({env.observe().tobytes() for env in envs}) > 1


def test_an_environment_that_raises_is_restored_all_the_same():
    with make(Fragile) as env:
        assert mechanism(env) == "snapshot"


def test_a_human_is_not_shown_the_verification():
    drawn = []

    class Shown(InC):
        metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 50}

        def __init__(self, render_mode=None):
            super().__init__()
            self.render_mode = render_mode

        def step(self, action):
            if self.render_mode == "human":
                drawn.append(action)
            return super().step(action)

    with make(Shown, render_mode="human") as env:
        assert mechanism(env) == "replay"
        assert not drawn


def test_an_outcome_is_the_same_in_workers():
    with make(InC, n_workers=2) as env, make(InC) as local:
        state = local.reset(seed=3)[0]
        assert_same(
            local.step_batch([0, 1, 2, 0], [state] * 4, dt=3)[1:],
            env.step_batch([0, 1, 2, 0], [state] * 4, dt=3)[1:],
        )


def test_subclasses_of_the_adapter_can_be_verified_too():
    class Mine(PlangymEnv):
        pass

    with Mine(InC) as env:
        assert mechanism(env) == "replay"


def test_what_the_old_gym_returns_is_named():
    class OldStep(gym.Env):
        observation_space, action_space = spaces.Box(0, 9, (2,)), spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32), {}

        def step(self, action):
            return np.zeros(2, np.float32), 1.0, False, {}

    class OldReset(OldStep):
        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32)

    class NoSpace(OldStep):
        observation_space = None

    with make(OldStep) as env, pytest.raises(InvalidStepError, match="five values"):
        env.step(0)
    with pytest.raises(InvalidStepError, match="two values"):
        make(OldReset)
    with pytest.raises(TypeError, match=r"observation_space of .* must be a gymnasium.Space"):
        make(NoSpace)


class Weights(gym.Env):
    """A large array that no step changes, drawn anew for each environment."""

    observation_space, action_space = spaces.Box(0, 1, (1,), np.float64), spaces.Discrete(2)

    def __init__(self):
        self.weights = np.random.default_rng().random((100, 100))

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(1), {}

    def step(self, action):
        self.t += 1
        return self.weights[action, :1] * (self.t > 20), 0.0, False, False, {}


def test_weights_that_each_build_draws_are_state():
    with make(Weights, n_workers=2, use_caller=False) as env:
        state, *_ = env.reset(seed=0)
        state = env.rollout_batch([[0] * 30], [state]).states[0]
        expected = env.step(1, state).obs
        for obs in env.step_batch([1] * 4, [state] * 4).observs:
            np.testing.assert_array_equal(obs, expected)

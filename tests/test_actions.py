"""Actions keep their bits: what reaches the engine is what plain Gymnasium would hand over."""

from functools import partial
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from plangym_lite import SequentialVectorEnv, SubprocVecEnv, SubprocVectorEnv, make
from tests.same import assert_same

NAMES = ["Pendulum-v1", "MountainCarContinuous-v0"]
if find_spec("mujoco") is not None:
    NAMES += ["HalfCheetah-v5", "InvertedDoublePendulum-v5"]
DTYPES = [np.float32, np.float64]
N_STEPS = 50
pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")
WAYS = {
    "alone": {},
    "workers": {"n_workers": 2, "use_caller": False},
    "blocking": {"n_workers": 2, "use_caller": False, "blocking": True},
}


def play_plainly(name, actions):
    """Observations, rewards and terminal flags that Gymnasium gives, until the episode ends."""
    with gym.make(name, max_episode_steps=-1) as plain:
        plain.reset(seed=3)
        steps = []
        for action in actions:
            steps.append(plain.step(action)[:3])
            if steps[-1][2]:
                break
        return steps


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "alone") for name in NAMES),
        *((NAMES[-1], way) for way in ("workers", "blocking")),
        (NAMES[0], "workers"),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bits_of_plain_gymnasium(name, dtype, way):
    with make(name, **WAYS[way]) as env:
        high = env.action_space.high
        draw = np.random.default_rng(5).uniform(-1.2 * high, 1.2 * high, (N_STEPS, *high.shape))
        steps = play_plainly(name, draw.astype(dtype))
        actions = draw.astype(dtype)[: len(steps)]
        state, _, _ = env.reset(seed=3)
        states = [state]
        for action, (obs, reward, terminated) in zip(actions, steps, strict=True):
            got = env.step(action, states[-1])
            assert_same((obs, float(reward), terminated), got[1:4])
            states.append(got.state)
        batch = env.step_batch(actions, states[:-1])
        assert_same(np.array([step[0] for step in steps]), batch.observs)
        assert_same(np.array([float(step[1]) for step in steps]), batch.rewards)
        assert_same(np.array(states[1:]), batch.states)
        rollouts = env.rollout_batch(np.array([actions] * 9), [state] * 9, return_observs="all")
        for row in range(9):
            assert_same(batch.rewards, rollouts.rewards[row])
            assert_same(batch.observs, rollouts.observs[row])
            assert_same(states[-1], rollouts.states[row])


def test_a_list_is_what_numpy_reads():
    steps = play_plainly("Pendulum-v1", [np.array([0.1])] * 5)
    with make("Pendulum-v1") as env:
        env.reset(seed=3)
        assert [env.step([0.1]).reward for _ in range(5)] == [step[1] for step in steps]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_last_action_of_pendulum_is_restored_with_its_bits(dtype):
    with make("Pendulum-v1") as env:
        env.reset(seed=0)
        env.step(np.array([0.1], dtype))
        state, shown = env.get_state(), env.gym_env.unwrapped.last_u
        env.step(np.array([1.0], np.float32))
        env.set_state(state)
        assert_same(shown, env.gym_env.unwrapped.last_u)
        assert_same(state, env.get_state())


# ---- an environment that says what it was given --------------------------------------------------


def told(action):
    """Type, dtype and bytes of an action, at any depth."""
    if isinstance(action, dict):
        return {key: told(part) for key, part in action.items()}
    if isinstance(action, tuple):
        return tuple(told(part) for part in action)
    return str(np.asarray(action).dtype), np.asarray(action).tobytes().hex()


class Echo(gym.Env):
    """Tells in its info what actions it was given, since the last reset."""

    observation_space = spaces.Box(-1e9, 1e9, (1,), np.float64)

    def __init__(self, action_space):
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.given = ()
        return np.zeros(1), {}

    def step(self, action):
        self.given = (*self.given, repr(told(action)))
        return np.zeros(1), 0.0, False, False, {"given": self.given}


BOX = spaces.Box(-1e6, 1e6, (2,), np.float32)
WHOLE_BOX = spaces.Box(0, 255, (2,), np.uint8)
NESTED = spaces.Dict(
    go=spaces.Discrete(3, start=1), pull=spaces.Tuple((BOX, spaces.Box(-1, 1, (), np.float64)))
)
WITH_TEXT = spaces.Dict(say=spaces.Text(3), pull=BOX)
SPACES = {"box": BOX, "whole": WHOLE_BOX, "nested": NESTED, "text": WITH_TEXT}


@pytest.fixture(scope="module", params=SPACES)
def echoes(request):
    """An environment without workers, and one with, of one action space."""
    way = "blocking" if request.param == "whole" else "workers"
    make_env = partial(Echo, SPACES[request.param])
    with make(make_env) as alone, make(make_env, **WAYS[way]) as many:
        alone.reset(seed=0)
        yield alone, many


def random_action(draw, space, dtype):
    """An element of the space, whose floats have one of the dtypes."""
    if isinstance(space, spaces.Dict):
        return {key: random_action(draw, part, dtype) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(random_action(draw, part, dtype) for part in space)
    if isinstance(space, spaces.Box):
        return np.asarray(draw.uniform(0, 1, space.shape)).astype(dtype)
    return "abc"[: draw.integers(1, 4)] if isinstance(space, spaces.Text) else draw.integers(1, 4)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 40),
    mixed=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    n_steps=st.sampled_from([None, 1, 3]),
)
def test_workers_give_what_none_gives(echoes, seed, size, mixed, dtype, n_steps):
    alone, many = echoes
    draw, space = np.random.default_rng(seed), alone.action_space
    states = [alone.get_state()] * size

    def action():
        return random_action(draw, space, draw.choice(DTYPES) if mixed else dtype)

    if n_steps is None:
        actions = [action() for _ in range(size)]
        expected = [given for (given,) in ([repr(told(action))] for action in actions)]
        call = "step_batch"
    else:
        actions = [[action() for _ in range(n_steps)] for _ in range(size)]
        expected = [tuple(repr(told(action)) for action in row) for row in actions]
        call = "rollout_batch"
    batch = getattr(alone, call)(actions, states)
    if isinstance(space, spaces.Dict) or not mixed:
        given = [info["given"] for info in batch.infos]
        assert given == [(one,) if isinstance(one, str) else one for one in expected]
    other = getattr(many, call)(actions, states)
    assert_same(batch[1:], other[1:])
    assert batch.states.shape == other.states.shape  # pickles, which may share objects otherwise


@pytest.mark.parametrize("dtype", DTYPES)
def test_vector_environments_hand_over_what_gymnasium_does(dtype):
    factories = [partial(Echo, BOX)] * 2
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 2)).astype(dtype)
    plain = SyncVectorEnv(factories)
    plain.reset(seed=0)
    expected = plain.step(actions)[4]["given"]
    for kind in (SequentialVectorEnv, SubprocVectorEnv):
        with kind(factories) as env:
            env.reset(seed=0)
            assert env.step(actions)[4]["given"].tolist() == expected.tolist()
    with SubprocVecEnv(factories) as env:
        env.reset()
        assert [info["given"] for info in env.step(actions)[3]] == expected.tolist()
        again = env.step(actions.astype(np.float32))[3]
        assert [info["given"][0] for info in again] == [given[0] for given in expected]


def test_a_seat_of_nested_actions():
    actions = {
        "go": np.array([1, 3]),
        "pull": (np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([0.5, 0.1], np.float32)),
    }
    plain = SyncVectorEnv([partial(Echo, NESTED)] * 2)
    plain.reset(seed=0)
    expected = plain.step(actions)[4]["given"]
    with SubprocVectorEnv([partial(Echo, NESTED)] * 2) as env:
        env.reset(seed=0)
        assert env.step(actions)[4]["given"].tolist() == expected.tolist()

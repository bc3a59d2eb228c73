"""Batches stepped all at once: the same bits as one row after the other."""

import contextlib
import importlib
from functools import partial
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from plangym_lite import InvalidStateError, PlanEnv, make
from plangym_lite.envs.batched.classic_control import KERNELS, CartPole, MountainCar, Pendulum
from plangym_lite.envs.batched.env import KernelEnv
from plangym_lite.envs.batched.kernel import ENOUGH_ROWS
from tests.same import assert_same, collect_states

CLASSIC = [
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
]
GRIDS = [
    "FrozenLake-v1",
    "FrozenLake8x8-v1",
    "CliffWalking-v1",
    "CliffWalkingSlippery-v1",
    "Taxi-v4",
]
RUNNERS = ["HalfCheetah-v5", "Hopper-v5", "Swimmer-v5", "Walker2d-v5"]
if find_spec("mujoco") is None:
    RUNNERS = []
NAMES = [*CLASSIC, *GRIDS, *RUNNERS]
N_ROWS = 16
pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")


def one_by_one(env, call):
    """What ``call(env)`` returns without the kernel."""
    env.run_batched = lambda rows, out: None
    try:
        return call(env)
    finally:
        del env.run_batched


def is_kernel_used(env, call):
    """Whether ``call(env)``, made once before, runs no row alone."""
    alone = []
    env.advance = lambda *args: alone.append(0) or type(env).advance(env, *args)
    try:
        call(env)
    finally:
        del env.advance
    return not alone


def assert_equal_batches(env, call):
    batch = call(env)
    assert env.is_batched, "the kernel is not trusted"
    assert is_kernel_used(env, call)
    expected = one_by_one(env, call)
    assert_same(expected, batch)
    assert_same(batch, call(env))
    assert repr(expected.infos) == repr(batch.infos)
    assert expected.states.tobytes() == batch.states.tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limit", [None, 9])
def test_a_walk(name, limit):
    options = {} if limit is None else {"remove_time_limit": False, "max_episode_steps": limit}
    with make(name, frameskip=1 if limit is None else 2, **options) as env:
        states, actions = collect_states(env, 60)
        dts = np.arange(60) % 4 + 1
        assert_equal_batches(env, lambda env: env.step_batch(actions, states, dt=dts))
        for _ in range(6):  # on, into terminals and beyond them
            states = env.step_batch(actions, states, dt=dts).states
            assert_equal_batches(env, lambda env, s=states: env.step_batch(actions, s, dt=dts))
        paths = np.array([[env.sample_action() for _ in range(5)] for _ in range(60)])
        for observs in ("last", "all", None):
            assert_equal_batches(
                env, lambda env, o=observs: env.rollout_batch(paths, states, 2, return_observs=o)
            )


@pytest.fixture(scope="module")
def envs():
    made = {name: make(name) for name in NAMES}
    yield made
    for env in made.values():
        env.close()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    dt=st.integers(1, 30),
    wide=st.sampled_from([0.01, 1.0, 4.0]),
    double=st.booleans(),
)
def test_random_states(envs, name, seed, dt, wide, double):
    """Bit for bit, over wide and over small numbers; nothing in between is rounded otherwise."""
    env, draw = envs[name], np.random.default_rng(seed)
    env.step_batch([env.sample_action()] * N_ROWS)  # the kernel has been tried
    if name in CLASSIC:
        kind = KERNELS[type(env.gym_env.unwrapped).__name__]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "scales", tuple(np.multiply(kind.scales, wide)))
            states = env.random_states(draw, N_ROWS)
    else:
        states = env.random_states(draw, N_ROWS)
    env.action_space.seed(seed % 1000)
    actions = np.array([env.sample_action() for _ in range(N_ROWS)])
    if actions.dtype.kind == "f":
        if double:
            actions = actions + draw.uniform(-1e-9, 1e-9, actions.shape)
        actions *= draw.choice([0.5, 1.0, 3.0], (N_ROWS, 1)).astype(actions.dtype)
    assert_equal_batches(env, lambda env: env.step_batch(actions, states, dt))


@pytest.mark.parametrize(
    "options", [{"sutton_barto_reward": True}, {"kinematics": "semi-implicit"}, {"gravity": 3}]
)
def test_settings_count(options):
    kinematics, gravity = options.pop("kinematics", "euler"), options.pop("gravity", 9.8)
    with make("CartPole-v1", **options) as env:
        base = env.gym_env.unwrapped
        states, actions = collect_states(env, 30)
        env.step_batch(actions, states)
        base.kinematics_integrator, base.gravity = kinematics, gravity  # after it was tried, too
        assert_equal_batches(env, lambda env: env.step_batch(actions, states, dt=15))


# ---- where the rows go one by one ----------------------------------------------------------------


def is_together(env):
    """Whether a batch is stepped at once."""
    states, actions = collect_states(env, 12)
    calls = []
    env.load_state = lambda state: calls.append(0) or type(env).load_state(env, state)
    env.step_batch(actions, states)
    calls.clear()
    env.step_batch(actions, states)
    return not calls


class Heavier(CartPoleEnv):
    """A subclass of Gymnasium's that steps otherwise."""

    def step(self, action):
        return super().step(1 - action)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("CartPole-v1", {}, True),
        ("CartPole-v1", {"return_image": True}, False),
        ("CartPole-v1", {"obs_type": "grayscale"}, False),
        ("CartPole-v1", {"wrappers": [gym.wrappers.TimeAwareObservation]}, None),
        ("CartPole-v1", {"array_state": False}, False),
        ("CartPole-v1", {"clone_seeds": False}, True),
        (Heavier, {}, False),
        ("FrozenLake-v1", {}, True),
        ("FrozenLake-v1", {"clone_seeds": False}, False),
        ("Taxi-v4", {"fickle_passenger": True}, False),
        ("Blackjack-v1", {}, False),
    ],
)
def test_what_is_stepped_at_once(name, options, expected):
    if expected is None:
        options = {**options, "remove_time_limit": False}
    with make(name, **options) as env:
        assert is_together(env) == bool(expected)


@pytest.mark.skipif(not RUNNERS, reason="mujoco is not installed")
@pytest.mark.parametrize("options", [{}, {"exclude_current_positions_from_observation": False}])
def test_falls_and_settings_of_runners_count(options):
    """Bodies that fall end their episodes, or not if so told; rows of both kinds in one batch."""
    with make("Walker2d-v5", terminate_when_unhealthy=not options, **options) as env:
        states, _ = collect_states(env, 20)
        wild = np.array([env.sample_action() for _ in range(20)]) * 5
        dts = np.arange(20) % 7 * 8 + 1
        for _ in range(3):
            assert_equal_batches(env, lambda env, s=states: env.step_batch(wild, s, dt=dts))
            batch = env.step_batch(wild, states, dt=dts)
            states = batch.states
        assert bool(batch.terminateds.any()) == (not options)
        assert not batch.terminateds.all()


@pytest.mark.skipif(not RUNNERS, reason="mujoco is not installed")
def test_states_that_are_given_stay_as_they_are():
    with make("HalfCheetah-v5", remove_time_limit=False, max_episode_steps=3) as env:
        states, actions = collect_states(env, 20)
        given = np.array(states)
        env.step_batch(actions, given, dt=np.arange(20) % 5 + 1)
        assert_same(np.array(states), given)


def test_too_few_rows_go_one_by_one(monkeypatch):
    stepped = []
    monkeypatch.setattr(CartPole, "step", lambda *args: stepped.append(args))
    with make("CartPole-v1") as env:
        states, actions = collect_states(env, ENOUGH_ROWS - 1)
        env.step_batch(actions, states)
        assert not stepped


def test_noise_goes_one_by_one():
    with make("Acrobot-v1", clone_seeds=False) as env:
        env.gym_env.unwrapped.torque_noise_max = 0.5
        assert not is_together(env)


@pytest.mark.parametrize("where", ["object", "class"])
def test_a_step_of_somebody_else_is_used(monkeypatch, where):
    with make("CartPole-v1") as env:
        assert is_together(env)
        base = env.gym_env.unwrapped
        real = type(base).step
        if where == "object":
            base.step = lambda action: real(base, 1 - action)
        else:
            monkeypatch.setattr(type(base), "step", lambda self, action: real(self, 1 - action))
        states, actions = collect_states(env, 20)
        got = env.step_batch(actions, states)
        base.__dict__.pop("step", None)
        monkeypatch.undo()
        assert_same(env.step_batch(1 - np.array(actions), states), got)


def test_another_table_is_used():
    with make("CliffWalking-v1") as env:
        assert is_together(env)
        base = env.gym_env.unwrapped
        base.P = {s: {a: [(1.0, 36, 5, False)] for a in range(4)} for s in base.P}
        states, actions = collect_states(env, 20)
        assert (env.step_batch(actions, states).rewards == 5).all()


@pytest.fixture
def nothing_warned(monkeypatch):
    """Warnings come once in a process: here once in a test."""
    monkeypatch.setattr(KernelEnv, "_warned", set())


WARNED = {
    "one bit": r"infos|states: expected .* numbers differ",
    "an error": "AttributeError: this version calls it something else",
}


@pytest.mark.parametrize("fault", WARNED)
def test_a_kernel_that_differs_is_not_trusted(monkeypatch, fault, nothing_warned):
    real = CartPole.step

    def step(self, parts, actions):
        if fault == "an error":
            raise AttributeError("this version calls it something else")
        parts, *others = real(self, parts, actions)
        return [*parts[:-1], np.nextafter(parts[-1], np.inf)], *others

    with make("CartPole-v1") as env:
        states, actions = collect_states(env, 20)
        expected = one_by_one(env, lambda env: env.step_batch(actions, states))
        monkeypatch.setattr(CartPole, "step", step)
        with pytest.warns(RuntimeWarning, match=WARNED[fault]) as caught:
            assert_same(expected, env.step_batch(actions, states))
        assert not env.is_batched
        assert "batches of gymnasium.envs.classic_control.cartpole" in str(caught[0].message)
        assert "row by row, which is exact but slower" in str(caught[0].message)
        assert len(caught) == 1
        with make("CartPole-v1") as other:  # says so once in a process: warnings are errors here
            assert_same(expected, other.step_batch(actions, states))
            assert_same(expected, env.step_batch(actions, states))
            assert not other.is_batched


GRAVITY = {  # of another version of Gymnasium
    "CartPole-v1": "gymnasium.envs.classic_control.cartpole.CartPoleEnv",
    "MountainCar-v0": "gymnasium.envs.classic_control.mountain_car.MountainCarEnv",
}


@pytest.mark.parametrize("name", GRAVITY)
def test_a_gymnasium_that_changed_is_warned_about(monkeypatch, name, nothing_warned):
    """The step of the class itself is another: rows are its own, one by one."""
    module, _, kind = GRAVITY[name].rpartition(".")
    base = getattr(importlib.import_module(module), kind)
    real = base.step

    def step(self, action):
        gravity, self.gravity = self.gravity, self.gravity * 1.25
        try:
            return real(self, action)
        finally:
            self.gravity = gravity

    monkeypatch.setattr(base, "step", step)
    with make(name, frameskip=1) as env:
        assert env.is_batched
        states = [env.reset(seed=seed)[0] for seed in range(20)]
        actions = [env.sample_action() for _ in states]
        with pytest.warns(RuntimeWarning, match=r"row by row.*states: expected .* numbers differ"):
            batch = env.step_batch(actions, states)
        assert not env.is_batched
        plain = base()
        for row, (state, action) in enumerate(zip(states, actions, strict=True)):
            env.set_state(state)
            plain.state = env.gym_env.unwrapped.state
            plain.steps_beyond_terminated = None
            assert_same(plain.step(action)[0], batch.observs[row])


def test_nothing_is_warned_about_here(nothing_warned):
    """Every kernel is what the installed Gymnasium does."""
    for name in NAMES:
        with make(name) as env:
            states, actions = collect_states(env, 20)
            actions = np.array(actions)
            kinds = (np.float32, np.float64) if actions.dtype.kind == "f" else (actions.dtype,)
            for dtype in kinds:
                env.step_batch(actions.astype(dtype), states)
            assert env.is_batched


def warned():
    return pytest.warns(RuntimeWarning, match="with float64 actions")


def test_a_kernel_is_trusted_for_the_dtype_that_was_compared(monkeypatch, nothing_warned):
    """One that is wrong for float64 alone is used for float32 alone."""
    real = Pendulum.step

    def step(self, parts, actions):
        return real(self, parts, actions.astype(np.float32))

    with make("Pendulum-v1") as env, make("Pendulum-v1") as other:
        other.use_kernel(None, [])
        states, actions = collect_states(env, 20)
        monkeypatch.setattr(Pendulum, "step", step)
        for dtype in (np.float32, np.float64, np.float32):
            given = np.array(actions).astype(dtype) * dtype(0.9)
            call = partial(PlanEnv.step_batch, actions=given, states=states)
            expected = call(other)
            with warned() if dtype is np.float64 else contextlib.nullcontext():
                assert_same(expected, call(env))
            assert is_kernel_used(env, call) is (dtype is np.float32)
        assert env.is_batched


def test_trying_a_kernel_moves_nothing():
    with make("FrozenLake-v1") as env, make("FrozenLake-v1") as quiet:
        quiet.use_kernel(None, [])
        for each in (env, quiet):
            each.reset(seed=4)
            each.step_batch([1] * 20)
        for _ in range(10):
            assert_same(quiet.step(2), env.step(2))


@pytest.mark.parametrize("column", [0, 1])
def test_the_row_that_is_no_state_is_named(column):
    with make("FrozenLake-v1") as env:
        states, actions = collect_states(env, 12)
        states[8] = states[8].copy()
        states[8][column] = 77
        with pytest.raises(InvalidStateError, match="not a state of") as caught:
            env.step_batch(actions, states)
        notes = getattr(caught.value, "__notes__", ["row 8"])  # from Python 3.11
        assert "row 8" in notes[0]


def test_columns_given_to_a_kernel_stay_as_they_are():
    with make("MountainCar-v0") as env:
        states, _ = collect_states(env, 10)
        block = env.take_apart(np.array(states))
        before = [part.copy() for part in block.parts]
        MountainCar(env.gym_env.unwrapped).step(block.parts, np.ones(10, np.int64))
        assert_same(before, block.parts)


@pytest.mark.parametrize("name", ["CartPole-v1", "Taxi-v4"])
def test_workers_step_at_once_too(name):
    with make(name) as env, make(name, n_workers=2) as parallel:
        states, actions = collect_states(env, 64)
        expected = one_by_one(env, lambda env: env.step_batch(actions, states, dt=3))
        assert_same(expected, parallel.step_batch(actions, states, dt=3))

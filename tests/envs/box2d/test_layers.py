"""Box2D under wrappers, wherever they come from: plain Gymnasium is the judge."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import (
    AddRenderObservation,
    DelayObservation,
    FrameStackObservation,
    MaxAndSkipObservation,
    NormalizeObservation,
    ResizeObservation,
    StickyAction,
    TimeAwareObservation,
    TimeLimit,
    TransformObservation,
)

from plangym_lite import make
from plangym_lite.envs.box2d import env as box2d
from tests.beside import restore_in_any_order, roll_out_in_any_order, walk_beside_plain
from tests.same import assert_same

pytest.importorskip("Box2D")

from plangym_lite.envs.box2d.world_snapshot import WorldSnapshots, are_exact

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
LANDER = "LunarLander-v3"


class Counting(gym.Wrapper):
    """Its counter has its default in the class, and becomes an attribute by counting."""

    n = 0

    def step(self, action):
        self.n += 1
        obs, reward, *rest = self.env.step(action)
        return obs, reward + self.n, *rest[:2], {"n": self.n}


class Deep(gym.Wrapper):
    """Changes what lies deep in its attributes."""

    def __init__(self, env):
        super().__init__(env)
        self.log = {"rows": [[0]], "sum": np.zeros(2)}

    def step(self, action):
        obs, _, *rest = self.env.step(action)
        self.log["rows"][0][0] += 1
        self.log["sum"][0] += obs.ravel()[0]
        return obs, float(self.log["sum"][0]), *rest[:2], {"n": self.log["rows"][0][0]}


def shifting(env):
    """Its function remembers how often it was called."""
    calls = []

    def shift(obs):
        calls.append(0)
        return obs + len(calls)

    return TransformObservation(env, shift, None)


def stacked(number):
    return FrameStackObservation, number


STACKS = {
    "stack": (LANDER, {}, [stacked(3)]),
    "limit": (LANDER, {"continuous": True}, [(TimeLimit, 40), stacked(2), TimeAwareObservation]),
    "counting": (LANDER, {}, [stacked(2), Counting]),
    "deep": (LANDER, {"enable_wind": True}, [Deep]),
    "statistics": (LANDER, {}, [NormalizeObservation, (StickyAction, 0.4)]),
    "closure": (LANDER, {}, [shifting]),
    "walker": ("BipedalWalker-v3", {}, [stacked(2), (DelayObservation, 2)]),
}
MORE_STACKS = {
    "rendered": (LANDER, {}, [AddRenderObservation, (ResizeObservation, {"shape": (42, 42)})]),
    "rendered seldom": (LANDER, {}, [(MaxAndSkipObservation, 4), AddRenderObservation]),
    "laser": ("BipedalWalker-v3", {}, [AddRenderObservation]),
    "car": ("CarRacing-v3", {}, [stacked(2), Counting]),
}


def build(name, options, wrappers):
    """Gymnasium's environment; nothing of ours in it."""
    env = gym.make(
        name, max_episode_steps=-1, disable_env_checker=True, render_mode="rgb_array", **options
    )
    for wrapper in wrappers:
        function, argument = wrapper if isinstance(wrapper, tuple) else (wrapper, {})
        env = function(env, **argument) if isinstance(argument, dict) else function(env, argument)
    return env


def judge(plain, env, steps, count):
    with env:
        walk = walk_beside_plain(plain, env, steps)
        assert not any(outcome[2] or outcome[3] for *_, outcome in walk[:-1])  # one episode
        restore_in_any_order(env, walk, count)
        roll_out_in_any_order(env, walk)
    plain.close()


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_by_wrappers(name):
    stack = STACKS[name]
    env = make(stack[0], wrappers=stack[2], **stack[1])
    judge(build(*stack), env, steps=30, count=12)


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_in_a_callable(name):
    """After a plain one: what was verified of that is not believed of this."""
    make(STACKS[name][0]).close()
    judge(build(*STACKS[name]), make(functools.partial(build, *STACKS[name])), steps=25, count=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE_STACKS)
def test_more_stacks(name):
    stack = MORE_STACKS[name]
    steps = 21 if name in ("rendered", "laser") else 12  # within one episode
    judge(build(*stack), make(stack[0], wrappers=stack[2]), steps, count=8)
    judge(build(*stack), make(functools.partial(build, *stack)), steps, count=8)
    judge(build(*stack), make(stack[0], n_workers=2, wrappers=stack[2]), steps, count=8)


def test_a_stack_with_workers():
    stack = STACKS["counting"]
    judge(build(*stack), make(LANDER, n_workers=2, wrappers=stack[2]), steps=20, count=8)


def test_rows_under_gymnasiums_wrappers_play_one_frame_each(monkeypatch):
    """Images hold the wrappers too."""
    with make(LANDER, wrappers=[stacked(3)]) as env:
        states = [env.reset(seed=0)[0]] * 4
        for _ in range(3):
            states = env.step_batch(range(4), states).states
        frames = []
        step = gym.wrappers.OrderEnforcing.step
        monkeypatch.setattr(
            gym.wrappers.OrderEnforcing,
            "step",
            lambda self, action: frames.append(action) or step(self, action),
        )
        env.step_batch([3] * 4, states[::-1])
        assert frames == [3] * 4


def test_trusted_is_what_was_verified(monkeypatch):
    looked_at = []
    monkeypatch.setattr(box2d, "TRUSTED", type(box2d.TRUSTED)())
    monkeypatch.setattr(box2d, "are_exact", lambda env: looked_at.append(env) or are_exact(env))
    for options in ({}, {}, {"continuous": True}, {"wrappers": [stacked(2)]}):
        make(LANDER, **options).close()
    make(lambda: gym.make(LANDER, disable_env_checker=True)).close()
    assert len(looked_at) == 4  # the second one was known


@pytest.mark.parametrize("wrapper", [Counting, Deep, FrameStackObservation])
def test_a_snapshot_holds_the_layers(wrapper):
    """Deeply, without what was born since."""
    arguments = {"stack_size": 2} if wrapper is FrameStackObservation else {}
    env = wrapper(gym.make(LANDER, disable_env_checker=True), **arguments)
    env.reset(seed=0)
    snapshots = WorldSnapshots.of(env)
    before = snapshots.save()
    first = [env.step(2) for _ in range(3)]
    for _ in range(2):
        snapshots.load(before)
        assert_same(first, [env.step(2) for _ in range(3)])
    env.close()


def test_a_picture_drawn_for_a_user_leaves_no_trace():
    """What wrappers draw goes on as if nobody had looked."""
    wrappers = [(MaxAndSkipObservation, 2), AddRenderObservation]
    with make(LANDER, wrappers=wrappers) as env, make(LANDER, wrappers=wrappers) as other:
        assert_same(env.reset(seed=1)[1], other.reset(seed=1)[1])
        for action in (2, 2, 3, 2, 0, 1):
            step = env.step(action)
            env.get_image()
            assert_same(step.obs, other.step(action).obs)


@pytest.mark.parametrize("options", [{"enable_wind": True}, {"wrappers": [stacked(2)]}])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasium_knows_the_environment(options):
    """Its checker, what its own spec of it makes, and the plain twin."""
    with make(LANDER, **options) as env:
        for again in (gym.make(env.gym_env.spec), env.make_plain()):
            assert_same(again.reset(seed=5)[0], env.reset(seed=5)[1])
            for action in (1, 2, 3, 0):
                assert_same(again.step(action)[0], env.step(action).obs)
            again.close()
        check_env(env.gym_env, skip_render_check=True, skip_close_check=True)

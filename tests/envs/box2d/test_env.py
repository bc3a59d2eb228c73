"""Box2D: Gymnasium's episodes bit for bit, and exact by playing them again."""

import pickle

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import InvalidStateError, make
from plangym_lite.envs.box2d import env as box2d
from plangym_lite.envs.box2d import world_snapshot
from plangym_lite.testing import ContractSuite, check_exact
from tests.same import assert_same

pytest.importorskip("Box2D")

from plangym_lite.envs.box2d.env import Box2DEnv
from plangym_lite.envs.box2d.world_snapshot import WorldSnapshots
from plangym_lite.envs.gymnasium.replay import ReplayedEnv

NAMES = [
    name
    for name, spec in sorted(gym.registry.items())
    if "box2d" in str(spec.entry_point) and spec.namespace is None
]
CAR = {"depths": (0, 4), "length": 8, "reach": 10}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TestLunarLander(ContractSuite):
    n_workers = 2

    def make_env(self):
        return make("LunarLander-v3", remove_time_limit=False, enable_wind=True)


class TestLunarLanderAmongWrappers(ContractSuite):
    """Statistics go on over episodes."""

    depths, length = (0, 20), 25

    def make_env(self):
        wrappers = [gym.wrappers.NormalizeObservation, (gym.wrappers.StickyAction, 0.3)]
        return make("LunarLander-v3", continuous=True, wrappers=wrappers)


class TestBipedalWalker(ContractSuite):
    depths, length = (0, 20), 25

    def make_env(self):
        return make("BipedalWalker-v3", n_live=2)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("Car")])
def test_an_episode_and_its_pictures_are_gymnasiums(name):
    """Gymnasium draws fading exhaust: its pictures are ours if it draws them all."""
    raw = gym.make(name, render_mode="rgb_array", disable_env_checker=True)
    with make(name, remove_time_limit=False) as env:
        assert type(env) is Box2DEnv
        raw.action_space.seed(3)
        assert_same(raw.reset(seed=3), env.reset(return_state=False, seed=3))
        for step in range(40):
            if step % 8 == 0:
                assert_same(raw.render(), env.get_image())
                assert_same(env.get_image(), env.get_image())
            else:
                raw.render()
            action = raw.action_space.sample()
            obs, reward, terminated, truncated, _ = raw.step(action)
            assert_same((obs, float(reward), terminated, truncated), env.step(action)[:4])
    raw.close()


def test_a_car_from_a_state():
    """The pixels of the frames in between are not drawn, those of the last one are."""
    with make("CarRacing-v3", n_live=1) as env:
        assert env.reset(seed=0)[1].any()
        actions = np.array([[0, 1, 0], [0.3, 0.5, 0], [-0.3, 0, 0.2], [0, 1, 0]], np.float32)
        taken = [env.step(action) for action in actions]
        state = env.get_state()
        image = env.get_image()
        env.reset(seed=1)
        env.set_state(state)
        assert_same(taken[-1].obs, env.observe())
        assert_same(image, env.get_image())


def test_a_car_that_drives_on_is_drawn_once(monkeypatch):
    with make("CarRacing-v3", n_live=1) as env:
        state = env.reset(seed=0)[0]
        action = np.array([0.1, 1, 0], np.float32)
        rewards = [env.step(action).reward for _ in range(4)]
        drawn = []
        render = type(env.gym_env.unwrapped)._render
        monkeypatch.setattr(
            type(env.gym_env.unwrapped),
            "_render",
            lambda self, mode: drawn.append(mode) or render(self, mode),
        )
        expected = env.observe()
        env.reset(seed=0)
        drawn.clear()
        step = env.step(action, dt=4)
        assert drawn == ["state_pixels"]
        assert_same(expected, step.obs)
        assert step.reward == sum(rewards)
        assert_same(step.obs, env.step(action, state, dt=4).obs)


@pytest.mark.parametrize("depth", [1, 7, 8, 9, 30])
def test_the_exhaust_in_a_picture_is_all_there(depth):
    with make("LunarLander-v3", n_live=1) as env:
        env.reset(seed=3)
        for number in range(depth):
            env.step((2, 1, 2, 3)[number % 4])
        state, obs, image = env.get_state(), env.observe(), env.get_image()
        env.reset(seed=4)
        env.set_state(state)
        assert_same(obs, env.observe())
        assert_same(image, env.get_image())


@pytest.mark.parametrize(
    "name",
    ["BipedalWalker-v3", pytest.param("BipedalWalkerHardcore-v3", marks=pytest.mark.slow)],
)
def test_without_new_environments_the_contract_fails(name, monkeypatch):
    """A world that an episode was played in is not a new one."""
    begin = ReplayedEnv._begin

    def reuse(self, root):
        if self._live:
            self._next = self._live.pop().env
        return begin(self, root)

    monkeypatch.setattr(ReplayedEnv, "_begin", reuse)
    reports = [
        check_exact(lambda: make(name), depths=(0, 20), length=40, seed=seed) for seed in range(4)
    ]
    assert not all(report.exact for report in reports)


def test_a_state_is_data():
    with make("LunarLander-v3") as env:
        state = env.reset(seed=7)[0]
        after = env.step(2, state, dt=5).state
        assert pickle.loads(pickle.dumps(after)) == after
        assert after != state
        assert hash(after) != hash(state)
        assert after.frames == bytes([2] * 5)
        with pytest.raises(InvalidStateError, match="Trail"):
            env.set_state(b"something")


def test_an_unseeded_reset_can_be_repeated():
    with make("LunarLander-v3") as env:
        state = env.reset(seed=7)[0]
        first, second = env.reset()[1], env.reset()[1]
        assert not np.array_equal(first, second)
        env.set_state(state)
        assert_same([first, second], [env.reset()[1], env.reset()[1]])


def test_two_new_environments_differ():
    with make("LunarLander-v3") as one, make("LunarLander-v3") as other:
        assert one.get_state() != other.get_state()


def test_options_of_a_reset_are_part_of_the_state():
    with make("CarRacing-v3", domain_randomize=True, n_live=1) as env:
        state, obs, _ = env.reset(seed=2, options={"randomize": False})
        env.reset(seed=3)
        env.set_state(state)
        assert_same(obs, env.observe())


def test_rows_from_recent_states_play_one_frame_each(monkeypatch):
    with make("LunarLander-v3") as env:
        states = [env.reset(seed=0)[0]] * 8
        for _ in range(2):
            states = env.step_batch(range(0, 4), states[:4]).states
        frames = []
        step = gym.wrappers.OrderEnforcing.step
        monkeypatch.setattr(
            gym.wrappers.OrderEnforcing,
            "step",
            lambda self, action: frames.append(action) or step(self, action),
        )
        env.step_batch([3] * 4, states[::-1])
        assert frames == [3] * 4


def test_no_more_than_asked_for_is_kept():
    with make("LunarLander-v3", n_live=3) as env:
        for seed in range(5):
            state = env.reset(seed=seed)[0]
            states = env.step_batch([1] * 9, [state] * 9, dt=range(1, 10)).states
            env.step_batch([1] * 9, states)
        live = env._replayed._live
        assert len(live) == 3
        assert sum(len(env_.checkpoints) - 1 for env_ in live) == len(env._replayed._taken) == 3
    with pytest.raises(ValueError, match="n_live"):
        make("LunarLander-v3", n_live=0)


def test_the_generator_cannot_be_left_out():
    with pytest.raises(ValueError, match="clone_seeds"):
        make("LunarLander-v3", clone_seeds=False)


def test_an_error_in_a_step_loses_nothing():
    with make("LunarLander-v3") as env:
        state, obs, _ = env.reset(seed=0)
        env.gym_env.unwrapped.world = None
        with pytest.raises(AttributeError):
            env.step(0)
        assert_same(obs, env.observe())
        assert env.step(0, state).obs.shape == (8,)


def test_clones_and_copies():
    with make("LunarLander-v3") as env:
        env.step(3, dt=4)
        with env.clone() as clone, pickle.loads(pickle.dumps(env)) as copied:
            assert_same(env.observe(), clone.observe())
            assert_same(env.observe(), copied.observe())
            assert clone.get_state() == copied.get_state() == env.get_state()


# ---- snapshots -----------------------------------------------------------------------------------


def record(env, actions):
    steps = [env.step(action) for action in actions]
    return [(np.asarray(obs).tobytes(), repr(rest)) for obs, *rest in steps]


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [
        ("LunarLander-v3", {"enable_wind": True, "render_mode": "rgb_array"}, 60),
        ("LunarLander-v3", {"continuous": True}, 60),
        ("BipedalWalker-v3", {}, 40),
        pytest.param("BipedalWalkerHardcore-v3", {}, 60, marks=pytest.mark.slow),
        pytest.param("CarRacing-v3", {}, 12, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_snapshot_restores_the_world(name, options, length, seed):
    """Against a fresh world that has never been anywhere else; trees and chunks grow on the way."""
    fresh, env = (gym.make(name, disable_env_checker=True, **options) for _ in range(2))
    draw = np.random.default_rng(seed)
    for each in (fresh, env):
        each.action_space.seed(seed)
        each.reset(seed=seed)
    actions = [env.action_space.sample() for _ in range(length)]
    expected = record(fresh, actions)
    snapshots = WorldSnapshots.of(env)
    taken = []
    for action in actions:
        taken.append(snapshots.save())
        env.step(action)
    for start in draw.integers(length, size=12):
        snapshots.load(taken[start])
        record(env, [env.action_space.sample() for _ in range(draw.integers(8))])
        snapshots.load(taken[start])
        assert record(env, actions[start : start + 20]) == expected[start : start + 20]
    fresh.close()
    env.close()


def test_the_world_grows_and_earlier_snapshots_stay_exact():
    with make("LunarLander-v3") as env:
        state = env.reset(seed=0)[0]
        live = env._replayed._live[-1]
        before = live.checkpointer.save()
        for number in range(60):
            env.step(number % 4)
        after = live.checkpointer.save()
        assert len(after.nodes) > len(before.nodes)
        assert len(after.chunks) > len(before.chunks)
        rows = env.step_batch([0, 1, 2, 3] * 5, [state] * 20, dt=60)
        with make("LunarLander-v3", n_live=1) as other:
            assert_same(other.step_batch([0, 1, 2, 3] * 5, [state] * 20, dt=60), rows)


def test_a_world_of_another_layout_has_no_snapshots(monkeypatch):
    monkeypatch.setattr(world_snapshot, "GRAVITY", world_snapshot.GRAVITY + 4)
    monkeypatch.setattr(box2d, "TRUSTED", {})
    with make("LunarLander-v3", n_live=2) as env:
        state = env.reset(seed=0)[0]
        steps = env.step_batch([1, 2, 3], [state] * 3)
        assert not any(live.checkpoints for live in env._replayed._live)
        monkeypatch.undo()
        with make("LunarLander-v3") as other:
            assert_same(other.step_batch([1, 2, 3], [state] * 3), steps)


@pytest.mark.parametrize("forgotten", ["prev_shaping", "np_random", "chunks"])
def test_what_a_snapshot_must_have(monkeypatch, forgotten):
    """A snapshot without one of its parts is not trusted."""
    if forgotten == "prev_shaping":
        names = tuple(n for n in world_snapshot.OF_ENVIRONMENTS if n != forgotten)
        monkeypatch.setattr(world_snapshot, "OF_ENVIRONMENTS", names)
    elif forgotten == "np_random":
        load = world_snapshot.load_attributes

        def forget(base, saved):
            numbers = base.np_random.bit_generator.state
            load(base, saved)
            base.np_random.bit_generator.state = numbers

        monkeypatch.setattr(world_snapshot, "load_attributes", forget)
    else:
        load = WorldSnapshots.load
        monkeypatch.setattr(
            WorldSnapshots, "load", lambda self, taken: load(self, taken._replace(chunks=[]))
        )
        monkeypatch.setattr(world_snapshot, "_free_all", lambda *chunk: None)
    env = gym.make("LunarLander-v3", disable_env_checker=True)
    assert not world_snapshot.are_exact(env)
    env.close()


def test_rows_of_one_state_play_it_once(monkeypatch):
    with make("LunarLander-v3") as env, make("LunarLander-v3", n_live=1) as other:
        for number in range(40):
            env.step(number % 4)
        state = env.get_state()
        expected = other.step_batch([0, 1, 2, 3] * 8, [state] * 32)
        frames = []
        step = gym.wrappers.OrderEnforcing.step
        monkeypatch.setattr(
            gym.wrappers.OrderEnforcing,
            "step",
            lambda self, action: frames.append(action) or step(self, action),
        )
        assert_same(expected, env.step_batch([0, 1, 2, 3] * 8, [state] * 32))
        assert frames == [0, 1, 2, 3] * 8

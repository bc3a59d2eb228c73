"""The generic snapshot, on environments made to be difficult."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils import EzPickle

from plangym_lite.envs.snapshot import (
    Snapshot,
    layers_of,
)


class Base(gym.Env):
    """Attributes of every kind that an environment may have."""

    def __init__(self):
        self.observation_space = spaces.Discrete(5)
        self.action_space = spaces.Discrete(2)
        self.board = [[0, 0], [0, 0]]
        self.row = self.board[0]  # shared with the board
        self.callback = lambda: 1
        self.noise = np.random.default_rng(3)
        self.same_noise = self.noise

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        self.row[0] += 1
        return 0, 0.0, False, False, {}


class Player(EzPickle):
    def __init__(self, name="fresh"):
        EzPickle.__init__(self, name)
        self.health = 10


@pytest.fixture
def env():
    env = Base()
    env.reset(seed=1)
    return env


def test_what_is_shared_stays_shared(env):
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save("extra")
    env.step(0)
    env.board.append([7])
    assert snapshot.load(data) == "extra"
    assert env.board == [[0, 0], [0, 0]]
    assert env.row is env.board[0]
    env.step(0)
    assert env.board[0][0] == 1
    assert env.same_noise is env.noise


def test_generators_are_restored_or_run_on(env):
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    first, first_reset = env.noise.random(), env.np_random.random()
    snapshot.load(data)
    assert (env.noise.random(), env.np_random.random()) == (first, first_reset)
    snapshot.load(data, generators=False)
    assert (env.noise.random(), env.np_random.random()) != (first, first_reset)


def test_other_generators_are_pickled(env):
    env.noise = np.random.Generator(np.random.MT19937(4))
    env.old = np.random.RandomState(5)
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    first = env.noise.random(), env.old.rand()
    snapshot.load(data)
    assert (env.noise.random(), env.old.rand()) == first


def test_the_generator_of_the_action_space_counts(env):
    env.action_space.seed(4)
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    drawn = [env.action_space.sample() for _ in range(20)]
    snapshot.load(data)
    assert [env.action_space.sample() for _ in range(20)] == drawn


def test_attributes_born_later_are_gone_after_a_restore(env):
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    env.born = 1
    snapshot.load(data)
    assert not hasattr(env, "born")
    env.born = 2
    later = snapshot.save()
    del env.born
    snapshot.load(later)
    assert env.born == 2


def test_what_cannot_be_pickled_stays_and_is_named(env):
    env.window = object()
    env.lock = open(__file__)  # noqa: SIM115
    callback, lock = env.callback, env.lock
    snapshot = Snapshot(layers_of(env))
    assert snapshot.left_out == [{"callback", "lock"}]
    snapshot.load(snapshot.save())
    assert (env.callback, env.lock) == (callback, lock)
    env.lock.close()


def test_a_picture_drawn_later_does_not_get_in_the_way(env):
    """Drawn in the source or in the target: the attribute stays with the target."""
    env.surface = None
    other = Base()
    other.reset(seed=1)
    other.surface = None
    here, there = Snapshot(layers_of(env)), Snapshot(layers_of(other))
    before = there.save()
    other.surface = lambda: "pixels"
    after = there.save()
    here.load(after)
    assert env.surface is None
    there.load(before)
    assert other.surface() == "pixels"


def test_ezpickle_objects_keep_what_happened_to_them(env):
    env.player = Player("hero")
    env.player.health = 3
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    env.player.health = 0
    snapshot.load(data)
    assert env.player.health == 3


def test_an_environment_inside_another(env):
    env.inner = Base()
    del env.inner.callback
    env.inner.step(0)
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    env.inner.step(0)
    snapshot.load(data)
    assert env.inner.board[0][0] == 1


def test_an_object_that_holds_what_cannot_be_pickled_is_named(env):
    env.inner = Base()  # with its callback
    assert Snapshot(layers_of(env)).left_out == [{"callback", "inner"}]


def test_layers_and_spaces_are_references():
    env = gym.wrappers.TimeLimit(Base(), 9)
    env.reset(seed=1)
    env.unwrapped.me, env.unwrapped.outer = env.unwrapped, env
    env.unwrapped.favourite = env.action_space
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    env.step(0)
    snapshot.load(data)
    assert env._elapsed_steps == 0
    assert (env.unwrapped.me, env.unwrapped.outer) == (env.unwrapped, env)
    assert env.unwrapped.favourite is env.action_space


def test_a_snapshot_restores_another_object():
    one, two = Base(), Base()
    one.reset(seed=1)
    two.reset(seed=2)
    one.step(0)
    Snapshot(layers_of(two)).load(Snapshot(layers_of(one)).save())
    assert two.board == one.board
    assert two.np_random.random() == one.np_random.random()
    assert two.board is not one.board

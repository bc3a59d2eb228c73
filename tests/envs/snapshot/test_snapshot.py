"""The generic snapshot, on environments made to be difficult."""

import collections
import dataclasses
import random
import threading

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils import EzPickle

from plangym_lite import make
from plangym_lite.envs.snapshot.anchors import checksum_of
from plangym_lite.envs.snapshot.pickling import NotUnderstoodError
from plangym_lite.envs.snapshot.snapshot import Snapshot, layers_of


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


def test_what_is_not_understood_is_named_and_refused(env):
    with open(__file__) as env.file:
        snapshot = Snapshot(layers_of(env))
        assert snapshot.problems() == ["_io.TextIOWrapper"]
        with pytest.raises(NotUnderstoodError, match="TextIOWrapper"):
            snapshot.save()


def test_functions_stay_and_what_they_close_over_is_saved(env):
    callback, count = env.callback, [0]

    def more():
        count[0] += 1
        return count[0]

    env.more = more
    snapshot = Snapshot(layers_of(env))
    assert not snapshot.problems()
    more()
    data = snapshot.save()
    assert [more(), more()] == [2, 3]
    snapshot.load(data)
    assert (env.callback, env.more, more()) == (callback, more, 2)


def test_a_picture_drawn_later_does_not_get_in_the_way(env):
    """Drawn in the source or in the target: the attribute stays with the target."""
    pygame = pytest.importorskip("pygame")
    env.surface = None
    other = Base()
    other.reset(seed=1)
    other.surface = None
    here, there = Snapshot(layers_of(env)), Snapshot(layers_of(other))
    before = there.save()
    other.surface = surface = pygame.Surface((2, 2))
    after = there.save()
    here.load(after)
    assert env.surface is None
    there.load(before)
    assert other.surface is surface


class Body(Base):
    """Parts of arrays, named once."""

    def __init__(self):
        super().__init__()
        self.state = np.arange(6.0)
        self.place, self.speed = self.state[:3], self.state[3:]
        self.backwards = self.state[::-1]
        self.table = np.asfortranarray(np.arange(12.0).reshape(3, 4))
        self.rows = [self.table[1], self.table.T[2]]
        self.octets = np.frombuffer(bytearray(b"12345678"), np.uint8)


def test_views_stay_views():
    one, two = Body(), Body()
    one.place += 5
    one.rows[0][:] = 9
    data = Snapshot(layers_of(one)).save()
    snapshot = Snapshot(layers_of(two))
    assert not snapshot.problems()
    for _ in range(2):
        snapshot.load(data)
        assert two.state.tolist() == [5, 6, 7, 3, 4, 5]
        two.speed += 1
        two.backwards[0] = -1
        assert two.state.tolist() == [5, 6, 7, 4, 5, -1]
        two.rows[1] -= 1
        assert two.table[:, 2].tolist() == two.rows[1].tolist()
        assert two.rows[0][2] == two.table[1, 2]
        assert two.table.flags.f_contiguous
        two.octets[0] += 1  # it can be written to


def test_generators_spawn_as_before(env):
    env.noise.spawn(1)
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    first = env.noise.spawn(2)[1].random()
    snapshot.load(data)
    assert env.noise.spawn(2)[1].random() == first


@pytest.mark.parametrize("kind", ["MT19937", "Philox", "SFC64", "PCG64DXSM"])
def test_every_generator_runs_on_where_it_should(env, kind):
    env.noise = np.random.Generator(getattr(np.random, kind)(4))
    env.old, env.pythons = np.random.RandomState(5), random.Random(6)
    draw = lambda: (env.noise.random(), env.old.rand(), env.pythons.random())  # noqa: E731
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    first = draw()
    snapshot.load(data, generators=False)
    assert not set(draw()) & set(first)
    snapshot.load(data)
    assert draw() == first


class Handle:
    """Whoever deletes it closes it for everyone."""

    closed = False

    def __init__(self):
        self.number = 0

    def __del__(self):
        type(self).closed = True


def test_what_is_closed_when_it_is_deleted_is_kept(env):
    env.handle = handle = Handle()
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    env.handle.number = 7
    snapshot.load(data)
    assert env.handle is handle
    assert (handle.number, Handle.closed) == (0, False)


@dataclasses.dataclass(slots=True, frozen=True)
class Cell:
    content: int = 3


class Odd(list):
    pass


def test_slots_locks_and_builtin_bases(env):
    env.cell, env.odd, env.lock = Cell(), Odd([1]), threading.Lock()
    env.odd.name = "odd"
    env.default = collections.defaultdict(list, {1: [2]})
    env.bound = env.odd.append
    snapshot = Snapshot(layers_of(env))
    assert not snapshot.problems()
    data = snapshot.save()
    env.bound(2)
    env.cell = Cell(9)
    snapshot.load(data)
    assert (env.cell, env.odd, env.odd.name) == (Cell(3), [1], "odd")
    env.bound(5)
    assert env.odd == [1, 5]
    assert env.default[7] == []


def test_a_set_that_would_come_back_in_another_order_is_told(env):
    env.seen = {33, 1}  # 33 and 1 fall on one place in a small table
    for number in range(2, 40):
        env.seen.add(number)
    for number in range(2, 40):
        env.seen.discard(number)
    env.seen |= {33}
    order = list(env.seen)
    assert bool(Snapshot(layers_of(env)).problems()) == (list(set(order)) != order)


def test_large_arrays_that_never_change_stay(env):
    env.table = table = np.zeros(1 << 20)
    found = Snapshot(layers_of(env))
    before = [checksum_of(array) for array in found.large]
    env.step(0)
    found.discover()
    constants = found.unchanging(before)
    assert constants == (0,)
    snapshot = Snapshot(layers_of(env), constants=constants)
    data = snapshot.save()
    assert len(data) < 10_000
    env.table += 1  # as training does
    snapshot.load(data)
    assert env.table is table
    assert table[0] == 1


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
    env.inner.step(0)
    snapshot = Snapshot(layers_of(env))
    data = snapshot.save()
    env.inner.step(0)
    snapshot.load(data)
    assert env.inner.board[0][0] == 1


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


def test_a_restored_state_is_saved_as_the_same_bytes():
    with make("MiniGrid-Empty-5x5-v0") as env:
        env.reset(seed=0)
        state = env.step(2, return_state=True).state
        env.set_state(state)
        assert np.array_equal(env.get_state(), state)

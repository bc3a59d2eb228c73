"""State outside of an environment's objects is found, though a short episode does not show it."""

import contextvars
import dataclasses
import itertools
import sqlite3
import types
import weakref

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import NotCloneableError, make

LATE = 40
MOVES, SEEN = [], {}
n_moves = 0


class Base(gym.Env):
    """After 40 steps the reward is what was counted: ``count`` keeps it, and returns it."""

    observation_space = spaces.Box(-1e9, 1e9, (1,), np.float64)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.count(None)
        return np.zeros(1), {}

    def step(self, action):
        self.t += 1
        kept = self.count(int(action))
        return np.full(1, float(self.t)), float(kept) * (self.t > LATE), False, False, {}


class ClassNumber(Base):
    moved = 0

    def count(self, action):
        type(self).moved = 0 if action is None else self.moved + action
        return self.moved


class GlobalNumber(Base):
    def count(self, action):
        global n_moves
        n_moves = 0 if action is None else n_moves + action
        return n_moves


def counted(action):
    if action is None:
        MOVES.clear()
    else:
        MOVES.append(action)
    return sum(MOVES)


class InAFunctionThatItCalls(Base):
    def count(self, action):
        return counted(action)


class Default(Base):
    def count(self, action, kept=[0]):  # noqa: B006
        kept[0] = 0 if action is None else kept[0] + action
        return kept[0]


class Singleton(Base):
    class Board:
        n = 0

    board = Board()

    def count(self, action):
        self.board.n = 0 if action is None else self.board.n + action
        return self.board.n


@dataclasses.dataclass(slots=True)
class Slotted:
    n: object = 0


class OfAllInstances:
    """A descriptor that keeps the values of all instances."""

    def __init__(self):
        self.values = weakref.WeakKeyDictionary()

    def __get__(self, owner, kind=None):
        return self.values.get(owner, 0)

    def __set__(self, owner, value):
        self.values[owner] = value


class Descriptor(Base):
    health = OfAllInstances()

    def count(self, action):
        self.health = 0 if action is None else self.health + action
        return self.health


def generated():
    n = 0
    while True:
        n += yield n


SLOTTED, SPACE, VARIABLE = Slotted(), types.SimpleNamespace(n=0), contextvars.ContextVar("n")
DEEP, VISITED, CYCLE, BUFFER = (
    {"a": {"b": {"c": {"d": [0]}}}},
    set(),
    [None],
    memoryview(bytearray(8)),
)
TWO = {"episodes": 0, "visited": {}}
TABLE = sqlite3.connect(":memory:")
TABLE.execute("create table moves (move)")
RUNNING = [generated()]
other = types.ModuleType("other")
other.n = 0


def in_a_number(action):
    SLOTTED.n = np.int64(0) if action is None else SLOTTED.n + np.int64(action)
    return SLOTTED.n


def in_a_namespace(action):
    SPACE.n = 0 if action is None else SPACE.n + action
    return SPACE.n


def in_a_variable(action):
    VARIABLE.set(0 if action is None else VARIABLE.get() + action)
    return VARIABLE.get()


def deep_inside(action):
    kept = DEEP["a"]["b"]["c"]["d"]
    kept[0] = 0 if action is None else kept[0] + action
    return kept[0]


def in_a_set(action):
    if action is None:
        VISITED.clear()
    else:
        VISITED.add((len(VISITED), action))
    return sum(move for _, move in VISITED)


def beside_a_counter(action):
    if action is None:
        TWO.update(episodes=TWO["episodes"] + 1, visited={})
    else:
        TWO["visited"][len(TWO["visited"])] = action
    return sum(TWO["visited"].values())


def in_a_cycle(action):
    if action is None:
        CYCLE[0] = itertools.cycle([1, 2, 5])
    return sum(next(CYCLE[0]) for _ in range(action or 1))


def in_a_buffer(action):
    BUFFER[0] = 0 if action is None else (BUFFER[0] + action) % 251
    return BUFFER[0]


def in_a_module(action):
    other.n = 0 if action is None else other.n + action
    return other.n


def in_a_generator(action):
    if action is None:
        RUNNING[0] = generated()
        return next(RUNNING[0])
    return RUNNING[0].send(action)


def in_a_database(action):
    if action is None:
        TABLE.execute("delete from moves")
    else:
        TABLE.execute("insert into moves values (?)", (action,))
    return TABLE.execute("select coalesce(sum(move), 0) from moves").fetchone()[0]


def kept_by(function):
    return type(function.__name__, (Base,), {"count": lambda self, action: function(action)})


ANYWHERE = [
    *(in_a_number, in_a_namespace, in_a_variable, deep_inside, in_a_set, beside_a_counter),
    *(in_a_cycle, in_a_buffer, in_a_module, in_a_generator, in_a_database),
]


@pytest.mark.parametrize(
    "kind",
    [
        *(ClassNumber, GlobalNumber, InAFunctionThatItCalls, Default, Singleton, Descriptor),
        *map(kept_by, ANYWHERE),
    ],
)
def test_it_is_played_again(kind):
    plain = kind()
    plain.reset(seed=0)
    actions = [number % 3 for number in range(LATE + 3)]
    expected = [plain.step(action)[1] for action in actions][-3:]
    with make(kind) as env:
        state, *_ = env.reset(seed=0)
        state = env.rollout_batch([actions[:-3]], [state]).states[0]
        env.reset(seed=1)
        for _ in range(5):
            env.step(2)
        env.set_state(state)
        assert [env.step(action).reward for action in actions[-3:]] == expected


def test_caches_and_constants_are_not_state():
    class Cached(Base):
        table, nothing, n_steps = np.zeros(9), float("nan"), 0

        def count(self, action):
            Cached.n_steps += 1
            return SEEN.setdefault((self.t, action), len(SEEN) * 0 + self.table[0])

    with make(Cached) as env:
        assert env.state_method == "snapshot"


class Counting(gym.Wrapper):
    """After 40 steps the reward tells how many there were, as the class knows."""

    count = 0

    def reset(self, **options):
        Counting.count = 0
        return self.env.reset(**options)

    def step(self, action):
        obs, reward, *others = self.env.step(action)
        Counting.count += 1
        return obs, float(reward) + self.count * (self.count > LATE), *others


def with_replaced_methods(env):
    """The same by methods of the environment itself, and a global."""
    base = env.unwrapped
    reset, step = base.reset, base.step

    def new_reset(**options):
        global n_moves
        n_moves = 0
        return reset(**options)

    def new_step(action):
        global n_moves
        obs, reward, *others = step(action)
        n_moves += 1
        return obs, float(reward) + n_moves * (n_moves > LATE), *others

    base.reset, base.step = new_reset, new_step
    return env


@pytest.mark.parametrize("wrap", [Counting, with_replaced_methods])
@pytest.mark.parametrize("name", ["MountainCar-v0", "LunarLander-v3", "HalfCheetah-v5"])
def test_state_outside_of_what_surrounds_an_engine(name, wrap):
    def build():
        return wrap(gym.make(name, max_episode_steps=-1, disable_env_checker=True))

    plain = build()
    plain.reset(seed=0)
    plain.action_space.seed(0)
    actions = [plain.action_space.sample() for _ in range(LATE + 3)]
    expected = [plain.step(action)[1] for action in actions][-3:]
    plain.close()
    with make(build) as env:
        env.reset(seed=0, return_state=False)
        state = [env.step(action, return_state=True).state for action in actions[:-3]][-1]
        env.reset(seed=1)
        for action in actions[:5]:
            env.step(action)
        env.set_state(state)
        assert [env.step(action).reward for action in actions[-3:]] == expected


@pytest.mark.parametrize("wrap", [Counting, with_replaced_methods])
def test_an_emulator_cannot_play_again(wrap):
    with pytest.raises(NotCloneableError, match=r"class attribute Counting\.count|global n_moves"):
        make("ALE/Pong-v5", obs_type="ram", wrappers=[wrap])

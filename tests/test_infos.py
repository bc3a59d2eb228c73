"""What comes back is yours: infos and observations at any depth keep their content."""

import copy
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from importlib.util import find_spec
from types import MappingProxyType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plangym_lite import SequentialVectorEnv, SubprocVecEnv, make
from plangym_lite.nested import own_copy, own_info
from plangym_lite.testing.toy import ToyEnv
from tests.same import assert_same

Pair = namedtuple("Pair", "one two")


class Colour(Enum):
    RED = 1


@dataclass
class Piece:
    where: np.ndarray
    moves: list = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    where: np.ndarray


class Slotted:
    __slots__ = ("__hidden", "shown")

    def __init__(self, hidden, shown):
        self.__hidden, self.shown = hidden, shown

    @property
    def hidden(self):
        return self.__hidden


class Handle:
    """Frees something when it is deleted."""

    def __init__(self, freed):
        self.freed = freed

    def __del__(self):
        self.freed.append(self)


class Circle:
    def __init__(self, board):
        self.board, self.self = board, self


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    hnp.arrays(st.sampled_from([np.float32, np.int64, np.bool_]), hnp.array_shapes(max_side=3)),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.tuples(inner, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=8,
)


def spoil(value):
    """Change every array, list and dict in a nested value, in place."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        spoil(value.tolist())
    elif isinstance(value, np.ndarray):
        value[...] = 1 - value if value.dtype == bool else value + 1
    elif isinstance(value, dict):
        for part in value.values():
            spoil(part)
        value["spoilt"] = True
    elif isinstance(value, (list, tuple)):
        for part in value:
            spoil(part)
        if isinstance(value, list):
            value.append("spoilt")


@given(values)
def test_a_copy_is_the_same_and_stays_so(value):
    expected = copy.deepcopy(value)
    copied = own_copy(value)
    assert_same(expected, copied)
    assert type(copied) is type(value)
    with np.errstate(all="ignore"):
        spoil(value)
    assert_same(expected, copied)


def objects_around(board):
    """Values of many types that hold an array, each with how it is found in them."""
    return [
        (board[1:], lambda v: v),
        ({"a": [(board,)]}, lambda v: v["a"][0][0]),
        (OrderedDict(a=board), lambda v: v["a"]),
        (defaultdict(list, a=board), lambda v: v["a"]),
        (deque([board]), lambda v: v[0]),
        (Pair(board, 1), lambda v: v.one),
        (Piece(board), lambda v: v.where),
        (Frozen(board), lambda v: v.where),
        (Slotted(board, 1), lambda v: v.hidden),
        (Circle(board), lambda v: v.self.self.board),
        (MappingProxyType({"a": board}), lambda v: v["a"]),
        (np.array([None, board], object), lambda v: v[1]),
        (spaces.GraphInstance(board, None, None), lambda v: v.nodes),
        (np.ma.masked_array(board, board > 2), lambda v: v.data),
        ({"lock": threading.Lock(), "board": board}, lambda v: v["board"]),
    ]


@pytest.mark.parametrize("index", range(len(objects_around(np.zeros(2)))))
def test_arrays_are_found_in_objects(index):
    board = np.arange(4.0)
    value, find = objects_around(board)[index]
    copied = own_copy(value)
    assert type(copied) is type(value)
    before = np.array(find(copied))
    assert_same(before, np.array(find(value)))
    board += 1
    assert_same(before, np.array(find(copied)))
    find(copied)[...] = 7
    assert_same(np.arange(4.0) + 1, board)


def test_a_row_of_a_structured_array_is_copied():
    table = np.zeros(2, [("x", int)])
    copied = own_copy(table[0])
    table["x"] = 5
    assert copied["x"] == 0


def test_what_is_one_object_stays_one():
    board = np.zeros(2)
    copied = own_info({"board": board, "deep": {"rows": [board]}})
    assert copied["deep"]["rows"][0] is copied["board"] is not board


def test_what_is_no_data_is_handed_over_as_it_is():
    freed = []
    with gym.make("CartPole-v1") as env:
        kept = [Handle(freed), env, env.action_space, len, np, Colour.RED, Piece, threading.Lock()]
        copied = own_copy(kept)
        assert all(one is other for one, other in zip(kept, copied, strict=True))
        assert not freed


def test_dicts_of_other_classes_stay_what_they_are():
    copied = own_copy(defaultdict(list, a=[1]))
    copied["b"].append(2)
    assert copied == {"a": [1], "b": [2]}
    assert type(own_copy(Counter("aab"))) is Counter


# ---- environments --------------------------------------------------------------------------------


class Shows(gym.Env):
    """Hands out what it goes on with: in its infos, at any depth, and in its observations."""

    action_space = spaces.Discrete(3)

    def __init__(self, odd=False):
        board = spaces.Box(-9e9, 9e9, (3,), np.float64)
        graph = spaces.Graph(board, None)
        self.observation_space = spaces.Dict(g=graph, s=spaces.Sequence(board)) if odd else board
        self.odd = odd
        self.board, self.piece = np.zeros(3), Piece(np.zeros(2))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.board[:] = 0
        self.piece.where[:] = 0
        self.piece.moves.clear()
        return self.see()

    def step(self, action):
        self.board[action] += 1
        self.piece.where += action
        self.piece.moves.append(int(action))
        obs, info = self.see()
        return obs, 0.0, False, False, info

    def see(self):
        graph = spaces.GraphInstance(self.board[None], None, None)
        obs = {"g": graph, "s": (self.board,)} if self.odd else self.board
        rows = np.array([self.board, None], object)
        deep = {"rows": [self.board[1:], (rows,)], "piece": self.piece, "n": np.int64(3)}
        return obs, {"board": self.board, "deep": deep}


def flat(value):
    """A nested value as text."""
    return repr(value)


@pytest.mark.filterwarnings("ignore:the environment uses sets")
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("n_workers", [None, 2])
def test_batches_and_steps_give_what_gymnasium_gives(n_workers, odd):
    actions = [0, 1, 2, 2, 1, 0, 1, 1, 2, 0]
    plain = Shows(odd)
    expected = [flat(plain.reset(seed=0))]
    expected += [flat([step[0], step[4]]) for step in map(plain.step, actions)]
    with make(partial(Shows, odd), n_workers=n_workers, certify=False) as env:
        state, obs, info = env.reset(seed=0)
        states, held = [state], [(obs, info)]
        for action in actions:
            step = env.step(action, states[-1])
            states.append(step.state)
            held.append([step.obs, without_ours(step.info)])
        batch = env.step_batch(actions, states[:-1])
        rollout = env.rollout_batch([actions[:5]] * 4, [state] * 4)
        assert [flat(each) for each in held] == expected
        infos = [flat(without_ours(info)) for info in batch.infos]
        assert infos == [flat(info) for _, info in held[1:]]
        assert {flat(without_ours(info)) for info in rollout.infos} == {flat(held[5][1])}


def without_ours(info):
    return {key: value for key, value in info.items() if key not in ("n_step", "dt")}


def test_editing_what_came_back_moves_nothing():
    with make(Shows, certify=False) as env:
        _, obs, info = env.reset(seed=0)
        step = env.step(1)
        for held in (obs, info, step.obs, step.info):
            spoil(held)
        step.info["deep"]["piece"].where[:] = 99
        obs, *_, info = env.step(2)
        assert_same(np.array([0.0, 1, 1]), obs)
        assert info["deep"]["piece"].where.tolist() == [3, 3]
        assert info["deep"]["piece"].moves == [1, 2]


@pytest.mark.filterwarnings("ignore:the environment uses sets")
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("kind", [SequentialVectorEnv, SubprocVecEnv])
def test_vector_environments_too(kind, odd):
    with kind([partial(Shows, odd)] * 2) as env:
        env.reset()
        held = [env.step([1, 2]), env.step([0, 1])]
        before = flat(held)
        env.step([2, 2])
        env.reset()
        assert flat(held) == before


@pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")
@pytest.mark.parametrize("n_workers", [None, 2])
def test_views_of_a_simulation(n_workers):
    class Watching(gym.Wrapper):
        def step(self, action):
            *rest, info = self.env.step(action)
            return *rest, {**info, "data": [self.unwrapped.data.qpos]}

    actions = np.random.default_rng(0).uniform(-1, 1, (9, 3))
    plain = Watching(gym.make("Hopper-v5"))
    expected = []
    for action in actions:
        plain.reset(seed=0)
        expected.append(plain.step(action)[4]["data"][0].copy())
    plain.close()
    with make("Hopper-v5", wrappers=[Watching], n_workers=n_workers) as env:
        state, *_ = env.reset(seed=0)
        infos = env.step_batch(actions, [state] * 9).infos
        assert_same(expected, [info["data"][0] for info in infos])


class Draws(gym.Env):
    """Draws into one picture that it keeps."""

    observation_space, action_space = spaces.Box(0, 9, (1,), np.float64), spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self.render_mode, self.picture = render_mode, np.zeros((2, 2, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.picture[:] = 0
        return np.zeros(1), {}

    def step(self, action):
        self.picture += np.uint8(1)
        return np.zeros(1), 0.0, False, False, {}

    def render(self):
        return self.picture


def test_pictures_are_yours():
    with make(Draws, return_image=True, certify=False) as env:
        _, _, info = env.reset(seed=0)
        image, told = env.get_image(), env.step(0).info["rgb"]
        assert [info["rgb"].max(), image.max(), told.max()] == [0, 0, 1]


@pytest.mark.parametrize("n_workers", [None, 2])
@pytest.mark.parametrize("name", [ToyEnv, "CartPole-v1", "ALE/Pong-v5"])
def test_resets_tell_the_picture_as_steps_do(name, n_workers):
    with make(name, return_image=True, n_workers=n_workers) as env:
        _, _, info = env.reset(seed=1)
        assert_same(env.get_image(), info["rgb"])
        assert "rgb" in env.reset(return_state=False)[1]
        if n_workers:
            assert all(info["rgb"].shape == env.img_shape for info in env.batch_env.reset()[-1])


def test_vector_environments_tell_it_too():
    with SequentialVectorEnv([partial(make, "CartPole-v1", return_image=True)] * 2) as env:
        _, infos = env.reset(seed=0)
        assert infos["rgb"].shape == env.step([0, 1])[4]["rgb"].shape

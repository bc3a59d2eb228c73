"""Where two values differ, bit for bit: any kind of value, and without what is noise."""

import threading
import types
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from plangym_lite.nested import (
    Difference,
    Noise,
    assert_same,
    differences,
    noise_between,
    same_space,
)

Point = namedtuple("Point", "x y")


@dataclass
class Holder:
    rows: np.ndarray


class Odd:
    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        raise ValueError

    def __repr__(self):
        raise ValueError


def itself():
    value = {"n": 1}
    value["again"] = [value]
    return value


def structured(number, inside):
    return np.array([(1.5, number, inside)], [("a", float), ("b", int), ("c", object)])


SAME = [
    lambda: np.nan,
    lambda: complex(np.nan, 0.0),
    lambda: np.array([np.nan, -0.0, np.inf]),
    lambda: np.array([None, [np.zeros(2)], {"a": np.nan}], object),
    lambda: structured(2, [np.ones(2)]),
    lambda: np.ma.array([1, 2], mask=[0, 1]),
    lambda: np.array(["2000-01-01", "NaT"], "datetime64[D]"),
    lambda: np.zeros((0, 3)),
    lambda: Holder(np.arange(3)),
    lambda: {"set": {1, 2}, "bytes": b"ab", "text": "ab", "none": None, "big": 10**30},
    lambda: types.MappingProxyType({"a": np.zeros(2)}),
    lambda: Point(np.zeros(2), 1),
    lambda: Odd(1),
    itself,
]


@pytest.mark.parametrize("make", SAME)
def test_equal_values(make):
    assert_same(make(), make())


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        (0.0, -0.0, "value"),
        (complex(0.0, 0.0), complex(0.0, -0.0), "value"),
        (1, 1.0, "value"),
        (True, 1, "value"),
        (np.float32(1), np.float64(1), "value"),
        (np.zeros(3, np.float32), np.zeros(3), "value"),
        (np.zeros((2, 3)), np.zeros((3, 2)), "value"),
        (np.zeros(2, "<f4"), np.zeros(2, ">f4"), "value"),
        (np.array(1.0), 1.0, "value"),
        ({"a": [1, (2, 3)]}, {"a": [1, (2, 4)]}, "value['a'][1][1]"),
        ({"a": 1, "b": 2}, {"a": 1}, "value['b']"),
        ({"a": 1}, {"a": 1, "b": 2}, "value['b']"),
        ([1, 2], [1, 2, 3], "value"),
        ([1, 2], (1, 2), "value"),
        (Point(1, 2), Point(1, 3), "value[1]"),
        (np.array([1, [np.zeros(1)]], object), np.array([1, [np.ones(1)]], object), "value[1][0]"),
        (structured(2, [0]), structured(3, [0]), "value['b']"),
        (structured(2, [0]), structured(2, [1]), "value['c'][0][0]"),
        (structured(2, [0])[0], structured(2, [1])[0], "value['c'][0]"),
        (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 0]), "value.mask"),
        (np.ma.array([1, 2]), np.ma.array([1, 3]), "value.data"),
        (Holder(np.arange(3)), Holder(np.zeros(3)), "value"),
        (types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2}), "value['a']"),
        (threading.Lock(), threading.Lock(), "value"),
        (Odd(1), Odd(2), "value"),
        (itself(), {"n": 1, "again": [{"n": 2, "again": []}]}, "value['again'][0]['n']"),
    ],
)
def test_the_first_place_that_differs_is_named(one, other, path):
    assert next(differences(one, other, "value"))[0] == path
    with pytest.raises(Difference):
        assert_same(one, other)


def test_what_an_array_holds_is_named_by_its_place():
    ((path, text),) = differences(np.zeros((2, 3)), np.eye(2, 3), "obs")
    assert (path, text) == ("obs", "expected 0.0, got 1.0 at [0, 0]; 2 of 6 numbers differ")


def test_more_keys_may_be_allowed():
    one, other = {"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}
    assert len(list(differences(one, other, "info"))) == 2
    assert not list(differences(one, other, "info", may_add=True))
    assert list(differences(other, one, "info", may_add=True))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | npst.arrays(npst.scalar_dtypes(), npst.array_shapes(min_dims=0, max_dims=2, max_side=3)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    | st.tuples(inner, inner),
    max_leaves=8,
)  # fmt: skip


def copied(value):
    """The same value in other objects."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in reversed(value.items())}
    if isinstance(value, (list, tuple)):
        return type(value)(copied(part) for part in value)
    return value.copy() if isinstance(value, np.ndarray) else value


@given(VALUES)
def test_a_copy_is_the_same(value):
    assert_same(value, copied(value))
    assert not noise_between([(value, copied(value), "obs")])


@given(VALUES, VALUES)
def test_noise_excuses_what_it_was_learned_from(one, other):
    found = [path for path, _ in differences(one, other, "obs")]
    noise = noise_between([(one, other, "obs")])
    assert bool(noise) == bool(found)
    assert not list(differences(one, other, "obs", noise))
    assert sorted(path for path, _ in differences(other, one, "obs")) == sorted(found)


@given(npst.arrays(npst.integer_dtypes() | npst.floating_dtypes(), 4), st.data())
def test_one_bit_is_seen(array, data):
    other = array.copy()
    place = data.draw(st.integers(0, array.nbytes - 1))
    if array.dtype.itemsize <= 8:  # a long double has bytes without a meaning
        other.view(np.uint8)[place] ^= 1
        ((_, text),) = differences(array, other, "obs")
        assert f"at [{place // array.dtype.itemsize}]; 1 of 4" in text


def noise_of(one, other):
    return noise_between([(one, other, "info")])


class TestNoise:
    def test_one_element_of_an_array(self):
        noise = noise_of({"a": np.arange(4)}, {"a": np.array([0, 9, 2, 3])})
        assert noise.names() == ["info['a'][1]"]
        assert not list(
            differences({"a": np.arange(4)}, {"a": np.array([0, 5, 2, 3])}, "info", noise)
        )
        ((path, text),) = differences(
            {"a": np.arange(4)}, {"a": np.array([0, 5, 2, 4])}, "info", noise
        )
        assert (path, text) == ("info['a']", "expected 3, got 4 at [3]; 1 of 4 numbers differ")

    def test_places_add_up(self):
        pairs = [
            (np.arange(3), np.array([7, 1, 2]), "obs"),
            (np.arange(3), np.array([0, 1, 7]), "obs"),
            (1.0, 2.0, "reward"),
        ]
        assert noise_between(pairs).names() == ["reward", "obs[0]", "obs[2]"]

    def test_many_places_are_counted(self):
        noise = noise_of(np.zeros((9, 9)), np.ones((9, 9)))
        assert noise.names() == ["info (81 of 81 numbers)"]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"a": 1}, {}),
            ({"a": 1.5}, {"a": 2.5}),
            ({"a": 1}, {"a": 1.0}),
            ({"a": np.zeros(2)}, {"a": np.zeros(3)}),
            ({"a": np.zeros(2)}, {"a": np.ones(2, np.float32)}),
        ],
    )
    def test_whole_leaves(self, one, other):
        noise = noise_of(one, other)
        assert noise == Noise(frozenset({"info['a']"}))
        assert not list(differences(one, other, "info", noise))
        assert list(differences({"b": 1}, {"b": 2}, "info", noise))

    def test_none(self):
        assert not noise_of({"a": [1, (2.0, np.nan)]}, {"a": [1, (2.0, np.nan)]})

    def test_parts_of_it(self):
        pairs = [(np.arange(2), np.zeros(2, int), "obs"), (1, 2, "info"), ("a", "b", "reward")]
        noise = noise_between(pairs)
        assert noise.paths == ["info", "obs", "reward"]
        assert noise.within("obs", "info").paths == ["info", "obs"]
        assert not noise.within("state")


class Words(spaces.Space):
    """A space as users write them, without ``==``."""

    def __init__(self, shape=None):
        super().__init__(shape)


def test_spaces_of_an_own_class_are_the_same_in_another_process():
    one, other = (spaces.Dict(a=spaces.Tuple([Words()]), n=spaces.Discrete(2)) for _ in range(2))
    assert same_space(one, other)
    assert not same_space(Words(), Words((2,)))
    assert not same_space(one, spaces.Dict(a=spaces.Tuple([Words()]), n=spaces.Discrete(3)))
    assert not same_space(Words(), spaces.Discrete(2))

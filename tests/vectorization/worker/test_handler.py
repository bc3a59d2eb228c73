"""Infos come out of a pickle as they went in, types and bits and order of keys."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite.vectorization.worker.handler import to_send


def sent(infos):
    return pickle.loads(pickle.dumps(to_send(infos), pickle.HIGHEST_PROTOCOL))


def same(one, other):
    """Equal, of the same types, with keys in the same order; NaN is itself."""
    return repr(one) == repr(other) and [
        [type(value) for value in info.values()] for info in one
    ] == [[type(value) for value in info.values()] for info in other]


NUMPY = st.one_of(
    st.floats(width=64).map(np.float64),
    st.floats(width=32).map(np.float32),
    st.integers(-(2**31), 2**31 - 1).map(np.int32),
    st.booleans().map(np.bool_),
)
VALUES = st.one_of(NUMPY, st.integers(), st.floats(), st.text(max_size=3), st.none())


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=6))
def test_any_rows(infos):
    assert same(sent(infos), infos)


@given(st.data(), st.integers(1, 20))
def test_rows_that_tell_the_same(data, size):
    kinds = data.draw(st.dictionaries(st.text(max_size=3), st.sampled_from([0, 1, 2]), min_size=1))
    columns = {0: NUMPY, 1: st.floats().map(np.float64), 2: VALUES}
    infos = [{name: data.draw(columns[kind]) for name, kind in kinds.items()} for _ in range(size)]
    assert same(sent(infos), infos)


@pytest.mark.parametrize(
    "odd",
    [
        {"x": np.float64(1.0), "deep": {"y": np.float64(2.0)}},
        {"x": np.zeros(3), "z": np.float64(0.0)},
        {"x": np.str_("text"), "z": np.float64(0.0)},
        {"x": np.datetime64("2026-11-21"), "z": np.float64(0.0)},
        {"x": np.timedelta64(3, "s"), "z": np.float64(0.0)},
        {"x": np.longdouble(1) / 3, "z": np.complex128(1j)},
    ],
)
def test_odd_values(odd):
    assert same(sent([odd] * 3), [odd] * 3)


def test_durations_keep_their_units():
    infos = [{"x": np.timedelta64(3, "s")}, {"x": np.timedelta64(3, "ms")}]
    assert same(sent(infos), infos)


def test_numbers_travel_in_columns():
    infos = [{"x": np.float64(row), "n": row} for row in range(100)]
    assert len(pickle.dumps(to_send(infos))) < len(pickle.dumps(infos)) / 2


def test_rows_are_dicts_of_their_own():
    infos = sent([{"x": np.float64(0.0)}] * 2)
    infos[0]["x"] = 1
    assert infos[1] == {"x": 0.0}

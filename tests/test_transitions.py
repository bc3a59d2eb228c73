"""Steps and batches as values."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite.nested import copy_element
from plangym_lite.transitions import (
    BatchSpec,
    Columns,
    Form,
    Rows,
    StepBatch,
    TransitionBatch,
    empty_columns,
    map_leaves,
    pack,
    write_row,
)
from plangym_lite.vectorization.memory.chunks import split_evenly, split_similar_chunks
from tests.same import assert_same

NESTED = spaces.Dict(
    {
        "a": spaces.Box(0, 1, (2,), np.float32),
        "b": spaces.Tuple((spaces.Discrete(3), spaces.Text(5))),
    }
)
SPEC = BatchSpec(NESTED, spaces.Discrete(2), (3,), np.dtype(np.uint8))


@given(size=st.integers(0, 200), n_chunks=st.integers(1, 20))
def test_splits_are_whole_ordered_and_even(size, n_chunks):
    parts = split_evenly(size, n_chunks)
    assert [row for start, stop in parts for row in range(start, stop)] == list(range(size))
    assert len(parts) == min(size, n_chunks)
    lengths = [stop - start for start, stop in parts]
    assert not lengths or max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("vector", [list(range(7)), np.arange(7), ()])
def test_split_similar_chunks(vector):
    chunks = list(split_similar_chunks(vector, 3))
    assert [item for chunk in chunks for item in chunk] == list(vector)
    assert [len(chunk) for chunk in chunks] == ([2, 2, 3] if len(vector) else [])


@pytest.mark.parametrize("n_chunks", [0, -1])
def test_no_chunks(n_chunks):
    with pytest.raises(ValueError, match="at least 1"):
        list(split_similar_chunks([1, 2], n_chunks))


def test_parts_of_rows_are_views_that_know_their_place():
    rows = Rows(np.arange(6), np.zeros((6, 2)), np.ones(6, int))
    part = rows.part(2, 5).part(1, 3)
    assert part.first == 3
    assert part.actions.tolist() == [3, 4]
    assert np.shares_memory(part.states, rows.states)


def test_columns_of_nested_observations():
    out = empty_columns(SPEC, 2)
    for row in range(2):
        write_row(out.observs, row, {"a": np.full(2, row), "b": (row, "x" * row)})
    batch = pack(SPEC, out, [{}, {}])
    assert isinstance(batch, TransitionBatch)
    assert batch.observs["a"].tolist() == [[0, 0], [1, 1]]
    assert batch.observs["b"][0].tolist() == [0, 1]
    assert batch.observs["b"][1] == ("", "x")


def test_pack_without_states():
    batch = pack(SPEC, empty_columns(SPEC, 0, Form(states=False)), [])
    assert isinstance(batch, StepBatch)
    assert batch.observs["a"].shape == (0, 2)


def test_pack_keeps_opaque_states_apart():
    """States that look like sequences do not become a 2-D array."""
    spec = BatchSpec(NESTED["a"], spaces.Discrete(2), None, None)
    out = empty_columns(spec, 2)
    assert isinstance(out, Columns)
    out.states[:] = [(1, 2), (3, 4)]
    states = pack(spec, out, [{}, {}]).states
    assert (states.shape, states.dtype) == ((2,), object)


def test_map_leaves_keeps_the_nesting():
    tree = {"a": 1, "b": (2, {"c": 3})}
    assert map_leaves(lambda one, two: one + two, tree, tree) == {"a": 2, "b": (4, {"c": 6})}


def test_copies_of_observations_are_your_own_and_typed():
    inner = np.zeros(2)
    copy = copy_element(NESTED, {"a": inner, "b": (np.int8(2), "hi")})
    inner[:] = 1
    assert_same({"a": np.zeros(2, np.float32), "b": (np.int64(2), "hi")}, copy)


@pytest.mark.parametrize(
    "change",
    [
        {"observation_space": spaces.Discrete(2)},
        {"action_space": spaces.Discrete(3)},
        {"state_shape": (4,)},
        {"state_dtype": np.dtype(np.int8)},
    ],
)
def test_specs_agree_or_not(change):
    same = {name: getattr(SPEC, name) for name in SPEC.__dataclass_fields__}
    assert SPEC.agrees_with(BatchSpec(**same))
    assert not SPEC.agrees_with(BatchSpec(**{**same, **change}))

"""StateColumn: the same as an array of states, as far as a search tree can tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import make
from plangym_lite.errors import InvalidStateError
from plangym_lite.planners import mcts
from plangym_lite.states.archive import StateArchive, StateColumn

ROWS = 12


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.integers(0, ROWS - 1),
                st.lists(st.integers(0, ROWS - 1), max_size=6, unique=True).map(
                    lambda rows: np.array(rows, int)
                ),
                st.lists(st.booleans(), min_size=ROWS, max_size=ROWS).map(np.array),
                st.builds(slice, st.integers(0, ROWS), st.integers(0, ROWS)),
            ),
            st.integers(0, 2**32),
        ),
        max_size=8,
    )
)
def test_it_reads_and_writes_like_an_array(writes):
    array, column = np.zeros((ROWS, 20), np.uint8), StateColumn(StateArchive(), ROWS)
    column[:] = array
    for rows, seed in writes:
        values = np.random.default_rng(seed).integers(3, size=array[rows].shape, dtype=np.uint8)
        array[rows], column[rows] = values, values
        assert np.array_equal(column[rows], array[rows])
        assert column[rows].shape == array[rows].shape
    assert np.array_equal(column[:], array)
    assert len(column) == ROWS


def test_mistakes_are_named():
    column = StateColumn(StateArchive(), 4)
    column[1] = np.zeros(5)
    with pytest.raises(IndexError, match="nothing was written yet"):
        column[[1, 2]]
    with pytest.raises(IndexError):
        column[4]
    with pytest.raises(ValueError, match="2 states for 3 rows"):
        column[:3] = np.zeros((2, 5))
    with pytest.raises(InvalidStateError):
        column[:3] = np.zeros((3, 6))


def test_handles_move_rows_without_adding_them():
    archive = StateArchive()
    column, other = StateColumn(archive, 4), StateColumn(archive, 2)
    column[:] = np.arange(20.0).reshape(4, 5)
    other.handles[:] = column.handles[[3, 1]]
    assert np.array_equal(other[:], column[[3, 1]])
    assert len(archive) == 4


def test_a_tree_search_does_not_tell_it_from_an_array():
    """The tree of mcts with its states in an archive, kept over two decisions: the same plan."""
    with make("ALE/MsPacman-v5", obs_type="ram") as env:
        state, _, _ = env.reset(seed=0)
        for _ in range(70):
            state = env.step(2, state).state

        def search(archive):
            rng, options = np.random.default_rng(3), {"num_simulations": 40, "max_depth": 8}
            first = mcts(env, state, archive=archive, rng=rng, **options)
            after = env.step(first.action, state).state
            return mcts(env, after, tree=first.search, rng=rng, **options)

        expected, plan = search(None), search(StateArchive())
    size = plan.search.size
    assert isinstance(plan.search.states, StateColumn)
    assert plan.actions == expected.actions
    assert plan.value == expected.value
    assert np.array_equal(plan.search.states[:size], expected.search.states[:size])
    assert len(plan.search.states.archive) <= 81  # rows that are kept are not added again

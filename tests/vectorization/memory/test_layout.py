"""Columns: no field reaches into another, and what goes in comes out."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plangym_lite.transitions import (
    PICKLED,
    STEPS,
    BatchSpec,
    Columns,
    Form,
    Rows,
    map_leaves,
    write_row,
    write_steps,
)
from plangym_lite.validation import check_actions
from plangym_lite.vectorization.memory.layout import (
    Layout,
    cut_columns,
    form_of,
    heap_of,
    pickled_leaves,
    put_pickled_leaves,
)
from tests.same import assert_same

DTYPES = [np.uint8, np.int16, np.int64, np.float32, np.float64, bool]
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def box(dtype, shape):
    high = 1 if dtype is bool else 9
    return spaces.Box(np.zeros(shape, dtype), np.full(shape, high, dtype), dtype=dtype)


array_spaces = st.one_of(
    st.builds(box, st.sampled_from(DTYPES), shapes),
    st.builds(spaces.Discrete, st.integers(1, 9), start=st.integers(-3, 3)),
    st.builds(spaces.MultiBinary, st.integers(1, 5)),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 5), min_size=1, max_size=3)),
)
leaves = array_spaces | st.builds(spaces.Text, st.integers(1, 5))
observation_spaces = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(spaces.Dict)
        | st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)
    ),
    max_leaves=5,
)
action_spaces = array_spaces | array_spaces.map(lambda space: spaces.Dict(go=space))
state_layouts = st.one_of(
    st.just((None, None)),
    st.tuples(st.integers(0, 70).map(lambda size: (size,)), st.sampled_from(DTYPES).map(np.dtype)),
)
specs = st.builds(
    lambda observation, action, layout: BatchSpec(observation, action, *layout),
    observation_spaces,
    action_spaces,
    state_layouts,
)


def columns_of(spec, capacity, form=STEPS, heap=0):
    layout = Layout(spec, capacity, form, heap)
    memory = np.full(layout.nbytes, 0xAA, np.uint8)
    return layout, memory, layout.view(memory)


def arrays_of(columns):
    found = [*columns.rows, columns.out.states, *columns.out[2:]]
    map_leaves(found.append, columns.out.observs)
    return [array for array in found if isinstance(array, np.ndarray)]


@given(specs, st.integers(1, 40))
def test_fields_do_not_overlap(spec, capacity):
    layout, memory, columns = columns_of(spec, capacity)
    start = memory.__array_interface__["data"][0]
    ranges = sorted(
        (array.__array_interface__["data"][0] - start, array.nbytes)
        for array in arrays_of(columns)
        if array.nbytes
    )
    ends = [offset + size for offset, size in ranges]
    assert all(offset % 64 == 0 for offset, _ in ranges)
    assert all(end <= offset for end, (offset, _) in zip(ends, ranges[1:], strict=False))
    assert not ends or ends[-1] <= layout.nbytes


@given(specs, st.integers(1, 20), st.data())
def test_rows_in_come_out(spec, capacity, data):
    start = data.draw(st.integers(0, capacity - 1))
    stop = data.draw(st.integers(start + 1, capacity))
    actions, states = draw_rows(spec, capacity, data)
    dts = np.arange(1, capacity + 1)
    given = Rows(actions, states, dts)
    heap = heap_of(spec, STEPS, given, {})
    assert (heap is None) == (spec.state_shape is not None)
    _, _, columns = columns_of(spec, capacity, STEPS, len(heap.data) if heap else 0)
    columns.fill(given, heap)
    rows = columns.rows_of(start, stop)
    assert rows.first == start
    assert_same(list(actions[start:stop]), list(rows.actions))
    assert_same(list(states[start:stop]), list(rows.states))
    assert_same(dts[start:stop], rows.dts)


def draw_rows(spec, size, data):
    actions = check_actions(spec.action_space, [spec.action_space.sample() for _ in range(size)])
    if spec.state_shape is None:
        return actions, [("state", row) for row in range(size)]
    states = np.arange(size * spec.state_shape[0]).reshape(size, -1).astype(spec.state_dtype)
    return actions, data.draw(st.sampled_from([states, list(states)]))


@given(specs, st.integers(1, 12), st.data())
def test_results_written_by_chunks_are_collected_whole(spec, capacity, data):
    _, _, columns = columns_of(spec, capacity)
    samples = [spec.observation_space.sample() for _ in range(capacity)]
    middle = data.draw(st.integers(0, capacity))
    whole = columns.out_of(0, capacity)
    for start, stop in ((middle, capacity), (0, middle)):  # as two workers would, in any order
        out = columns.out_of(start, stop)
        for row in range(stop - start):
            write_row(out.observs, row, samples[start + row])
            if spec.state_shape is None:
                out.states[row] = ("state", start + row)
        put_pickled_leaves(whole, start, stop, pickled_leaves(out))
    expected = Columns(None, map_leaves(list, whole.observs), *whole[2:])
    for row, sample in enumerate(samples):
        write_row(expected.observs, row, sample)
    assert_same(expected.observs, map_leaves(list, whole.observs))
    if spec.state_shape is None:
        assert whole.states == [("state", row) for row in range(capacity)]


def test_no_state_is_written_where_none_is_asked_for():
    spec = BatchSpec(spaces.Discrete(2), spaces.Discrete(2), (3,), np.dtype(np.float64))
    _, _, columns = columns_of(spec, 4, Form(states=False))
    assert columns.out.states is None
    assert cut_columns(columns.out_of(1, 3), 0, 1).states is None


def test_states_of_another_length_are_refused():
    spec = BatchSpec(spaces.Discrete(2), spaces.Discrete(2), (3,), np.dtype(np.float64))
    _, _, columns = columns_of(spec, 4)
    with pytest.raises(ValueError, match="broadcast"):
        columns.fill(Rows(np.zeros(2, int), np.zeros((2, 5)), np.ones(2, int)))


@given(specs, st.integers(1, 5), st.integers(1, 4), st.sampled_from(["last", "all", None]))
def test_rollouts_have_an_axis_of_steps(spec, capacity, steps, observs):
    _, _, columns = columns_of(spec, capacity, Form(True, steps, observs))
    assert columns.out.rewards.shape == (capacity, steps)
    assert columns.out.lengths.shape == (capacity,)
    if columns.rows.actions is not None:
        assert columns.rows.actions.shape == (capacity, steps, *spec.action_space.shape)
    if observs is None:
        assert columns.out.observs is None
        return
    samples = [spec.observation_space.sample() for _ in range(steps)]
    out = columns.out_of(0, capacity)
    if observs == "all":
        write_steps(out.observs, capacity - 1, samples)
        last = map_leaves(lambda leaf: leaf[-1][-1], out.observs)
    else:
        write_row(out.observs, capacity - 1, samples[-1])
        last = map_leaves(lambda leaf: leaf[-1], out.observs)
    assert_same(map_leaves(np.asarray, last), map_leaves(np.asarray, samples[-1]))


@given(
    hnp.arrays(st.sampled_from([np.float32, np.float64]), st.tuples(st.integers(1, 9), st.just(2))),
    st.booleans(),
)
def test_actions_keep_their_dtype(actions, nested):
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    rows = list(actions) if not nested else [{"go": action} for action in actions]
    actions = np.array(actions) if not nested else rows
    space = spaces.Dict(go=space) if nested else space
    spec = BatchSpec(space, space, (1,), np.dtype(float))
    form = form_of(STEPS, space, actions)
    is_usual = (rows[0]["go"] if nested else rows[0]).dtype == np.float32
    assert form == (STEPS if is_usual else STEPS._replace(actions=PICKLED if nested else "<f8"))
    given = Rows(actions, np.zeros((len(rows), 1)), np.ones(len(rows), np.int64))
    heap = heap_of(spec, form, given, {})
    assert (heap is None) == (is_usual or not nested)
    _, _, columns = columns_of(spec, len(rows), form, len(heap.data) if heap else 0)
    columns.fill(given, heap)
    assert_same(list(actions), list(columns.rows_of(0, len(rows)).actions))


def test_an_object_of_many_rows_is_pickled_once():
    spec = BatchSpec(spaces.Discrete(2), spaces.Discrete(2), None, None)
    states = [("a", np.zeros(1000)), ("b",)]
    rows = Rows(np.zeros(50, int), [states[row % 2] for row in range(50)], np.ones(50, int))
    heap = heap_of(spec, STEPS, rows, {})
    assert 8000 < len(heap.data) < 9000
    _, _, columns = columns_of(spec, 50, STEPS, len(heap.data))
    columns.fill(rows, heap)
    found = columns.rows_of(7, 50).states
    assert_same(rows.states[7:], found)
    assert len({id(state) for state in found}) == 2


def test_blocks_are_not_shared_by_forms():
    """``np.dtype("f8") == None`` holds, so that forms name dtypes by strings."""
    space = spaces.Box(-1, 1, (2,), np.float32)
    assert form_of(STEPS, space, np.zeros((1, 2))) != STEPS

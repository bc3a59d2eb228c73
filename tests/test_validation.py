"""What a caller may hand over, and what it becomes."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plangym_lite import InvalidBatchError, InvalidStateError, make
from plangym_lite.transitions import BatchSpec
from plangym_lite.validation import check_action, check_dt, check_state, prepare_rows
from tests.same import assert_same, collect_states

BOX = spaces.Box(-1, 1, (2,), np.float32)
NUMBER = spaces.Box(-1, 1, (), np.float32)
PAIR = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3)))


def spec_for(action_space):
    return BatchSpec(BOX, action_space, (3,), np.dtype(np.float64))


def rows_for(space, actions, dt=1):
    return prepare_rows(spec_for(space), actions, np.zeros((_length(actions), 3)), dt)


def _length(actions):
    return len(next(iter(actions.values())) if isinstance(actions, dict) else actions)


class TestActions:
    @given(
        st.lists(st.integers(3, 7), max_size=9),
        st.sampled_from([np.int8, np.uint32, np.float64, np.float16]),
    )
    def test_discrete_with_a_start(self, actions, dtype):
        space = spaces.Discrete(5, start=3)
        rows = rows_for(space, np.array(actions, dtype))
        assert rows.actions.tolist() == actions
        assert rows.actions.dtype == space.dtype

    @given(hnp.arrays(np.float64, (4, 2), elements=st.floats(-1, 1)))
    def test_boxes_keep_the_bits_of_floats(self, actions):
        single = actions.astype(np.float32)
        for form in (actions, actions.tolist(), list(actions), actions.astype(">f8")):
            assert_same(actions, rows_for(BOX, form).actions)
        for form in (single, list(single), [list(row) for row in single]):
            assert_same(single, rows_for(BOX, form).actions)

    @pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, np.longdouble, bool])
    def test_boxes_cast_other_dtypes_to_their_own(self, dtype):
        assert_same(np.ones((3, 2), np.float32), rows_for(BOX, np.ones((3, 2), dtype)).actions)

    def test_mixed_actions_are_what_numpy_reads(self):
        mixed = [np.ones(2, np.float32), np.full(2, 0.1)]
        assert_same(np.array([[1, 1], [0.1, 0.1]]), rows_for(BOX, mixed).actions)

    @pytest.mark.parametrize(
        "form", [[[1], [0]], np.array([[1.0], [0.0]]), np.array([1, 0], object)]
    )
    def test_one_more_axis_is_forgiven(self, form):
        assert rows_for(spaces.Discrete(2), form).actions.tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("space", "actions", "message"),
        [
            (spaces.Discrete(2), [0, 2], "row 1"),
            (spaces.Discrete(2, start=1), [0], "row 0"),
            (spaces.Discrete(2), [0, 0.5], "whole numbers"),
            (spaces.Discrete(2), [0, float("-inf")], "whole numbers"),
            (spaces.Discrete(2), ["0"], "must be numbers"),
            (spaces.Discrete(2), [[0, 1]], "shape"),
            (spaces.Discrete(2), [[0], [0, 1]], "do not form an array"),
            (spaces.Discrete(2), [None], "do not form an array|numbers"),
            (spaces.MultiDiscrete([2, 3]), [[1, 2], [2, 0]], "row 1"),
            (spaces.MultiBinary(2), [[0, 2]], "row 0"),
            (BOX, [[0.0, np.nan]], "NaN in the action of row 0"),
            (BOX, [[0.0]], "shape"),
            (BOX, 0.5, "actions must be a list"),
            (PAIR, [(0, 1), (2, 0)], "action 1"),
            (PAIR, (np.array([0, 1]), np.array([0])), "columns of"),
            (spaces.Dict(a=spaces.Discrete(2)), {"b": [0]}, "columns of"),
        ],
    )
    def test_wrong_actions(self, space, actions, message):
        with pytest.raises(InvalidBatchError, match=message):
            prepare_rows(spec_for(space), actions, [], 1)

    @pytest.mark.parametrize(
        ("space", "actions", "message"),
        [
            (spaces.Discrete(2), [0, 1], r"\[B, T\]"),
            (spaces.Discrete(2), [[0, 1], [0]], "do not form an array"),
            (spaces.Discrete(2), [[0, 1], [0, 2]], "row 1"),
            (spaces.Discrete(2), [[]], "at least one action"),
            (spaces.Discrete(2), 1, r"\[B, T"),
            (BOX, [[[0.0, 0.0], [0.0, np.nan]]], "NaN in the action of row 0"),
            (BOX, [[0.0, 0.0]], "shape"),
            (PAIR, [[(0, 1)], [(2, 0)]], "action 0"),
            (PAIR, [[(0, 1)], []], "same number"),
            (PAIR, [[], []], "at least one action"),
            (PAIR, 3, "list of rows"),
        ],
    )
    def test_wrong_sequences(self, space, actions, message):
        with pytest.raises(InvalidBatchError, match=message):
            prepare_rows(spec_for(space), actions, [], 1, has_steps=True)

    def test_nested_actions_as_columns_or_rows(self):
        columns = np.array([0, 1]), np.array([2, 0])
        assert rows_for(PAIR, [(0, 2), (1, 0)]).actions == [(0, 2), (1, 0)]
        assert prepare_rows(spec_for(PAIR), columns, np.zeros((2, 3)), 1).actions == [
            (0, 2),
            (1, 0),
        ]
        space = spaces.Dict(a=spaces.Discrete(2), b=BOX)
        made = rows_for(space, {"a": [0, 1], "b": np.zeros((2, 2), np.float32)}).actions
        assert [row["a"] for row in made] == [0, 1]

    def test_nested_actions_keep_the_bits_of_floats(self):
        space = spaces.Dict(a=spaces.Discrete(2), b=spaces.Tuple((BOX, NUMBER)))
        given = {"a": np.int8(1), "b": (np.full(2, 0.1), np.float32(0.1))}
        expected = {**given, "a": np.int64(1)}
        assert_same([expected] * 2, rows_for(space, [given] * 2).actions)
        assert_same(expected, check_action(space, given))
        lists = {"a": 1, "b": ([0.1, 0.2], 0.1)}
        expected = {"a": np.int64(1), "b": (np.array([0.1, 0.2]), np.float64(0.1))}
        assert_same(expected, check_action(space, lists))

    def test_nested_actions_are_your_own(self):
        space, mine = spaces.Dict(a=spaces.Discrete(2), b=BOX, c=NUMBER), np.ones(2, np.float32)
        [made] = rows_for(space, [{"a": 1, "b": mine, "c": np.array(0.5, np.float32)}]).actions
        mine[:] = 0
        assert_same({"a": np.int64(1), "b": np.ones(2, np.float32), "c": np.float32(0.5)}, made)

    def test_a_tuple_of_dict_actions(self):
        space = spaces.Dict(a=spaces.Discrete(2))
        assert rows_for(space, ({"a": 0}, {"a": 1})).actions == [{"a": 0}, {"a": 1}]

    def test_one_action(self):
        assert check_action(spaces.Discrete(3), np.float32(2)) == 2
        assert check_action(spaces.Discrete(3), 2).dtype == np.int64
        assert check_action(PAIR, (1, 2)) == (1, 2)
        with pytest.raises(InvalidBatchError):
            check_action(PAIR, (1, 3))

    @pytest.mark.parametrize(
        ("action", "expected"),
        [
            ([0.1, 0.2], np.array([0.1, 0.2])),
            (np.array([0.1, 0.2]), np.array([0.1, 0.2])),
            (np.array([0.1, 0.2], np.float32), np.array([0.1, 0.2], np.float32)),
            ([1, 0], np.array([1, 0], np.float32)),
        ],
    )
    def test_one_action_for_a_box(self, action, expected):
        assert_same(expected, check_action(BOX, action))


class TestDt:
    @given(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
    def test_one_for_each_row(self, dts):
        for form in (dts, tuple(dts), np.array(dts, np.int16), np.array(dts, float)):
            rows = rows_for(spaces.Discrete(2), [0] * len(dts), form)
            assert (rows.dts.tolist(), rows.dts.dtype) == (dts, np.int64)

    @pytest.mark.parametrize("dt", [2, np.int8(2), 2.0, np.array(2)])
    def test_one_for_all(self, dt):
        assert rows_for(spaces.Discrete(2), [0, 1], dt).dts.tolist() == [2, 2]
        assert type(check_dt(dt)) is int

    @pytest.mark.parametrize(
        "dt", [0, -3, 1.5, True, np.nan, np.inf, "1", None, [], [1, 1, 1], [[1, 1]]]
    )
    def test_wrong(self, dt):
        with pytest.raises(InvalidBatchError):
            rows_for(spaces.Discrete(2), [0, 1], dt)


class TestStates:
    def test_a_fitting_array_is_not_copied(self):
        states = np.zeros((2, 3))
        assert prepare_rows(spec_for(PAIR), [(0, 0)] * 2, states, 1).states is states

    @pytest.mark.parametrize("name", ["FrozenLake-v1", "CartPole-v1"])
    @pytest.mark.parametrize("n_workers", [None, 2])
    def test_states_may_lie_in_memory_as_they_like(self, name, n_workers):
        with make(name, n_workers=n_workers) as env:
            states, actions = collect_states(env, 12)
            states = np.array(states)
            expected = env.step_batch(actions, states)
            spread = np.repeat(states, 2, axis=1)[:, ::2]
            for layout in (np.asfortranarray(states), spread, list(spread)):
                assert_same(expected, env.step_batch(actions, layout))
                env.set_state(layout[5])
                assert_same(states[5], env.get_state())

    def test_any_sequence_of_opaque_states(self):
        spec = BatchSpec(BOX, PAIR, None, None)
        for form in (["a", b"b"], ("a", b"b"), np.array(["a", b"b"], object)):
            assert prepare_rows(spec, [(0, 0)] * 2, form, 1).states == ["a", b"b"]

    @pytest.mark.parametrize(
        ("states", "message"),
        [
            (np.zeros((2, 4)), r"shape \[B, 3\]"),
            (np.zeros((2, 3), np.float32), "float64"),
            ([np.zeros(3), np.zeros(2)], "state 1 must be"),
            ([np.zeros(3), None], "state 1 is None"),
            ({"a": 1}, "an array or a list"),
            (3, "an array or a list"),
            (iter([1]), "an array or a list"),
        ],
    )
    def test_wrong_states(self, states, message):
        with pytest.raises(InvalidStateError, match=message):
            prepare_rows(spec_for(PAIR), [(0, 0)] * 2, states, 1)

    def test_a_list_for_a_kernel_is_joined(self):
        spec = BatchSpec(BOX, PAIR, (3,), np.dtype(float), is_batched=True)
        states = list(np.arange(24.0).reshape(8, 3))
        for form in (states, tuple(states), [*states[:7], np.arange(42.0)[::2][-3:]]):
            rows = prepare_rows(spec, [(0, 0)] * 8, form, 1)
            assert_same(np.array(form), rows.states)
        others = (
            np.zeros(2),
            np.zeros((3, 1)),
            np.zeros(3, np.float32),
            np.zeros(3, ">f8"),
            None,
            0.0,
        )
        for other in others:
            with pytest.raises(InvalidStateError, match="state 5 "):
                prepare_rows(spec, [(0, 0)] * 8, [*states[:5], other, *states[6:]], 1)
        with pytest.raises(InvalidStateError, match="state 0 "):  # as many numbers in all
            prepare_rows(spec, [(0, 0)] * 8, [np.zeros(2), np.zeros(4), *states[2:]], 1)

    def test_opaque_states_may_not_be_missing(self):
        with pytest.raises(InvalidStateError, match="state 0 is None"):
            prepare_rows(BatchSpec(BOX, PAIR, None, None), [(0, 0)], [None], 1)

    def test_the_message_names_shape_and_dtype(self):
        with pytest.raises(InvalidStateError, match=r"ndarray of shape \(2,\) and dtype uint8"):
            check_state(spec_for(PAIR), np.zeros(2, np.uint8))

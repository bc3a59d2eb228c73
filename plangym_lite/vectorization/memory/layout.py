"""What a batch looks like in one block of memory: names, dtypes, shapes, offsets.

Each column holds one field for all rows, and starts on a cache line::

    actions | states in | dts | states out | observations | rewards | flags

Nested actions and observations have a column for each leaf. Fields that are not arrays of a fixed
shape (opaque states, text in actions or observations, nested actions of a rollout) have no column
here: their rows travel pickled in the messages. Actions keep their dtype: where it is not that of
the space, the form says so, and nested actions with such a leaf have no column either.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.nested import ARRAY_SPACES
from plangym_lite.transitions import (
    PICKLED,
    STEPS,
    BatchSpec,
    Columns,
    Form,
    Rows,
    empty_tree,
    map_leaves,
    write_row,
)

__all__ = [
    "IMAGE_BYTES",
    "BatchColumns",
    "Layout",
    "LeftOver",
    "cut_columns",
    "form_of",
    "has_only_arrays",
    "is_image",
    "odd_leaves",
    "put_columns",
    "put_odd_leaves",
]

LeftOver = tuple[Any, Any]
"""Actions and states that have no column, and travel with the message; ``None``: there are none."""

IMAGE_BYTES = 16 << 10
"""Observations from this size on are images: handed out as views of shared memory."""

CACHE_LINE = 64
MOST_VIEWS = 64


class Layout:
    """Where the columns of ``capacity`` rows of a batch of that ``form`` lie in a block."""

    def __init__(self, spec: BatchSpec, capacity: int, form: Form = STEPS) -> None:
        self.spec = spec
        self.capacity = capacity
        self.form = form
        self.nbytes = 0
        steps = () if form.steps is None else (form.steps,)
        obs_axes = steps if form.observs == "all" else ()
        self._actions = self._place_actions(spec.action_space, steps)
        self._states_in = self._place_states()
        self._dts = self._place(np.int64)
        self._states_out = self._place_states() if form.states else None
        self._observs: Any = None
        if form.observs is not None:
            place = lambda leaf: self._place_space(leaf, obs_axes)  # noqa: E731
            self._observs = empty_tree(spec.observation_space, place)
        self._rewards = self._place(np.float64, *steps)
        self._terminateds = self._place(np.bool_)
        self._truncateds = self._place(np.bool_)
        self._lengths = self._place(np.int64) if steps else None

    def view(self, memory: np.ndarray) -> BatchColumns:
        """The columns in ``memory``, a uint8 array of at least ``nbytes``."""

        def column(field: Any) -> Any:
            return None if field is None else field.within(memory)

        states = [None] * self.capacity if self._has_odd_states else column(self._states_out)
        return BatchColumns(
            Rows(map_leaves(column, self._actions), column(self._states_in), column(self._dts)),
            Columns(
                states,
                self.view_observs(memory),
                column(self._rewards),
                column(self._terminateds),
                column(self._truncateds),
                column(self._lengths),
                self.form,
            ),
        )

    def view_observs(self, memory: np.ndarray) -> Any:
        """The column of observations alone."""
        if not self.form.observs:
            return None
        odd = lambda: [None] * self.capacity  # noqa: E731
        return map_leaves(
            lambda field: odd() if field is None else field.within(memory), self._observs
        )

    @property
    def _has_odd_states(self) -> bool:
        return self.form.states and self.spec.state_shape is None

    def _place_actions(self, space: Any, steps: tuple[int, ...]) -> Any:
        if isinstance(space, ARRAY_SPACES):
            return self._place(self.form.actions or space.dtype, *steps, *space.shape)
        if steps or self.form.actions == PICKLED or not has_only_arrays(space):
            return None
        return empty_tree(space, lambda leaf: self._place_space(leaf, ()))

    def _place_space(self, space: Any, axes: tuple[int, ...]) -> _Field | None:
        if not isinstance(space, ARRAY_SPACES):
            return None
        return self._place(space.dtype, *axes, *space.shape)

    def _place_states(self) -> _Field | None:
        if self.spec.state_shape is None:
            return None
        return self._place(self.spec.state_dtype, *self.spec.state_shape)

    def _place(self, dtype: Any, *shape: int) -> _Field:
        field = _Field(self.nbytes, (self.capacity, *shape), np.dtype(dtype))
        self.nbytes += -(-field.nbytes // CACHE_LINE) * CACHE_LINE
        return field


class _Field:
    def __init__(self, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.offset, self.shape, self.dtype = offset, shape, dtype
        self.nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize

    def within(self, memory: np.ndarray) -> np.ndarray:
        return np.ndarray(self.shape, self.dtype, memory, self.offset)


class BatchColumns:
    """The columns of one block: ``rows`` on the way in, ``out`` on the way out."""

    def __init__(self, rows: Rows, out: Columns) -> None:
        self.rows = rows
        self.out = out
        self.has_odd_leaves = bool(odd_leaves(out))
        inputs = rows.actions, rows.states
        self.hold_everything = not self.has_odd_leaves and all(part is not None for part in inputs)
        found: list[bool] = []
        map_leaves(lambda leaf: found.append(is_image(leaf)), out.observs)
        self.has_images = any(found)
        self._views: dict[tuple[int, int], Columns] = {}  # of pieces, where all are arrays

    def fill(self, start: int, stop: int, rows: Rows) -> LeftOver:
        """Write rows ``start`` to ``stop`` of a batch; return the actions and states left over.

        Left over (``None`` otherwise) are those that have no column.
        """
        actions, states = rows.actions[start:stop], rows.states[start:stop]
        self.rows.dts[start:stop] = rows.dts[start:stop]
        if isinstance(self.rows.actions, np.ndarray):
            self.rows.actions[start:stop] = actions
            actions = None
        elif self.rows.actions is not None:
            for row, action in enumerate(actions, start):
                write_row(self.rows.actions, row, action)
            actions = None
        if self.rows.states is not None:
            if isinstance(states, np.ndarray):
                self.rows.states[start:stop] = states
            else:
                np.stack(states, out=self.rows.states[start:stop])
            states = None
        return actions, states

    def rows_of(self, start: int, stop: int, left_over: LeftOver) -> Rows:
        """Rows ``start`` to ``stop`` as the loop over rows takes them."""
        actions, states = left_over
        rows = self.rows
        if actions is None and isinstance(rows.actions, np.ndarray):
            actions = rows.actions[start:stop]
        elif actions is None:
            actions = [_nested_action(rows.actions, row) for row in range(start, stop)]
        return Rows(
            actions,
            rows.states[start:stop] if states is None else states,
            rows.dts[start:stop],
            start,
        )

    def out_of(self, start: int, stop: int) -> Columns:
        """The same rows of the outgoing columns: views of arrays, copies of lists."""
        views = self._views.get((start, stop))
        if views is None:
            views = cut_columns(self.out, start, stop)
            if not self.has_odd_leaves and len(self._views) < MOST_VIEWS:
                self._views[start, stop] = views
        return views


def form_of(form: Form, space: Any, actions: Any) -> Form:
    """The form of a batch with these checked actions, whose dtypes may not be the space's."""
    if isinstance(actions, np.ndarray):
        return form if actions.dtype == space.dtype else form._replace(actions=actions.dtype.str)
    if form.steps is not None or not has_only_arrays(space):
        return form  # they have no column anyway
    if all(_has_dtypes(space, action) for action in actions):
        return form
    return form._replace(actions=PICKLED)


def _has_dtypes(space: Any, action: Any) -> bool:
    """Whether all leaves of a nested action have the dtypes of their spaces."""
    found: list[bool] = []
    map_leaves(
        lambda leaf, value: found.append(value.dtype == leaf.dtype),
        empty_tree(space, lambda leaf: leaf),
        action,
    )
    return all(found)


def is_image(column: Any) -> bool:
    """Whether the observations in a column, if it is an array, are images."""
    return isinstance(column, np.ndarray) and column.nbytes >= IMAGE_BYTES * len(column)


def has_only_arrays(space: Any) -> bool:
    """Whether every leaf of a nested space is an array of fixed shape and dtype."""
    found: list[bool] = []
    empty_tree(space, lambda leaf: found.append(isinstance(leaf, ARRAY_SPACES)))
    return all(found)


def _nested_action(tree: Any, row: int) -> Any:
    """One action of your own out of its columns."""
    return map_leaves(lambda leaf: leaf[row].copy(), tree)


def cut_columns(out: Columns, start: int, stop: int) -> Columns:
    """Rows ``start`` to ``stop``: views of arrays, copies of lists."""
    cut = lambda leaf: None if leaf is None else leaf[start:stop]  # noqa: E731
    fields: list[Any] = [map_leaves(cut, field) for field in out[:-1]]
    return Columns._make([*fields, out.form])


def put_columns(target: Columns, source: Columns) -> None:
    """Copy the arrays of some columns, those that are given, into others of the same layout."""

    def put(whole: Any, part: Any) -> None:
        if isinstance(whole, np.ndarray) and part is not None:
            whole[:] = part

    for field in range(len(target) - 1):  # all but the form
        map_leaves(put, target[field], source[field])


def odd_leaves(out: Columns) -> list[list[Any]]:
    """The outgoing columns that are lists, in a fixed order."""
    found: list[list[Any]] = []
    leaves = lambda leaf: found.append(leaf) if isinstance(leaf, list) else None  # noqa: E731
    leaves(out.states)
    map_leaves(leaves, out.observs)
    return found


def put_odd_leaves(out: Columns, start: int, stop: int, found: list[list[Any]]) -> None:
    """Put what ``odd_leaves`` found for rows ``start`` to ``stop`` into the whole columns."""
    for whole, part in zip(odd_leaves(out), found, strict=True):
        whole[start:stop] = part

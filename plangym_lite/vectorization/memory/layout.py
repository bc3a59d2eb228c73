"""The layout of a batch in a block of memory: names, dtypes, shapes, offsets.

Each column holds one field for all rows, and starts on a cache line::

    chunk at work | actions | states in | dts | seeds | states out | observations | rewards | flags
    | heap

Nested actions and observations have a column for each leaf. Inputs that are not arrays of a fixed
shape (opaque states, text in actions, nested actions of a rollout) are pickled into the heap, each
distinct object once, and a column holds their places; outputs of that kind are pickled in RESULT.
Actions keep their dtype: the form holds it if it is not that of the space, and nested actions with
such a leaf are pickled.
"""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import numpy as np

from plangym_lite.nested import ARRAY_SPACES
from plangym_lite.recipe.parcel import dumps_each
from plangym_lite.transitions import (
    PICKLED,
    STEPS,
    BatchSpec,
    Columns,
    Form,
    Rows,
    empty_tree,
    leaves_of,
    map_leaves,
    write_row,
)

__all__ = [
    "IMAGE_BYTES",
    "MOST_TAKERS",
    "BatchColumns",
    "Heap",
    "Layout",
    "cut_columns",
    "form_of",
    "has_action_column",
    "heap_of",
    "has_only_arrays",
    "is_image",
    "pickled_leaves",
    "put_columns",
    "put_pickled_leaves",
]

MOST_TAKERS = 256
"""Rows of the column ``at_work``, which holds the chunk that each worker runs."""

IMAGE_BYTES = 16 << 10
"""Bytes from which observations are images: returned as views of shared memory."""

CACHE_LINE = 64
MOST_VIEWS = 64


class Heap(NamedTuple):
    """Inputs of a batch that have no column, pickled."""

    data: bytes
    actions: np.ndarray | None  # [B, 2] start and end of each in ``data``; None: they have a column
    states: np.ndarray | None


class Layout:
    """The places of the columns of ``capacity`` rows, and of ``heap`` bytes for pickles."""

    def __init__(self, spec: BatchSpec, capacity: int, form: Form = STEPS, heap: int = 0) -> None:
        self.spec = spec
        self.capacity = capacity
        self.form = form
        self.heap = heap
        self.nbytes = 0
        self._at_work = self._field((MOST_TAKERS, 2), np.int64)
        steps = () if form.steps is None else (form.steps,)
        obs_axes = steps if form.observs == "all" else ()
        self._actions = self._place_actions(spec.action_space, steps)
        self._states_in = self._place_states()
        self._dts = self._place(np.int64)
        self._seeds = self._place(np.int64) if form.seeds else None
        self._states_out = self._place_states() if form.states else None
        self._observs: Any = None
        if form.observs is not None:
            place = lambda leaf: self._place_space(leaf, obs_axes)  # noqa: E731
            self._observs = empty_tree(spec.observation_space, place)
        self._rewards = self._place(np.float64, *steps)
        self._terminateds = self._place(np.bool_)
        self._truncateds = self._place(np.bool_)
        self._lengths = self._place(np.int64) if steps else None
        self._places = self._place(np.int64, 2, 2)  # in the heap, of the action and the state
        self._heap = self._field((heap,), np.uint8)

    def view(self, memory: np.ndarray) -> BatchColumns:
        """The columns in ``memory``, a uint8 array of at least ``nbytes``."""

        def column(field: Any) -> Any:
            return None if field is None else field.within(memory)

        opaque = self.form.states and self.spec.state_shape is None
        states = [None] * self.capacity if opaque else column(self._states_out)
        inputs = map_leaves(column, self._actions), column(self._states_in), column(self._dts)
        rows = Rows(*inputs, seeds=column(self._seeds))
        return BatchColumns(
            rows,
            Columns(
                states,
                self.view_observs(memory),
                column(self._rewards),
                column(self._terminateds),
                column(self._truncateds),
                column(self._lengths),
                self.form,
            ),
            column(self._at_work),
            column(self._places),
            column(self._heap),
        )

    def view_observs(self, memory: np.ndarray) -> Any:
        if not self.form.observs:
            return None
        objects = lambda: [None] * self.capacity  # noqa: E731
        return map_leaves(
            lambda field: objects() if field is None else field.within(memory), self._observs
        )

    def _place_actions(self, space: Any, steps: tuple[int, ...]) -> Any:
        if isinstance(space, ARRAY_SPACES):
            return self._place(self.form.actions or space.dtype, *steps, *space.shape)
        if not has_action_column(space, self.form):
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
        return self._field((self.capacity, *shape), dtype)

    def _field(self, shape: tuple[int, ...], dtype: Any) -> _Field:
        field = _Field(self.nbytes, shape, np.dtype(dtype))
        self.nbytes += -(-field.nbytes // CACHE_LINE) * CACHE_LINE
        return field


class _Field:
    def __init__(self, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.offset, self.shape, self.dtype = offset, shape, dtype
        self.nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize

    def within(self, memory: np.ndarray) -> np.ndarray:
        return np.ndarray(self.shape, self.dtype, memory, self.offset)


class BatchColumns:
    """The columns of one block: ``rows`` on the way in, ``out`` on the way out.

    Args:
        at_work: [MOST_TAKERS, 2] int64, start and stop of the chunk that each worker runs.
        places: [B, 2, 2] int64, start and end in ``heap`` of each row's action and state.
        heap: [.] uint8, pickled inputs.
    """

    def __init__(
        self, rows: Rows, out: Columns, at_work: np.ndarray, places: np.ndarray, heap: np.ndarray
    ) -> None:
        self.rows = rows
        self.out = out
        self.at_work = at_work
        self._places, self._heap = places, heap
        self.has_pickled_leaves = bool(pickled_leaves(out))
        self.has_images = any(map(is_image, leaves_of(out.observs)))
        self._views: dict[tuple[int, int], Columns] = {}  # by chunk, if all columns are arrays

    def fill(self, rows: Rows, heap: Heap | None = None) -> None:
        size = len(rows.dts)
        self.rows.dts[:size] = rows.dts
        if self.rows.seeds is not None:
            self.rows.seeds[:size] = rows.seeds
        if isinstance(self.rows.actions, np.ndarray):
            self.rows.actions[:size] = rows.actions
        elif self.rows.actions is not None:
            for row, action in enumerate(rows.actions):
                write_row(self.rows.actions, row, action)
        if isinstance(self.rows.states, np.ndarray):
            if isinstance(rows.states, np.ndarray):
                self.rows.states[:size] = rows.states
            else:
                np.stack(rows.states, out=self.rows.states[:size])
        if heap is not None:
            self._heap[: len(heap.data)] = np.frombuffer(heap.data, np.uint8)
            for field, places in enumerate((heap.actions, heap.states)):
                if places is not None:
                    self._places[:size, field] = places

    def rows_of(self, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop`` as the loop over rows takes them."""
        rows = self.rows
        actions, states = rows.actions, rows.states
        if isinstance(actions, np.ndarray):
            actions = actions[start:stop]
        elif actions is not None:
            actions = [_nested_action(actions, row) for row in range(start, stop)]
        else:
            actions = [self._load(*place) for place in self._places[start:stop, 0].tolist()]
        if states is not None:
            states = states[start:stop]
        else:
            places = [tuple(place) for place in self._places[start:stop, 1].tolist()]
            loaded = {place: self._load(*place) for place in set(places)}
            states = [loaded[place] for place in places]
        seeds = None if rows.seeds is None else rows.seeds[start:stop]
        return Rows(actions, states, rows.dts[start:stop], start, seeds)

    def _load(self, start: int, end: int) -> Any:
        return pickle.loads(self._heap[start:end].data)

    def out_of(self, start: int, stop: int) -> Columns:
        """The same rows of the outgoing columns: views of arrays, copies of lists."""
        views = self._views.get((start, stop))
        if views is None:
            views = cut_columns(self.out, start, stop)
            if not self.has_pickled_leaves and len(self._views) < MOST_VIEWS:
                self._views[start, stop] = views
        return views


def has_action_column(space: Any, form: Form) -> bool:
    """Whether the actions of a batch have columns."""
    if isinstance(space, ARRAY_SPACES):
        return True
    return form.steps is None and form.actions != PICKLED and has_only_arrays(space)


def heap_of(spec: BatchSpec, form: Form, rows: Rows, known: dict[int, Any]) -> Heap | None:
    """The inputs without a column, pickled, ``known`` objects by name; ``None``: all have one."""
    has_actions = has_action_column(spec.action_space, form)
    if has_actions and spec.state_shape is not None:
        return None
    actions = [] if has_actions else list(rows.actions)
    states = [] if spec.state_shape is not None else list(rows.states)
    data, places = dumps_each([*actions, *states], known)
    n = len(actions)
    return Heap(data, places[:n] if n else None, places[n:] if states else None)


def form_of(form: Form, space: Any, actions: Any) -> Form:
    """The form of a batch with these validated actions; their dtypes may not be the space's."""
    if isinstance(actions, np.ndarray):
        return form if actions.dtype == space.dtype else form._replace(actions=actions.dtype.str)
    if form.steps is not None or not has_only_arrays(space):
        return form  # they have no column
    if all(_has_dtypes(space, action) for action in actions):
        return form
    return form._replace(actions=PICKLED)


def _has_dtypes(space: Any, action: Any) -> bool:
    pairs = zip(_leaf_spaces(space), leaves_of(action), strict=True)
    return all(leaf.dtype == value.dtype for leaf, value in pairs)


def is_image(column: Any) -> bool:
    """Whether the observations in a column, if it is an array, are images."""
    return isinstance(column, np.ndarray) and column.nbytes >= IMAGE_BYTES * len(column)


def has_only_arrays(space: Any) -> bool:
    """Whether every leaf of a nested space is an array of fixed shape and dtype."""
    return all(isinstance(leaf, ARRAY_SPACES) for leaf in _leaf_spaces(space))


def _nested_action(tree: Any, row: int) -> Any:
    return map_leaves(lambda leaf: leaf[row].copy(), tree)


def _leaf_spaces(space: Any) -> list[Any]:
    return leaves_of(empty_tree(space, lambda leaf: leaf))


def cut_columns(out: Columns, start: int, stop: int) -> Columns:
    """Rows ``start`` to ``stop``: views of arrays, copies of lists."""
    cut = lambda leaf: None if leaf is None else leaf[start:stop]  # noqa: E731
    fields: list[Any] = [map_leaves(cut, field) for field in out[:-1]]
    return Columns._make([*fields, out.form])


def put_columns(target: Columns, source: Columns) -> None:
    """Copy the arrays of ``source`` that are given to columns of the same layout."""

    def put(whole: Any, part: Any) -> None:
        if isinstance(whole, np.ndarray) and part is not None:
            whole[:] = part

    for field in range(len(target) - 1):  # all except the form
        map_leaves(put, target[field], source[field])


def pickled_leaves(out: Columns) -> list[list[Any]]:
    """The outgoing columns that are lists, in a fixed order."""
    return [leaf for leaf in (out.states, *leaves_of(out.observs)) if isinstance(leaf, list)]


def put_pickled_leaves(out: Columns, start: int, stop: int, found: list[list[Any]]) -> None:
    """Put the result of ``pickled_leaves`` for rows ``start`` to ``stop`` into whole columns."""
    for whole, part in zip(pickled_leaves(out), found, strict=True):
        whole[start:stop] = part

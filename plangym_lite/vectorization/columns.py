"""What a batch looks like in one block of memory: names, dtypes, shapes, offsets.

Each column holds one field for all rows, and starts on a cache line::

    actions | states in | dts | states out | observations, a column a leaf | rewards | flags

Fields that are not arrays of a fixed shape (opaque states, nested actions, text in observations)
have no column here: their rows travel pickled in the messages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.transitions import ARRAY_SPACES, BatchSpec, Columns, Rows, empty_tree, map_leaves

__all__ = ["BatchColumns", "Layout", "cut_columns", "odd_leaves", "put_odd_leaves"]

CACHE_LINE = 64


class Layout:
    """Where the columns of ``capacity`` rows lie in a block."""

    def __init__(self, spec: BatchSpec, capacity: int) -> None:
        self.spec = spec
        self.capacity = capacity
        self.nbytes = 0
        action = spec.action_space
        self._actions = self._place(action) if isinstance(action, ARRAY_SPACES) else None
        self._states_in = self._place_states()
        self._dts = self._place_field(np.int64)
        self._states_out = self._place_states()
        self._observs = empty_tree(spec.observation_space, self._place_leaf)
        self._rewards = self._place_field(np.float64)
        self._terminateds = self._place_field(np.bool_)
        self._truncateds = self._place_field(np.bool_)

    def view(self, memory: np.ndarray) -> BatchColumns:
        """The columns in ``memory``, a uint8 array of at least ``nbytes``."""

        def column(field: Any) -> Any:
            if field is None:
                return None
            part = memory[field.offset : field.offset + field.nbytes]
            return part.view(field.dtype).reshape(field.shape)

        def leaf(field: Any) -> Any:
            return [None] * self.capacity if field is None else column(field)

        return BatchColumns(
            Rows(column(self._actions), column(self._states_in), column(self._dts)),
            Columns(
                column(self._states_out),
                map_leaves(leaf, self._observs),
                column(self._rewards),
                column(self._terminateds),
                column(self._truncateds),
            ),
        )

    def _place_leaf(self, space: Any) -> _Field | None:
        return self._place(space) if isinstance(space, ARRAY_SPACES) else None

    def _place(self, space: Any) -> _Field:
        return self._place_field(space.dtype, *space.shape)

    def _place_states(self) -> _Field | None:
        if self.spec.state_shape is None:
            return None
        return self._place_field(self.spec.state_dtype, *self.spec.state_shape)

    def _place_field(self, dtype: Any, *shape: int) -> _Field:
        field = _Field(self.nbytes, (self.capacity, *shape), np.dtype(dtype))
        self.nbytes += -(-field.nbytes // CACHE_LINE) * CACHE_LINE
        return field


class _Field:
    def __init__(self, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.offset, self.shape, self.dtype = offset, shape, dtype
        self.nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize


class BatchColumns:
    """The columns of one block: ``rows`` on the way in, ``out`` on the way out."""

    def __init__(self, rows: Rows, out: Columns) -> None:
        self.rows = rows
        self.out = out

    def fill(self, start: int, stop: int, rows: Rows) -> tuple[Any, Any]:
        """Write rows ``start`` to ``stop`` of a batch; return the actions and states left over.

        Left over (``None`` otherwise) are those that have no column.
        """
        actions, states = rows.actions[start:stop], rows.states[start:stop]
        self.rows.dts[start:stop] = rows.dts[start:stop]
        if self.rows.actions is not None:
            self.rows.actions[start:stop] = actions
            actions = None
        if self.rows.states is not None:
            if isinstance(states, np.ndarray):
                self.rows.states[start:stop] = states
            else:
                np.stack(states, out=self.rows.states[start:stop])
            states = None
        return actions, states

    def rows_of(self, start: int, stop: int, first: int, left_over: tuple[Any, Any]) -> Rows:
        """Rows ``start`` to ``stop`` as the loop over rows takes them."""
        actions, states = left_over
        rows = self.rows
        return Rows(
            rows.actions[start:stop] if actions is None else actions,
            rows.states[start:stop] if states is None else states,
            rows.dts[start:stop],
            first,
        )

    def out_of(self, start: int, stop: int, return_state: bool) -> Columns:
        """The same rows of the outgoing columns."""
        out = cut_columns(self.out, start, stop)
        if not return_state:
            return out._replace(states=None)
        return out if out.states is not None else out._replace(states=[None] * (stop - start))


def cut_columns(out: Columns, start: int, stop: int) -> Columns:
    """Rows ``start`` to ``stop``: views of arrays, copies of lists."""
    return map_leaves_of(lambda leaf: None if leaf is None else leaf[start:stop], out)


def map_leaves_of(function: Any, out: Columns) -> Columns:
    """Apply ``function`` to every column."""
    return Columns(
        function(out.states),
        map_leaves(function, out.observs),
        function(out.rewards),
        function(out.terminateds),
        function(out.truncateds),
    )


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

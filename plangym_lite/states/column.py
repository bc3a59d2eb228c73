"""StateColumn: an archive that is read and written like the ``states`` array of a search tree.

::

    states = np.empty((capacity, *state.shape), state.dtype)     2 KB a row for an Atari game
    states = StateColumn(StateArchive(), capacity)               about 100 bytes a row

    states[node]   states[parents]   states[:8] = batch          the same for both
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.states.archive import StateArchive

__all__ = ["StateColumn"]

EMPTY = -1


class StateColumn:
    """``capacity`` rows of states, stored in ``archive``, which other columns may share.

    Writing to a row again adds another state: an archive never removes any. To move rows without
    adding states, copy ``handles``.
    """

    def __init__(self, archive: StateArchive, capacity: int) -> None:
        self.archive = archive
        self.handles = np.full(capacity, EMPTY)
        """``[capacity]`` handle of each row; -1 if nothing was written to it."""

    def __len__(self) -> int:
        return len(self.handles)

    def __repr__(self) -> str:
        return f"StateColumn({len(self)} rows of {self.archive!r})"

    def __getitem__(self, rows: Any) -> np.ndarray:
        """``[S]`` for one row; ``[B, S]`` for a slice, a list, an array or a mask.

        Raises:
            IndexError: there is no such row, or nothing was written to it.
        """
        handles = self.handles[rows]
        wanted = np.atleast_1d(handles)
        if (wanted == EMPTY).any():
            raise IndexError(f"nothing was written yet to a row of {rows}")
        states = self.archive.get(wanted)
        return states if np.ndim(handles) else states[0]

    def __setitem__(self, rows: Any, states: np.ndarray) -> None:
        """Write one state ``[S]`` to one row, or ``[B, S]`` to as many rows."""
        where = self.handles[rows]
        states = np.asarray(states)
        if np.ndim(where) == 0:
            states = states[None]
        if len(states) != np.size(where):
            raise ValueError(f"{len(states)} states for {np.size(where)} rows")
        handles = self.archive.add(states)
        self.handles[rows] = handles if np.ndim(where) else handles[0]

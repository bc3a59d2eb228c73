"""StateArchive: millions of states in little memory, each stored as its difference from another.

The states of a search differ in few bytes, always at the same offsets::

    columns   the offsets, of S bytes, at which any two states of the archive differ
    bases     some complete states, chosen while states are added
    mask      of one state: in which columns it differs from its base, one bit each
    values    of one state: its bytes in these columns

Whole batches are processed with numpy. ``B`` denotes the number of states in a batch, ``S`` the
length of a state.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = ["StateArchive", "StateColumn", "reading"]

ADDED_AT_ONCE = 256  # rows; at most one of them becomes a base
READ_AT_ONCE = 1024
EMPTY = -1  # the handle of a row of a column that was not written
BASES_TRIED = 64  # the newest
COLUMNS_TRIED = 255  # so that a byte can count them
BASE_WORTH = 8  # a new base when the differences since the last one are as large as so many bases


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[dict[str, np.ndarray]]:
    """The arrays in an ``.npz`` file; ``InvalidStateError`` if they are not what is expected."""
    try:
        with open(path, "rb") as file:
            yield dict(np.load(file, allow_pickle=False))
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidStateError(f"{path} holds no {what}: {error}") from error


class _Growing:
    """An array that grows at its end, in place if possible."""

    def __init__(self, row_shape: tuple[int, ...], dtype: Any) -> None:
        self.array = np.empty((0, *row_shape), dtype)

    def put(self, start: int, values: np.ndarray) -> None:
        stop = start + len(values)
        if stop > len(self.array):
            shape = (stop + stop // 8 + 16, *self.array.shape[1:])
            self.array.resize(shape, refcheck=False)  # there are no other references to this array
        self.array[start:stop] = values


class StateArchive:
    """Compressed storage of states: ``add`` returns handles, ``get`` the same states bit for bit.

    The first batch decides shape and dtype of the states, which may be any numeric dtype: the
    ``states`` of ``step_batch``, if ``STATE_IS_ARRAY``. Handles count from 0 in the order of
    adding. Nothing is ever removed. Not thread-safe.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, ...] | None = None  # of a state
        self._dtype = np.dtype(np.uint8)
        self._start_with(0)

    def _start_with(self, n_bytes: int) -> None:
        self._size = 0
        self._n_bases = 0
        self._unbased = 0  # bytes of differences since the last base
        self._columns = np.zeros(0, np.intp)
        self._layouts = np.zeros((0, 3), np.int64)  # first handle, offset, bytes in a mask
        self._bases = _Growing((n_bytes,), np.uint8)
        self._base_of = _Growing((), np.int32)
        self._ends = _Growing((), np.int64)  # [n + 1] of each state's values; the first is 0
        self._ends.put(0, np.zeros(1, np.int64))
        self._masks = _Growing((), np.uint8)
        self._values = _Growing((), np.uint8)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        each = f", {self.nbytes / self._size:.0f} bytes each" if self._size else ""
        return f"StateArchive({self._size:,} states{each})"

    @property
    def nbytes(self) -> int:
        """Bytes of memory allocated, including spare capacity."""
        stores = (self._bases, self._base_of, self._ends, self._masks, self._values)
        own = self._columns.nbytes + self._layouts.nbytes
        return own + sum(store.array.nbytes for store in stores)

    def add(self, states: np.ndarray) -> np.ndarray:
        """Store a batch of states.

        Args:
            states: ``[B, S]``, of the shape and dtype of those before.

        Returns:
            ``[B]`` int64 handles.

        Raises:
            InvalidStateError: not an array of numbers, or not of the shape and dtype of those
                before; nothing was stored.
        """
        first, rows = self._size, self._check_states(states)
        for start in range(0, len(rows), ADDED_AT_ONCE):
            self._add_part(rows[start : start + ADDED_AT_ONCE])
        return np.arange(first, self._size)

    def get(self, handles: Any) -> np.ndarray:
        """The states of ``handles``.

        Args:
            handles: ``[B]`` integers that ``add`` returned, in any order.

        Returns:
            ``[B, S]`` a new array, bit for bit what was added.

        Raises:
            IndexError: there is no such handle.
            TypeError: the handles are not integers.
        """
        wanted = self._check_handles(handles)
        assert self._shape is not None
        rows = np.empty((len(wanted), self._bases.array.shape[1]), np.uint8)
        for start in range(0, len(wanted), READ_AT_ONCE):
            part = slice(start, start + READ_AT_ONCE)
            self._get_part(wanted[part], rows[part])
        return rows.view(self._dtype).reshape(len(wanted), *self._shape)

    # ---- one part of a batch ------------------------------------------------------------------

    def _add_part(self, rows: np.ndarray) -> None:
        """Store ``rows``, ``[b, S]`` bytes. They are counted once everything is written."""
        if self._n_bases == 0:
            self._add_base(rows[0])
        self._find_columns(rows)
        size = self._size
        values = rows[:, self._columns]
        base_of, bases = self._nearest_bases(values)
        mask = values != bases
        counts, end = mask.sum(1), self._ends.array[size]
        self._masks.put(self._masks_end(), np.packbits(mask, axis=1).reshape(-1))
        self._values.put(end, values[mask])
        self._base_of.put(size, base_of)
        self._ends.put(size + 1, end + np.cumsum(counts))
        self._size = size + len(rows)
        self._unbased += int(counts.sum())
        if self._unbased > BASE_WORTH * rows.shape[1]:
            self._add_base(rows[counts.argmax()])

    def _add_base(self, row: np.ndarray) -> None:
        self._bases.put(self._n_bases, row[None])
        self._n_bases += 1
        self._unbased = 0

    def _find_columns(self, rows: np.ndarray) -> None:
        """Add the offsets at which ``rows`` differ; masks are wider from the next state on."""
        differs = (rows != self._bases.array[0]).any(0)
        differs[self._columns] = False
        if self._size and not differs.any():
            return
        self._columns = np.concatenate([self._columns, np.flatnonzero(differs)])
        layout = self._size, self._masks_end(), -(-len(self._columns) // 8)
        self._layouts = np.concatenate([self._layouts, [layout]])

    def _masks_end(self) -> int:
        if not len(self._layouts):
            return 0
        first, start, width = self._layouts[-1].tolist()
        return start + (self._size - first) * width

    def _nearest_bases(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each row of columns ``[b, C]`` the most similar base, and that base's columns."""
        oldest = max(0, self._n_bases - BASES_TRIED)
        bases = self._bases.array[oldest : self._n_bases, self._columns]
        some = slice(None, None, 1 + len(self._columns) // COLUMNS_TRIED)
        ours, theirs = values[:, some].T, bases[:, some].T
        differs = ours[:, None, :] != theirs[:, :, None]  # [C, bases, b]
        flat = differs.reshape(len(ours), len(bases) * len(values)).view(np.uint8)
        nearest = flat.sum(0, dtype=np.uint8).reshape(len(bases), len(values)).argmin(0)
        return oldest + nearest, bases[nearest]

    def _get_part(self, handles: np.ndarray, out: np.ndarray) -> None:
        self._bases.array.take(self._base_of.array[handles], axis=0, out=out, mode="clip")
        bits = np.flatnonzero(self._read_masks(handles))
        starts, stops = self._ends.array[handles], self._ends.array[handles + 1]
        counts = stops - starts
        skipped = starts - (np.cumsum(counts) - counts)
        values = self._values.array.take(np.repeat(skipped, counts) + np.arange(len(bits)))
        rows = np.repeat(np.arange(len(out)) * out.shape[1], counts)
        places = rows + self._columns.take(bits % max(1, len(self._columns)))
        out.reshape(-1)[places] = values

    def _read_masks(self, handles: np.ndarray) -> np.ndarray:
        """``[b, C]`` bool: in which columns each state differs from its base."""
        layouts = np.searchsorted(self._layouts[:, 0], handles, side="right") - 1
        first, start, width = self._layouts[layouts].T
        byte = np.arange(self._layouts[-1, 2])
        where = (start + (handles - first) * width)[:, None] + byte
        masks = self._masks.array.take(where, mode="clip")
        masks[byte >= width[:, None]] = 0  # columns that were added later
        return np.unpackbits(masks, axis=1, count=len(self._columns)).view(bool)

    # ---- on disk ------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], fingerprint: str = "") -> None:
        """Write the archive to ``path`` as ``.npz``, without pickles.

        Args:
            path: the file.
            fingerprint: ``env.fingerprint``, so that ``load`` can refuse other environments.
        """
        columns = {
            "fingerprint": np.array(fingerprint),
            "like": np.zeros((0, *(self._shape or ())), self._dtype),
            "columns": self._columns,
            "layouts": self._layouts,
        }
        for name, length in self._lengths().items():
            columns[name] = getattr(self, f"_{name}").array[:length]
        with open(path, "wb") as file:
            np.savez(file, **columns)  # type: ignore[arg-type]

    def _lengths(self) -> dict[str, int]:
        """The growing arrays, and how many rows of each are in use."""
        return {
            "bases": self._n_bases,
            "base_of": self._size,
            "ends": self._size + 1,
            "masks": self._masks_end(),
            "values": int(self._ends.array[self._size]),
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str], fingerprint: str = "") -> StateArchive:
        """The archive that ``save`` wrote to ``path``, with the same handles.

        Raises:
            InvalidStateError: the file is not an archive, is damaged, or has another fingerprint.
        """
        archive = cls()
        with reading(path, "archive of states") as columns:
            found = str(columns["fingerprint"])
            archive._fill(columns)
        if found != fingerprint:
            raise InvalidStateError(f"{path} holds states of {found!r}, not of {fingerprint!r}")
        return archive

    def _fill(self, columns: dict[str, np.ndarray]) -> None:
        if columns["base_of"].size == 0:
            return
        self._check_states(columns["like"])
        self._columns, self._layouts = columns["columns"], columns["layouts"]
        self._size, self._n_bases = len(columns["base_of"]), len(columns["bases"])
        self._ends.put(0, columns["ends"])
        for name, length in self._lengths().items():
            if len(columns[name]) != length:
                raise ValueError(f"{name} has {len(columns[name])} rows instead of {length}")
            getattr(self, f"_{name}").put(0, columns[name])

    # ---- checks of arguments ------------------------------------------------------------------

    def _check_states(self, states: Any) -> np.ndarray:
        """``[B, S]`` bytes."""
        if not isinstance(states, np.ndarray) or states.dtype.kind not in "biufc":
            what = getattr(states, "dtype", type(states).__name__)
            raise InvalidStateError(
                f"an archive keeps arrays of numbers, got {what}: the states of an environment "
                "whose STATE_IS_ARRAY is False cannot be archived"
            )
        shape = states.shape[1:]
        if states.ndim < 2 or 0 in shape:
            raise InvalidStateError(f"states must have shape [B, S], got {list(states.shape)}")
        if self._shape is None:
            self._start_with(states.itemsize * int(np.prod(shape)))
            self._shape, self._dtype = shape, states.dtype
        elif shape != self._shape or states.dtype != self._dtype:
            raise InvalidStateError(
                f"the states here have shape {list(self._shape)} and dtype {self._dtype}, "
                f"got {list(shape)} and {states.dtype}"
            )
        flat = np.ascontiguousarray(states).reshape(len(states), int(np.prod(shape)))
        return flat.view(np.uint8)

    def _check_handles(self, handles: Any) -> np.ndarray:
        wanted = np.asarray(handles)
        if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
            raise TypeError(
                f"handles must be whole numbers, [B], got {wanted.dtype} of shape {wanted.shape}"
            )
        wrong = (wanted < 0) | (wanted >= self._size)
        if wrong.any() or self._shape is None:
            which = f"no handle {wanted[wrong][0]}" if wrong.any() else "nothing yet to get"
            raise IndexError(f"{which}: the archive holds {self._size} states")
        return wanted.astype(np.int64)


class StateColumn:
    """``capacity`` rows of states, stored in ``archive``, which other columns may share.

    It is read and written like the ``states`` array of a search tree::

        states = np.empty((capacity, *state.shape), state.dtype)     2 KB a row for an Atari game
        states = StateColumn(StateArchive(), capacity)               about 100 bytes a row

        states[node]   states[parents]   states[:8] = batch          the same for both

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
        """``[S]`` for one row, ``[B, S]`` for several; ``IndexError`` if one was not written."""
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

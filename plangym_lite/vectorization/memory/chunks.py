"""Chunks of a batch: how many rows are worth being taken at once.

A chunk costs its taker about 10 us. So it holds at least 100 us of work, by a running estimate of
the time of a frame; where many rows are stepped at once, which costs as much for one row as for a
hundred, at least 1 ms. The first chunks are large and the last ones small, so that nobody
waits long for the last of the others.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

from plangym_lite.transitions import Form, Rows

__all__ = ["MOST_CHUNKS", "Chunk", "ChunkSizes", "chunks_of"]

MOST_CHUNKS = 256  # of a batch: their tokens are written at once
LEAST_SECONDS = 100e-6
LEAST_SECONDS_BATCHED = 1e-3
FIRST_SHARE = 0.75  # of the rows, in even parts, are the first chunks
LATER_SHARE = 0.5  # of those left, the next ones
FIRST_GUESS = 20e-6  # seconds for a frame
LOWER, HIGHER = 0.5, 0.05
"""Weight of a new measurement in the estimate: what takes longer was mostly disturbed."""


class Chunk(NamedTuple):
    """Rows ``start`` to ``stop`` of a batch."""

    start: int
    stop: int


@lru_cache(maxsize=1024)
def chunks_of(size: int, n_takers: int, least: int, largest: int | None = None) -> list[Chunk]:
    """Cut ``size`` rows for ``n_takers``, in chunks of at least ``least`` rows where possible.

    Args:
        largest: rows of a chunk at most; then all are about as large. ``None``: any number, and
            the chunks get smaller.
    """
    least = max(least, -(-size // MOST_CHUNKS))
    n_takers = max(1, min(n_takers, size // least))
    share = FIRST_SHARE if largest is None and n_takers > 1 else 1.0
    chunks: list[Chunk] = []
    start = 0
    while start < size:
        left = size - start
        even = -(-left // n_takers)  # in the last round nobody shall have more than the others
        rows = max(least, min(even, math.ceil(left * share / n_takers)))
        rows = min(rows, largest or size)
        for _ in range(n_takers):
            if start < size:
                stop = min(size, start + rows)
                chunks.append(Chunk(start, size if size - stop < least / 2 else stop))
                start = chunks[-1].stop
        share = LATER_SHARE if largest is None else 1.0
    return chunks


class ChunkSizes:
    """Learns how long rows take, for each kind of batch, and cuts batches accordingly.

    Args:
        is_batched: whether many rows are stepped at once.
        largest: rows of a chunk at most; ``None``: any number.
    """

    def __init__(self, is_batched: bool = False, largest: int | None = None) -> None:
        self._least = LEAST_SECONDS_BATCHED if is_batched else LEAST_SECONDS
        self._largest = largest
        self._is_batched = is_batched
        self._seconds: dict[Any, float] = {}  # for a frame

    def kind_of(self, rows: Rows, form: Form) -> tuple[Any, float]:
        """The kind of a batch, and about how many frames a row of it has."""
        size, dts = len(rows.dts), rows.dts
        frames = (dts.item(0) + dts.item(-1)) / 2 * (form.steps or 1)
        scale = size.bit_length() if self._is_batched else 0  # a row of many takes less
        return (scale, form.steps is None, form.observs, form.states), frames

    def cut(self, size: int, n_takers: int, kind: Any, frames: float) -> list[Chunk]:
        """The chunks of a batch of ``size`` rows."""
        seconds = self._seconds.get(kind, FIRST_GUESS) * frames
        # a power of two, so that a batch is not cut otherwise each time
        least = 1 << max(0, math.ceil(math.log2(self._least / seconds)))
        return chunks_of(size, n_takers, least, self._largest)

    def learn(self, kind: Any, seconds: float, frames: float) -> None:
        """So many frames of batches of that kind took so many seconds."""
        each = max(seconds / frames, 1e-9)
        known = self._seconds.get(kind)
        if known is not None:
            each = known + (LOWER if each < known else HIGHER) * (each - known)
        self._seconds[kind] = each

"""Chunks: how a batch is cut, and the queue from which workers and the caller take its chunks.

Taking a chunk costs about 10 us. So a chunk holds at least 100 us of work, by a running estimate
of the time of a frame; at least 1 ms if rows are stepped at once (``is_batched``), which costs as
much for one row as for a hundred. The first chunks are large and the last ones small, so that all
takers finish at about the same time.

The queue is a pipe of tokens of fixed size. The kernel gives each token to one reader, without a
lock; a reader that dies loses only the tokens that it has read.
"""

from __future__ import annotations

import math
import os
import select
import struct
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from plangym_lite.system import interrupts_held
from plangym_lite.transitions import Form, Rows

__all__ = [
    "MOST_CHUNKS",
    "TOKEN",
    "Chunk",
    "ChunkQueue",
    "ChunkSizes",
    "LocalQueue",
    "Plan",
    "chunks_of",
    "make_queue",
    "split_evenly",
    "split_similar_chunks",
]

TOKEN = struct.Struct("<III")
"""A chunk in the queue: the number of the block, start, stop."""
MOST_CHUNKS = min(256, getattr(select, "PIPE_BUF", 512) // TOKEN.size)
"""Per batch: their tokens are one write, which is atomic up to ``PIPE_BUF`` bytes (macOS: 512)."""
LEAST_SECONDS = 100e-6
LEAST_SECONDS_BATCHED = 1e-3
FIRST_SHARE = 0.75  # of the rows, in even parts: the first chunks
LATER_SHARE = 0.5  # of the remaining rows: the next ones
FIRST_GUESS = 20e-6  # seconds for a frame
LOWER, HIGHER = 0.5, 0.05
"""Weight of a measurement below or above the estimate; longer ones were mostly disturbed."""

ALWAYS, SELDOM = 8, 16
"""The first ``ALWAYS`` batches of a plan are measured, then one in ``SELDOM``."""
MOST_PLANS = 256


class Chunk(NamedTuple):
    """Rows ``start`` to ``stop`` of a batch."""

    start: int
    stop: int


@lru_cache(maxsize=1024)
def chunks_of(size: int, n_takers: int, least: int, largest: int | None = None) -> list[Chunk]:
    """Cut ``size`` rows for ``n_takers``, in chunks of at least ``least`` rows where possible.

    Args:
        largest: maximum rows of a chunk; then all have about that size. ``None``: no limit, and
            the chunks get smaller.
    """
    least = max(least, -(-size // MOST_CHUNKS))
    n_takers = max(1, min(n_takers, size // least))
    share = FIRST_SHARE if largest is None and n_takers > 1 else 1.0
    chunks: list[Chunk] = []
    start = 0
    while start < size:
        left = size - start
        even = -(-left // n_takers)  # the last round is split evenly
        rows = max(least, min(even, math.ceil(left * share / n_takers)))
        rows = min(rows, largest or size)
        for _ in range(n_takers):
            if start < size:
                stop = min(size, start + rows)
                chunks.append(Chunk(start, size if size - stop < least / 2 else stop))
                start = chunks[-1].stop
        share = LATER_SHARE if largest is None else 1.0
    return chunks


class Plan:
    """How batches of one ``kind`` are cut; it has one estimate of the time of a frame.

    ``frames`` is the mean number per row.
    """

    __slots__ = ("chunks", "frames", "is_measured", "kind", "n_takers", "n_used", "size")

    def __init__(self, kind: Any, size: int, n_takers: int, frames: float) -> None:
        self.kind, self.size, self.n_takers, self.frames = kind, size, n_takers, frames
        self.chunks: list[Chunk] = []
        self.n_used = 0  # batches so far
        self.is_measured = True  # whether the last of them is one to learn from


class ChunkSizes:
    """Estimates the time of a frame for each kind of batch, and cuts batches accordingly.

    Args:
        is_batched: whether many rows are stepped at once.
        largest: maximum rows of a chunk; ``None``: no limit.
    """

    def __init__(self, is_batched: bool = False, largest: int | None = None) -> None:
        self._least = LEAST_SECONDS_BATCHED if is_batched else LEAST_SECONDS
        self._largest = largest
        self._is_batched = is_batched
        self._seconds: dict[Any, float] = {}  # per frame, by kind
        self._plans: dict[Any, Plan] = {}

    def plan(self, rows: Rows, form: Form, n_takers: int) -> Plan:
        dts = rows.dts
        size, first, last = len(dts), dts.item(0), dts.item(-1)
        plan = self._plans.get((size, first, last, n_takers, form))
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            scale = size.bit_length() if self._is_batched else 0  # time per row falls with the size
            kind = scale, form.steps is None, form.observs, form.states
            plan = Plan(kind, size, n_takers, (first + last) / 2 * (form.steps or 1))
            self._cut(plan)
            self._plans[size, first, last, n_takers, form] = plan
        plan.n_used += 1
        plan.is_measured = plan.n_used <= ALWAYS or plan.n_used % SELDOM == 0
        return plan

    def learn(self, plan: Plan, seconds: float) -> None:
        """Update the estimate: a batch of that plan took ``seconds``, summed over takers."""
        each = max(seconds / (plan.frames * plan.size), 1e-9)
        known = self._seconds.get(plan.kind)
        if known is not None:
            each = known + (LOWER if each < known else HIGHER) * (each - known)
        self._seconds[plan.kind] = each
        self._cut(plan)

    def _cut(self, plan: Plan) -> None:
        seconds = self._seconds.get(plan.kind, FIRST_GUESS) * plan.frames
        # a power of two, so that a batch is not cut differently each time
        least = 1 << max(0, math.ceil(math.log2(self._least / seconds)))
        plan.chunks = chunks_of(plan.size, plan.n_takers, least, self._largest)


# ---- the queue -----------------------------------------------------------------------------------


class ChunkQueue:
    """Chunks of batches, each taken by one reader, maybe a worker that was sent ``fd``."""

    is_shared = True

    def __init__(self, fd: int | None = None) -> None:
        with interrupts_held():
            ends = list(os.pipe()) if fd is None else [fd]
            for end in ends:
                os.set_blocking(end, False)
            self.fd, self._into = ends[0], ends[-1]
            self.close = weakref.finalize(self, _close, ends)
            self.close.atexit = False  # daemon threads and ``__del__`` may still use it
        self._readable = select.poll()
        self._readable.register(self.fd, select.POLLIN)

    def put(self, block: int, chunks: Sequence[Chunk]) -> None:
        """Put at most ``MOST_CHUNKS`` chunks of a block into an empty queue, in one write."""
        numbers = [number for chunk in chunks for number in (block, *chunk)]
        os.write(self._into, struct.pack(f"<{len(numbers)}I", *numbers))

    def take(self) -> tuple[int, int, int] | None:
        """The next chunk as ``(block, start, stop)``; ``None`` if the queue is empty."""
        try:
            token = os.read(self.fd, TOKEN.size)
        except BlockingIOError:
            return None
        return TOKEN.unpack(token) if token else None

    def is_empty(self) -> bool:
        return not self._readable.poll(0)

    def clear(self) -> int:
        """Remove all chunks; return their number of rows."""
        n_rows = 0
        while (token := self.take()) is not None:
            n_rows += token[2] - token[1]
        return n_rows


class LocalQueue:
    """A ``ChunkQueue`` within this process, for a lack of descriptors."""

    is_shared = False

    def __init__(self) -> None:
        self._tokens: deque[tuple[int, int, int]] = deque()

    def put(self, block: int, chunks: Sequence[Chunk]) -> None:
        self._tokens.extend((block, *chunk) for chunk in chunks)

    def take(self) -> tuple[int, int, int] | None:
        return self._tokens.popleft() if self._tokens else None

    def is_empty(self) -> bool:
        return not self._tokens

    def clear(self) -> int:
        n_rows = sum(stop - start for _, start, stop in self._tokens)
        self._tokens.clear()
        return n_rows

    def close(self) -> None:
        self._tokens.clear()


def make_queue() -> ChunkQueue | LocalQueue:
    """A new queue; a local one if there are no descriptors."""
    try:
        return ChunkQueue()
    except OSError:
        return LocalQueue()


def _close(ends: list[int]) -> None:
    for end in ends:
        os.close(end)


# ---- even parts ----------------------------------------------------------------------------------


def split_evenly(size: int, n_chunks: int) -> list[tuple[int, int]]:
    """Cut ``range(size)`` into at most ``n_chunks`` ranges whose lengths differ by at most one."""
    n_chunks = max(1, min(n_chunks, size))
    edges = [size * k // n_chunks for k in range(n_chunks + 1)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]


def split_similar_chunks(vector: Sequence[Any] | np.ndarray, n_chunks: int) -> Iterator[Any]:
    """Yield ``vector`` in at most ``n_chunks`` parts whose lengths differ by at most one."""
    if n_chunks < 1:
        raise ValueError(f"n_chunks must be at least 1, got {n_chunks}")
    for start, stop in split_evenly(len(vector), n_chunks):
        yield vector[start:stop]

"""Chunks: how a batch is cut.

Taking a chunk costs about 10 us. So a chunk holds at least 100 us of work, by a running estimate
of the time of a frame; at least 1 ms if rows are stepped at once (``is_batched``), which costs as
much for one row as for a hundred. The first chunks are large and the last ones small, so that all
takers finish at about the same time.
"""

from __future__ import annotations

import math
import select
import struct
from functools import lru_cache
from typing import Any, NamedTuple

from plangym_lite.transitions import Form, Rows

__all__ = ["MOST_CHUNKS", "TOKEN", "Chunk", "ChunkSizes", "Plan", "chunks_of"]

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
    """How batches of one size and kind are cut.

    Args:
        kind: batches of one kind have one estimate of the time of a frame.
        size, n_takers: numbers of rows and of takers.
        frames: mean number per row.
    """

    __slots__ = ("chunks", "frames", "kind", "n_takers", "n_used", "size")

    def __init__(self, kind: Any, size: int, n_takers: int, frames: float) -> None:
        self.kind, self.size, self.n_takers, self.frames = kind, size, n_takers, frames
        self.chunks: list[Chunk] = []
        self.n_used = 0  # batches so far


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
        """The plan for a batch."""
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
        return plan

    def learn(self, plan: Plan, seconds: float) -> None:
        """Update the estimate: a batch of that plan took ``seconds``, summed over takers."""
        plan.n_used += 1
        if plan.n_used > ALWAYS and plan.n_used % SELDOM:
            return
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

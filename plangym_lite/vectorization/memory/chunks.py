"""Pieces of a batch: how large they are, and the queue from which workers take them."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import chain, repeat
from typing import NamedTuple

__all__ = ["PIECES", "Piece", "PieceSizes", "TOGETHER", "pieces_of"]

FIRST_SHARE = 0.75  # of the rows, shared out evenly as first pieces
LATER_SHARE = 0.5  # of those left, shared out evenly as the next


class Piece(NamedTuple):
    """Rows ``start`` to ``stop`` of a batch."""

    start: int
    stop: int


class PieceSizes(NamedTuple):
    """How batches are cut into pieces."""

    largest: int | None = None  # rows of a piece that is dealt; None: any number
    smallest: int = 8  # frames: with no more for each worker, rows are not cut any further
    taken: int = 2  # the same for pieces that workers take themselves, which costs next to nothing
    fewest: int = 1  # rows: the same, whatever they take
    share: float = FIRST_SHARE  # dealt evenly as first pieces; 1.0: no others are needed


PIECES = PieceSizes()
TOGETHER = 64
"""``fewest`` for environments that step their rows together: to begin costs as much as many do."""


@lru_cache
def pieces_of(
    size: int, n_workers: int, sizes: PieceSizes, n_frames: int = 1, are_taken: bool = False
) -> tuple[Piece, ...]:
    """Cut a batch into pieces, a round for all workers at a time; a row takes ``n_frames``.

    The first ones are large, and the later the smaller, so that neither a slow row nor a slow core
    holds up the rest. Where they are dealt, the second ones go out together with the first, so that
    these are as small as can be; where they ``are_taken`` from a queue, nothing goes out early.
    """
    pieces: list[Piece] = []
    start = 0
    smallest = max(sizes.fewest, (sizes.taken if are_taken else sizes.smallest) // n_frames)
    largest = sizes.largest or size
    shares = chain((sizes.share, 0.0), repeat(LATER_SHARE)) if sizes.share < 1 else repeat(1.0)
    if are_taken:
        largest, shares = size, chain((FIRST_SHARE,), repeat(LATER_SHARE))
    while start < size:
        left = size - start
        even = -(-left // n_workers)  # in the last round nobody shall wait for one that has more
        rows = min(even, max(smallest, math.ceil(left * next(shares) / n_workers)))
        rows = min(rows, largest)
        for _ in range(n_workers):
            if start < size:
                pieces.append(Piece(start, min(size, start + rows)))
                start = pieces[-1].stop
    return tuple(pieces)

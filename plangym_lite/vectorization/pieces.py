"""Pieces of a batch: how large they are, and the queue from which workers take them."""

from __future__ import annotations

import math
import os
import select
import struct
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import NamedTuple

__all__ = ["PIECES", "TOGETHER", "Piece", "PieceSizes", "RowQueue", "pieces_of"]

FIRST_SHARE = 0.75  # of the rows, shared out evenly as first pieces
LATER_SHARE = 0.5  # of those left, shared out evenly as the next
TOKEN = struct.Struct("<QQ")  # a piece in the queue
AT_ONCE = select.PIPE_BUF // TOKEN.size  # as many a pipe takes whole, or not at all


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


class RowQueue:
    """Rows that several processes take, piece by piece, each piece one of them.

    It is a pipe: the kernel gives each token to one reader, and nobody waits, whoever dies.

    Args:
        fd: the end to take from, of a queue that another process fills; ``None`` makes a new one.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._into = -1
        ends = [fd] if fd is not None else []
        if fd is None:
            fd, self._into = ends = list(os.pipe())
        for end in ends:
            os.set_blocking(end, False)
        self.fd = fd
        self.close = weakref.finalize(self, _close, ends)

    def put(self, pieces: Sequence[Piece]) -> int:
        """Put pieces in, from the first on; return how many there was room for."""
        tokens, n_put = (TOKEN.pack(*piece) for piece in pieces), 0
        while some := b"".join(islice(tokens, AT_ONCE)):
            try:
                os.write(self._into, some)
            except BlockingIOError:
                break
            n_put += len(some) // TOKEN.size
        return n_put

    def take(self) -> Piece | None:
        """The next piece; ``None``: there is none."""
        try:
            token = os.read(self.fd, TOKEN.size)
        except BlockingIOError:
            return None
        return Piece(*TOKEN.unpack(token)) if token else None

    def __iter__(self) -> Iterator[Piece]:
        """Take what there is, one after another."""
        return iter(self.take, None)


def _close(ends: list[int]) -> None:
    for end in ends:
        os.close(end)

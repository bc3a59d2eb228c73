"""The queue from which workers take the chunks of a batch."""

from __future__ import annotations

import os
import select
import struct
import weakref
from collections.abc import Iterator, Sequence
from itertools import islice

from plangym_lite.vectorization.memory.chunks import Piece

__all__ = ["RowQueue"]

TOKEN = struct.Struct("<QQ")  # a piece in the queue


AT_ONCE = select.PIPE_BUF // TOKEN.size  # as many a pipe takes whole, or not at all


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

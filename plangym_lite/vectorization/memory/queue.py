"""The queue from which workers and the caller take the chunks of a batch.

It is a pipe of tokens of fixed size. The kernel gives each token to one reader, so that nobody
waits for anybody, and a reader that dies takes nothing with it but what it has read.
"""

from __future__ import annotations

import os
import select
import struct
import weakref
from collections import deque
from collections.abc import Sequence

from plangym_lite.system import interrupts_held
from plangym_lite.vectorization.memory.chunks import MOST_CHUNKS, Chunk

__all__ = ["ChunkQueue", "LocalQueue", "make_queue"]

TOKEN = struct.Struct("<III")  # the number of the block, start, stop


class ChunkQueue:
    """Chunks of batches; each is taken by one reader.

    A worker may be sent the descriptor, and take chunks by itself.

    Args:
        fd: the reading end of another process's queue; ``None`` makes a new queue.
    """

    is_shared = True

    def __init__(self, fd: int | None = None) -> None:
        with interrupts_held():
            ends = list(os.pipe()) if fd is None else [fd]
            for end in ends:
                os.set_blocking(end, False)
            self.fd, self._into = ends[0], ends[-1]
            self.close = weakref.finalize(self, _close, ends)
        self._readable = select.poll()
        self._readable.register(self.fd, select.POLLIN)

    def put(self, block: int, chunks: Sequence[Chunk]) -> None:
        """Put at most ``MOST_CHUNKS`` chunks of a block into an empty queue, all at once."""
        numbers = [number for chunk in chunks for number in (block, *chunk)]
        os.write(self._into, struct.pack(f"<{len(numbers)}I", *numbers))

    def take(self) -> tuple[int, int, int] | None:
        """The next chunk as ``(block, start, stop)``; ``None``: there is none."""
        try:
            token = os.read(self.fd, TOKEN.size)
        except BlockingIOError:
            return None
        return TOKEN.unpack(token) if token else None

    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._readable.poll(0)

    def clear(self) -> int:
        """Take everything out; return how many rows that were."""
        n_rows = 0
        while (token := self.take()) is not None:
            n_rows += token[2] - token[1]
        return n_rows


class LocalQueue:
    """The same within this process, where descriptors run short."""

    is_shared = False

    def __init__(self) -> None:
        self._tokens: deque[tuple[int, int, int]] = deque()

    def put(self, block: int, chunks: Sequence[Chunk]) -> None:
        """``ChunkQueue.put``."""
        self._tokens.extend((block, *chunk) for chunk in chunks)

    def take(self) -> tuple[int, int, int] | None:
        """``ChunkQueue.take``."""
        return self._tokens.popleft() if self._tokens else None

    def is_empty(self) -> bool:
        """``ChunkQueue.is_empty``."""
        return not self._tokens

    def clear(self) -> int:
        """``ChunkQueue.clear``."""
        n_rows = sum(stop - start for _, start, stop in self._tokens)
        self._tokens.clear()
        return n_rows

    def close(self) -> None:
        """``ChunkQueue.close``."""
        self._tokens.clear()


def make_queue() -> ChunkQueue | LocalQueue:
    """A new queue that can be shared, if there are descriptors for it."""
    try:
        return ChunkQueue()
    except OSError:
        return LocalQueue()


def _close(ends: list[int]) -> None:
    for end in ends:
        os.close(end)


assert TOKEN.size * MOST_CHUNKS <= select.PIPE_BUF  # then one write is whole

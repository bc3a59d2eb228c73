"""The queue from which workers and the caller take the chunks of a batch.

It is a pipe of tokens of fixed size. The kernel gives each token to one reader, without a
lock; a reader that dies loses only the tokens that it has read.
"""

from __future__ import annotations

import os
import select
import struct
import weakref
from collections import deque
from collections.abc import Sequence

from plangym_lite.system import interrupts_held
from plangym_lite.vectorization.memory.chunks import TOKEN, Chunk

__all__ = ["ChunkQueue", "LocalQueue", "make_queue"]


class ChunkQueue:
    """Chunks of batches; each is taken by one reader.

    A worker that is sent the descriptor can take chunks.

    Args:
        fd: the reading end of another process's queue; ``None``: a new queue.
    """

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
        """Whether the queue has no chunks."""
        return not self._readable.poll(0)

    def clear(self) -> int:
        """Remove all chunks; return their number of rows."""
        n_rows = 0
        while (token := self.take()) is not None:
            n_rows += token[2] - token[1]
        return n_rows


class LocalQueue:
    """The same queue within this process, for a lack of descriptors."""

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
    """A new queue; a local one if there are no descriptors."""
    try:
        return ChunkQueue()
    except OSError:
        return LocalQueue()


def _close(ends: list[int]) -> None:
    for end in ends:
        os.close(end)

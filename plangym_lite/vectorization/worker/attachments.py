"""What a worker must be told of the memory that it shares with this process.

A worker process is sent the descriptors of blocks and queues along with the words. An actor of a
Ray cluster, which can be sent none, opens them by their :class:`Handle`, if it is on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from plangym_lite.recipe.parcel import dumps
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import Piece
from plangym_lite.vectorization.memory.layout import LeftOver
from plangym_lite.vectorization.memory.queue import RowQueue
from plangym_lite.vectorization.worker.messages import dump

__all__ = ["ATTACH", "DETACH", "QUEUE", "ROWS", "Handle", "Attachments", "rows_call"]

ROWS, ATTACH, DETACH, QUEUE = "@rows", "@attach", "@forget", "@queue"
"""Names in a CALL that mean the worker itself, not its environment."""


class Attachments:
    """What one worker has been told."""

    def __init__(self) -> None:
        self._blocks: set[int] = set()
        self._queue: RowQueue | None = None

    def missing(
        self, block: Block, queue: RowQueue | None
    ) -> Iterator[tuple[str, tuple[Any, ...], int]]:
        """What it does not know of these two: name, arguments and descriptor of each message.

        What was taken from this iterator counts as told when the next one is.
        """
        if queue is not None and queue is not self._queue:
            yield QUEUE, (), queue.fd
            self._queue = queue
        if block.number not in self._blocks:
            layout = block.layout
            yield ATTACH, (block.number, layout.spec, layout.capacity, layout.form), block.fd
            self._blocks.add(block.number)

    def forget(self, number: int) -> bool:
        """The block of that number is gone; whether the worker knew it."""
        knew = number in self._blocks
        self._blocks.discard(number)
        return knew


def rows_call(
    block: Block,
    piece: Piece,
    left_over: LeftOver,
    queue: RowQueue | None,
    known: dict[int, Any] | None = None,
) -> bytes:
    """The call of ``RequestHandler.run_rows``, pickled; ``known``: see ``dumps``."""
    call: Any = (ROWS, (block.number, *piece, left_over, queue is not None), {})
    return dump(call) if left_over == (None, None) else dumps(call, known)


class Handle(NamedTuple):
    """An open file of one process, which others on the same machine can open too."""

    pid: int
    fd: int
    device: int
    inode: int

    @classmethod
    def of(cls, fd: int) -> Handle:
        """A handle of a descriptor of this process."""
        status = os.fstat(fd)
        return cls(os.getpid(), fd, status.st_dev, status.st_ino)

    def open(self) -> int:
        """A descriptor of the same file.

        Raises:
            OSError: it cannot be had from here, or there is another file by now.
        """
        fd = os.open(f"/proc/{self.pid}/fd/{self.fd}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (self.device, self.inode):
            os.close(fd)
            raise OSError(f"{self} is another file here")
        return fd

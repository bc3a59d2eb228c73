"""What a worker has been told of the memory that it shares with this process.

The descriptors of arenas and of the queue are sent along with the messages that name them first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.queue import ChunkQueue

__all__ = ["ATTACH", "DETACH", "QUEUE", "ROWS", "SENT_ROWS", "Attachments"]

ATTACH, DETACH, QUEUE, SENT_ROWS = "@attach", "@detach", "@queue", "@rows"
"""Names in a CALL that mean the worker itself, not its environment."""

ROWS = struct.Struct("<cIIII")
"""A CALL to run rows, not pickled: ``b"@"``, the number of the taker, then that of a block, and
start and stop of its rows; or zeros there, for chunks from the queue, until it is empty."""


class Attachments:
    """The arenas, blocks and queue that one worker knows."""

    def __init__(self) -> None:
        self._known: set[int] = set()  # the numbers of arenas and blocks
        self._queue: ChunkQueue | None = None

    def missing(
        self, block: Block, queue: ChunkQueue | None
    ) -> Iterator[tuple[str, tuple[Any, ...], tuple[int, ...]]]:
        """What it does not know of these two: name, arguments and descriptors of each message.

        What was taken from this iterator counts as known when the next one is.
        """
        if queue is not None and queue is not self._queue:
            yield QUEUE, (), (queue.fd,)
            self._queue = queue
        if block.number not in self._known:
            layout, arena = block.layout, block.arena
            slice_ = block.number, arena.number, arena.nbytes, block.offset
            fds = () if arena.number in self._known else (arena.fd,)
            shape = layout.spec, layout.capacity, layout.form, layout.heap
            yield ATTACH, (*slice_, bool(fds), *shape), fds
            self._known.update((arena.number, block.number))

    def detach(self, number: int) -> bool:
        """The block or arena of that number is gone; whether the worker knew it."""
        knew = number in self._known
        self._known.discard(number)
        return knew

    def failed(self, name: str, args: tuple[Any, ...]) -> None:
        """The worker could not take what such a message said: it is to be sent again."""
        if name == QUEUE:
            self._queue = None
        else:
            self._known -= {args[0], args[1]}

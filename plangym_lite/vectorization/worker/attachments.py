"""Attachments: the shared memory and queue that a worker has attached.

The descriptors of arenas and of the queue are sent with the first message that names them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import ChunkQueue

__all__ = ["ATTACH", "DETACH", "QUEUE", "ROWS", "SENT_ROWS", "Attachments"]

ATTACH, DETACH, QUEUE, SENT_ROWS = "@attach", "@detach", "@queue", "@rows"
"""Names in a CALL that are for the worker itself, not its environment."""

ROWS = struct.Struct("<cIIII")
"""A CALL to run rows, not pickled: ``b"@"``, the number of the taker, the number of a block, and
start and stop of its rows; zeros in place of the last three: take chunks from the queue."""


class Attachments:
    """The arenas, blocks and queue that one worker has attached."""

    def __init__(self) -> None:
        self.known: set[int] = set()  # the numbers of arenas and blocks
        self.queue: ChunkQueue | None = None

    def missing(
        self, block: Block, queue: ChunkQueue | None
    ) -> Iterator[tuple[str, tuple[Any, ...], tuple[int, ...]]]:
        """The messages that attach what is missing; each counts as sent at the next request."""
        if queue is not None and queue is not self.queue:
            yield QUEUE, (), (queue.fd,)
            self.queue = queue
        if block.number not in self.known:
            layout, arena = block.layout, block.arena
            slice_ = block.number, arena.number, arena.nbytes, block.offset
            fds = () if arena.number in self.known else (arena.fd,)
            shape = layout.spec, layout.capacity, layout.form, layout.heap
            yield ATTACH, (*slice_, bool(fds), *shape), fds
            self.known.update((arena.number, block.number))

    def detach(self, number: int) -> bool:
        """Remove a freed block or arena; whether the worker had attached it."""
        knew = number in self.known
        self.known.discard(number)
        return knew

    def failed(self, name: str, args: tuple[Any, ...]) -> None:
        """The worker could not attach what this message named: send it again."""
        if name == QUEUE:
            self.queue = None
        else:
            self.known -= {args[0], args[1]}

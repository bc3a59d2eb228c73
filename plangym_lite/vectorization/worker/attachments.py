"""What a worker has been told of the memory that it shares with this process.

The descriptors of blocks and of the queue are sent along with the messages that name them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.queue import ChunkQueue

__all__ = ["ATTACH", "DETACH", "QUEUE", "ROWS", "Attachments"]

ATTACH, DETACH, QUEUE = "@attach", "@detach", "@queue"
"""Names in a CALL that mean the worker itself, not its environment."""

ROWS = struct.Struct("<cIIII")
"""A CALL to run rows, not pickled: ``b"@"``, the number of the taker, then that of a block, and
start and stop of its rows; or zeros there, for chunks from the queue, until it is empty."""


class Attachments:
    """The blocks and the queue that one worker knows."""

    def __init__(self) -> None:
        self._blocks: set[int] = set()
        self._queue: ChunkQueue | None = None

    def missing(
        self, block: Block, queue: ChunkQueue | None
    ) -> Iterator[tuple[str, tuple[Any, ...], int]]:
        """What it does not know of these two: name, arguments and descriptor of each message.

        What was taken from this iterator counts as known when the next one is.
        """
        if queue is not None and queue is not self._queue:
            yield QUEUE, (), queue.fd
            self._queue = queue
        if block.number not in self._blocks:
            layout = block.layout
            shape = layout.spec, layout.capacity, layout.form, layout.heap
            yield ATTACH, (block.number, *shape), block.fd
            self._blocks.add(block.number)

    def detach(self, number: int) -> bool:
        """The block of that number is gone; whether the worker knew it."""
        knew = number in self._blocks
        self._blocks.discard(number)
        return knew

"""Promises of the answers of a process."""

from __future__ import annotations

import time
from typing import Any

from plangym_lite.errors import ClosedError, WorkerDiedError
from plangym_lite.transitions import Columns
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import Chunk
from plangym_lite.vectorization.memory.layout import pickled_leaves, put_columns
from plangym_lite.vectorization.worker.handler import RowsResult
from plangym_lite.vectorization.worker.messages import Message, load, load_error
from plangym_lite.vectorization.worker.worker import Promise

__all__ = ["CLOSED", "ProcessPromise", "SentRows"]

CLOSED = "the process was closed"


class ProcessPromise(Promise):
    """The answer to one request to a process."""

    def __init__(self, process: Any, request: int) -> None:
        self._process = process
        self.request = request
        self.kind: int | None = None
        self.payload: bytes | None = b""
        self._value: Any = None

    def done(self) -> bool:
        if self.is_awaited():
            self._process.take_in()
        return not self.is_awaited()

    def is_received(self) -> bool:
        return not self.is_awaited()

    def result(self, timeout: float | None = None) -> Any:
        deadline = self._process.deadline
        if timeout is not None:
            given = time.monotonic() + timeout
            deadline = given if deadline is None else min(deadline, given)
        while self.is_awaited():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._process.take_in(self, left)
        if self.kind is None:
            why = self._process.why_dead or "the worker was replaced"
            raise ClosedError(why) if why == CLOSED else WorkerDiedError(why)
        if self.payload is not None:
            unpickle = load if self.kind == Message.RESULT else load_error
            self._value, self.payload = unpickle(self.payload), None
        if self.kind == Message.RESULT:
            return self._value
        raise self._value

    def is_awaited(self) -> bool:
        """Whether an answer may still come."""
        process = self._process
        return process.why_dead is None and process.waiting.get(self.request) is self


class SentRows(Promise):
    """Rows of a block that is not shared: inputs and results travel in messages.

    Args:
        promise: of the results.
        block: that they are written into.
        chunk: the rows.
    """

    def __init__(self, promise: Promise, block: Block, chunk: Chunk) -> None:
        self._promise, self._block, self._chunk = promise, block, chunk

    def done(self) -> bool:
        return self._promise.done()

    def is_received(self) -> bool:
        return self._promise.is_received()

    def result(self, timeout: float | None = None) -> RowsResult:
        fields, infos, seconds = self._promise.result(timeout)
        out = Columns._make([*fields, self._block.layout.form])
        put_columns(self._block.columns.out_of(*self._chunk), out)
        return RowsResult([self._chunk], infos, pickled_leaves(out), seconds)

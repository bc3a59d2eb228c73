"""Reply: the promise of an ExternalProcess, bound to the id of its request."""

from __future__ import annotations

import time
from typing import Any

from plangym_lite.errors import ClosedError, WorkerDiedError
from plangym_lite.vectorization.messages import Message, load, load_error
from plangym_lite.vectorization.worker import Promise

__all__ = ["CLOSED", "Reply"]

CLOSED = "the process was closed"


class Reply(Promise):
    """The answer to one request of one process."""

    def __init__(self, process: Any, request: int) -> None:
        self._process = process
        self._request = request
        self.kind: int | None = None
        self.payload: bytes | None = b""
        self._value: Any = None

    def done(self) -> bool:
        if self._is_awaited():
            self._process.take_in()
        return not self._is_awaited()

    def result(self, timeout: float | None = None) -> Any:
        deadline = self._process.deadline
        if timeout is not None:
            given = time.monotonic() + timeout
            deadline = given if deadline is None else min(deadline, given)
        while self._is_awaited():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._process.take_in(wait=True, timeout=left)
        if self.kind is None:
            why = self._process.why_dead or "the worker was replaced"
            raise ClosedError(why) if why == CLOSED else WorkerDiedError(why)
        if self.payload is not None:
            unpickle = load if self.kind == Message.RESULT else load_error
            self._value, self.payload = unpickle(self.payload), None
        if self.kind == Message.RESULT:
            return self._value
        raise self._value

    def _is_awaited(self) -> bool:
        """Whether an answer may still come."""
        process = self._process
        return process.why_dead is None and process.waiting.get(self._request) is self

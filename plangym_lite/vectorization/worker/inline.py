"""InlineWorker: a worker in this process, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plangym_lite.errors import ClosedError
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import ChunkQueue
from plangym_lite.vectorization.worker.handler import RequestHandler
from plangym_lite.vectorization.worker.plain import hosted
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT, KnownAnswer, Promise, Worker

__all__ = ["InlineWorker"]


class InlineWorker(Worker):
    """A worker without its own process.

    Args:
        constructor: called at once; returns the environment.
    """

    takes_chunks = True

    def __init__(self, constructor: Callable[[], Any]) -> None:
        self._constructor = constructor
        self._handler: RequestHandler | None = RequestHandler(hosted(constructor))
        self.spec = getattr(self._handler.env, "batch_spec", None)

    @property
    def env(self) -> Any:
        """The environment."""
        return self._open().env

    def restart(self) -> None:
        self._open()
        self.close()
        self._handler = RequestHandler(hosted(self._constructor))

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        return _answer_of(self._open().call, name, args, kwargs)

    def access(self, name: str) -> Any:
        is_method, value = self._open().access(name)
        if not is_method:
            return value
        return lambda *args, **kwargs: self.call(name, *args, **kwargs).result()

    def run_rows(self, block: Block, start: int, stop: int) -> Promise:
        handler = self._attached(block)
        return _answer_of(handler.run_rows, block.number, start, stop)

    def take_chunks(self, block: Block, queue: ChunkQueue, taker: int) -> Promise:
        handler = self._attached(block)
        handler.queue = queue
        return _answer_of(handler.take_chunks, taker)

    def _attached(self, block: Block) -> RequestHandler:
        handler = self._open()
        handler.blocks[block.number] = block.columns
        return handler

    def detach(self, number: int) -> None:
        if self._handler is not None:
            self._handler.blocks.pop(number, None)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        if self._handler is not None:
            handler, self._handler = self._handler, None
            handler.blocks.clear()
            if hasattr(handler.env, "close"):
                handler.env.close()

    def _open(self) -> RequestHandler:
        if self._handler is None:
            raise ClosedError("the worker was closed")
        return self._handler


def _answer_of(function: Callable[..., Any], *args: Any) -> Promise:
    try:
        return KnownAnswer(function(*args))
    except Exception as error:
        return KnownAnswer(error=error)

"""Probe: a toy for what a worker may be asked, and how its suite asks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from plangym_lite.core import PlanEnv
from plangym_lite.transitions import STEPS, Form, Rows
from plangym_lite.vectorization.dispatch.dispatcher import RunningBatch
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import Chunk, ChunkQueue, LocalQueue
from plangym_lite.vectorization.memory.layout import Layout, heap_of
from plangym_lite.vectorization.worker.handler import RowsResult
from plangym_lite.vectorization.worker.worker import Worker
from tests.toys import ToyEnv, ToyError
from tests.vectorization.helpers import block_of

__all__ = [
    "EXITS",
    "SLEEPS",
    "OddError",
    "Probe",
    "make_failing_toy",
    "make_probe",
    "raises",
    "run_queue",
    "run_rows",
    "toy_of",
]

SLEEPS, EXITS = 10, 11
"""Actions of :func:`make_probe` that take a while, and that end the process."""


class Probe(ToyEnv):
    """A toy with a few more methods, for what a worker may be asked.

    Args:
        farewell: path of a file that ``close`` makes.
        toy_args: see :class:`~plangym_lite.testing.toy.ToyEnv`.
    """

    answer = 42
    _secret = "private"

    def __init__(self, *, farewell: str | None = None, **toy_args: Any) -> None:
        self._farewell = farewell
        super().__init__("probe", **toy_args)

    def echo(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What it was given."""
        return *args, kwargs

    def count(self) -> int:
        """How often this was called."""
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls

    def fail(self, *args: Any) -> None:
        """Raise a ``ToyError``."""
        raise ToyError(*args)

    def fail_oddly(self) -> None:
        """Raise an error that cannot be pickled."""
        raise OddError("a text", threading.Lock())

    def leave(self) -> None:
        """Call ``sys.exit``, as some simulators do when their window is closed."""
        sys.exit("leaving")

    def interrupt(self) -> None:
        """Raise a ``KeyboardInterrupt`` of its own."""
        raise KeyboardInterrupt("no key was pressed")

    def give_lock(self) -> Any:
        """Return what cannot be pickled."""
        return threading.Lock()

    def trouble(self, action: int) -> int:
        """Do what an action of ``sleep_at`` or ``exit_at`` does."""
        self._make_trouble(action)
        return action

    def close_engine(self) -> None:
        if self._farewell is not None:
            with open(self._farewell, "w"):
                pass


class OddError(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str, lock: Any) -> None:
        super().__init__(text)
        self.lock = lock


def make_probe() -> Probe:
    """A probe whose actions ``SLEEPS`` and ``EXITS`` do so."""
    return Probe(sleep_at=SLEEPS, sleep_for=0.3, exit_at=EXITS)


@contextmanager
def raises(*kinds: type[BaseException]) -> Iterator[list[BaseException]]:
    """Fail unless the block raises one of ``kinds``; the list will hold what it raised."""
    caught: list[BaseException] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
    else:
        raise AssertionError(f"nothing was raised, expected {kinds}")


def run_rows(worker: Worker, env: PlanEnv, rows: Rows, form: Form = STEPS) -> Any:
    """Run rows through a block, in two chunks that are both under way at once."""
    block, size = _filled(worker, env, rows, form), len(rows.dts)
    chunks = [Chunk(0, size // 3), Chunk(size // 3, size)]
    try:
        promises = [worker.run_rows(block, *chunk) for chunk in chunks if chunk.stop > chunk.start]
        results = RunningBatch(block, rows, [], LocalQueue())
        for promise in promises:
            result = RowsResult(*promise.result(timeout=30))
            results.collect(result)
        return results.finish(env.batch_spec, may_lease=False)
    finally:
        worker.detach(block.number)


def run_queue(worker: Worker, env: PlanEnv, rows: Rows) -> tuple[Any, RowsResult]:
    """Have a worker take the rows out of a queue, one by one."""
    block, queue, size = _filled(worker, env, rows, STEPS), ChunkQueue(), len(rows.dts)
    try:
        queue.put(block.number, [Chunk(row, row + 1) for row in range(size)])
        result = RowsResult(*worker.take_chunks(block, queue, 3).result(timeout=30))
        assert queue.is_empty() is (result.failure is None)
        at_work = block.columns.at_work[3].tolist()
        assert at_work == list(result.failure[:2] if result.failure else (0, 0))
        results = RunningBatch(block, rows, [], LocalQueue())
        results.collect(result)
        return results.finish(env.batch_spec, may_lease=False), result
    finally:
        worker.detach(block.number)
        queue.close()


def _filled(worker: Worker, env: PlanEnv, rows: Rows, form: Form) -> Block:
    spec = env.batch_spec
    heap = heap_of(spec, form, rows, worker.known)
    block = block_of(Layout(spec, len(rows.dts) + 3, form, len(heap.data) if heap else 0))
    block.columns.fill(rows, heap)
    return block


def toy_of(kind: type[ToyEnv]) -> Callable[[], ToyEnv]:
    """A closure that makes a toy with randomness and ends of both kinds."""
    return lambda: kind(slip=0.3, time_limit=6)


def make_failing_toy() -> ToyEnv:
    """A toy that cannot go left."""
    return ToyEnv(fail_at=0)

"""Probe: a toy for what a worker may be asked, and how its suite asks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from plangym_lite.core import PlanEnv
from plangym_lite.testing.toy import ToyEnv, ToyError
from plangym_lite.transitions import STEPS, Form, Rows, pack
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import Piece
from plangym_lite.vectorization.memory.layout import Layout, put_odd_leaves
from plangym_lite.vectorization.memory.queue import RowQueue
from plangym_lite.vectorization.worker.handler import RowsReply
from plangym_lite.vectorization.worker.worker import Worker

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
    """Run rows through a block, in two pieces that are both under way at once."""
    spec, size = env.batch_spec, len(rows.dts)
    block, middle = Block(Layout(spec, size + 3, form)), size // 3
    pieces = [Piece(0, middle), Piece(middle, size)]
    try:
        promises = [
            worker.run_rows(block, piece, block.columns.fill(*piece, rows)) for piece in pieces
        ]
        out, infos = block.columns.out_of(0, size), []
        for (start, stop), promise in zip(pieces, promises, strict=True):
            new, odd, *_ = promise.result(timeout=30)
            infos += new
            put_odd_leaves(out, start, stop, odd)
    finally:
        worker.detach(block.number)
    return pack(spec, out, infos)


def run_queue(worker: Worker, env: PlanEnv, rows: Rows) -> tuple[Any, RowsReply]:
    """Run a third of the rows as a piece, and the others, one by one, out of a queue."""
    size = len(rows.dts)
    block, queue, first = Block(Layout(env.batch_spec, size)), RowQueue(), size // 3
    try:
        left_over = block.columns.fill(0, size, rows)
        queue.put([Piece(row, row + 1) for row in range(first, size)])
        promise = worker.run_rows(block, Piece(0, first), left_over, queue)
        reply = RowsReply(*promise.result(timeout=30))
        return pack(env.batch_spec, block.columns.out_of(0, size), reply.infos), reply
    finally:
        worker.detach(block.number)
        queue.close()


def toy_of(kind: type[ToyEnv]) -> Callable[[], ToyEnv]:
    """A closure that makes a toy with randomness and ends of both kinds."""
    return lambda: kind(slip=0.3, time_limit=6)


def make_failing_toy() -> ToyEnv:
    """A toy that cannot go left."""
    return ToyEnv(fail_at=0)

"""Worker: a place where one environment lives, with one verb, ``call(name, ...) -> Promise``.

``BatchEnv`` and the vector environments need of a worker what is listed here, whether it is a
process, an actor on a cluster, or :class:`.InlineWorker`, which tests use instead of a process.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plangym_lite.errors import ProtocolError
from plangym_lite.system import interrupts_held
from plangym_lite.transitions import BatchSpec
from plangym_lite.validation import check_timeout
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.queue import ChunkQueue
from plangym_lite.vectorization.worker.channel import LateError

__all__ = [
    "CLOSE_TIMEOUT",
    "Promise",
    "Worker",
    "close_all",
    "common_spec",
    "known_to_all",
    "time_limit",
]

CLOSE_TIMEOUT = 5.0


class Promise(ABC):
    """The answer to one call. Dropping it is harmless; asking twice gives the same."""

    @abstractmethod
    def done(self) -> bool:
        """Whether the answer is here, without waiting."""

    @abstractmethod
    def result(self, timeout: float | None = None) -> Any:
        """Wait for the answer: return it, or raise what was raised.

        Raises:
            TimeoutError: not within ``timeout`` seconds; ask again later.
            WorkerDiedError: the worker ended before it answered.
        """

    def __call__(self) -> Any:
        """``result()``."""
        return self.result()


class Worker(ABC):
    """A place where one environment lives."""

    spec: BatchSpec | None = None  # what a row looks like; None: not a PlanEnv
    deadline: float | None = None  # time.monotonic() at which whatever waits raises LateError
    takes_chunks: bool = False  # whether it shares memory, and so can take chunks by itself
    known: dict[int, Any] = {}  # by id: classes and functions it has by name
    rows_name: str = "step_batch"  # the call that running rows is part of, for messages

    @abstractmethod
    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        """Call a method of the environment."""

    @abstractmethod
    def access(self, name: str) -> Any:
        """The value of an attribute; for a method, a callable that calls it over there."""

    @abstractmethod
    def run_rows(self, block: Block, start: int, stop: int) -> Promise:
        """Run rows of a block, results into the block; promise the fields of a ``RowsResult``."""

    def take_chunks(self, block: Block, queue: ChunkQueue, taker: int) -> Promise:
        """Have it take chunks from ``queue``, until there are none; see ``run_rows``.

        Args:
            block: that the chunks are of.
            taker: the row of the block's column ``at_work`` that is this worker's.
        """
        raise NotImplementedError(f"{self!r} cannot take chunks by itself")

    def is_up(self) -> bool:
        """Whether it is past its start, without waiting for that: ready, or dead."""
        return True

    @abstractmethod
    def detach(self, number: int) -> None:
        """The block of that number is gone."""

    @abstractmethod
    def restart(self) -> None:
        """Replace whatever is left of the worker by a fresh one, unless it was closed."""

    def replace(self, state: Any = None) -> None:
        """``restart`` into ``state``, without waiting for the environment where that can be."""
        self.restart()
        if state is not None:
            self.call("set_state", state)

    def owes_answers(self) -> bool:
        """Whether it is at work."""
        return False

    @abstractmethod
    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close the environment and end, within ``timeout`` seconds. May be called again."""

    def wait_start(self, timeout: float | None = None) -> None:  # noqa: B027
        """Wait until the environment is ready, where that takes time."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def request_close(self) -> None:  # noqa: B027
        """Ask for the end without waiting for it, so that several workers end side by side."""

    def fileno(self) -> int:
        """A descriptor that is readable when an answer has come; -1: answers come at once."""
        return -1

    def is_ready(self) -> bool:
        """Whether an answer may be here without ``fileno`` being readable."""
        return True


def close_all(workers: Iterable[Worker], timeout: float = CLOSE_TIMEOUT) -> None:
    """Close workers side by side: all of them have ``timeout`` seconds together."""
    workers = list(workers)
    deadline = time.monotonic() + timeout
    for worker in workers:
        worker.request_close()
    for worker in workers:
        worker.close(max(0.0, deadline - time.monotonic()))


def common_spec(workers: Sequence[Worker]) -> BatchSpec:
    """What a row looks like for all of the workers.

    Raises:
        TypeError: there is a worker that has no such thing.
        ValueError: it is not the same for all of them.
    """
    for worker in workers:
        worker.wait_start()
    spec = workers[0].spec
    if spec is None:
        raise TypeError("the workers' environments must be PlanEnvs")
    for index, worker in enumerate(workers):
        if worker.spec is None or not spec.agrees_with(worker.spec):
            raise ValueError(
                f"worker {index} has other spaces or states than worker 0: "
                f"{worker.spec} instead of {spec}"
            )
    return spec


def known_to_all(workers: Sequence[Worker]) -> dict[int, Any]:
    """The classes and functions that all of the workers know by their names, by id."""
    first, *others = {id(worker.known): worker.known for worker in workers}.values()
    return {key: value for key, value in first.items() if all(key in each for each in others)}


def unknown(kind: int) -> ProtocolError:
    """The error for a message that the protocol does not have."""
    return ProtocolError(f"message of unknown kind {kind}")


@contextmanager
def time_limit(
    workers: Sequence[Worker], timeout: float | None, call: str, replace: Callable[[int], None]
) -> Iterator[None]:
    """Let a call take ``timeout`` seconds, waits of every kind included.

    Args:
        workers: those that it may wait for.
        timeout: ``None``: no limit.
        call: its name.
        replace: called with the index of each worker that still owes answers then.

    Raises:
        TimeoutError: it took longer.
    """
    timeout = check_timeout(timeout)
    if timeout is None:
        yield
        return
    try:
        deadline = time.monotonic() + timeout
        for worker in workers:
            worker.deadline = deadline
        yield
    except LateError as error:
        late = {
            index: repr(worker) for index, worker in enumerate(workers) if worker.owes_answers()
        }
        for index in late:
            replace(index)
        names = ", ".join(f"worker {index} ({name})" for index, name in late.items())
        what = f"{names} did not answer and was replaced" if late else str(error)
        raise TimeoutError(f"{call!r} took longer than {timeout:g} s: {what}") from None
    finally:
        with interrupts_held():
            for worker in workers:
                worker.deadline = None

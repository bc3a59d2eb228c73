"""Worker: holds one environment; its main method is ``call(name, ...) -> Promise``.

``BatchEnv`` and the vector environments use this interface. A worker is a process, an actor on a
cluster, or an :class:`.InlineWorker`, which tests use instead of a process.
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
from plangym_lite.vectorization.memory.chunks import ChunkQueue
from plangym_lite.vectorization.worker.channel import LateError

__all__ = [
    "CLOSE_TIMEOUT",
    "KnownAnswer",
    "Promise",
    "Worker",
    "close_all",
    "common_spec",
    "known_to_all",
    "time_limit",
]

CLOSE_TIMEOUT = 5.0


class Promise(ABC):
    """The answer to one call. It may be dropped, and read more than once."""

    @abstractmethod
    def done(self) -> bool:
        """Whether the answer has arrived; does not wait."""

    def is_received(self) -> bool:
        """Whether it is of no use to wait until the worker's ``fileno`` is readable."""
        return self.done()

    def is_void(self) -> bool:
        """Whether no answer will come because the worker, which runs, was restarted since."""
        return False

    @abstractmethod
    def result(self, timeout: float | None = None) -> Any:
        """Wait for the answer; return it, or raise the error of the call.

        Raises:
            TimeoutError: not within ``timeout`` seconds; may be called again.
            WorkerDiedError: the worker ended before it answered.
        """

    def __call__(self) -> Any:
        """``result()``."""
        return self.result()


class KnownAnswer(Promise):
    """An answer, or the error of the call, that is known already."""

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value, self._error = value, error

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class Worker(ABC):
    """Holds one environment."""

    spec: BatchSpec | None = None  # layout of a row; None: not a PlanEnv
    deadline: float | None = None  # time.monotonic() at which waits raise LateError
    takes_chunks: bool = False  # whether it takes chunks from the queue (shared memory)
    known: dict[int, Any] = {}  # by id: classes and functions that it knows by name
    rows_name: str = "step_batch"  # name of the call that runs rows, for messages

    @abstractmethod
    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        """Call a method of the environment."""

    @abstractmethod
    def access(self, name: str) -> Any:
        """The value of an attribute; for a method, a callable that calls it in the worker."""

    @abstractmethod
    def run_rows(self, block: Block, start: int, stop: int) -> Promise:
        """Run rows of a block, results into the block; answered by the fields of ``RowsResult``."""

    def take_chunks(self, block: Block, queue: ChunkQueue, taker: int) -> Promise:
        """Run chunks from ``queue`` until it is empty; see ``run_rows``.

        Args:
            block: the block of the chunks.
            taker: this worker's row in the block's column ``at_work``.
        """
        raise NotImplementedError(f"{self!r} cannot take chunks by itself")

    def is_up(self) -> bool:
        """Whether its start has ended: it is ready, or dead. Does not wait."""
        return True

    @abstractmethod
    def detach(self, number: int) -> None:
        """Detach the block of that number."""

    @abstractmethod
    def restart(self) -> None:
        """Start a new worker in its place, unless it was closed."""

    def replace(self, state: Any = None) -> None:
        """``restart`` into ``state``; if possible without waiting for the environment."""
        self.restart()
        if state is not None:
            self.call("set_state", state)

    def owes_answers(self) -> bool:
        """Whether calls are unanswered."""
        return False

    @abstractmethod
    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close the environment and end, within ``timeout`` seconds. Idempotent."""

    def wait_start(self, timeout: float | None = None) -> None:  # noqa: B027
        """Wait until the environment is ready."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def request_close(self) -> None:  # noqa: B027
        """Request the end without waiting, so that several workers end concurrently."""

    def fileno(self) -> int:
        """A descriptor that is readable when an answer has arrived; -1: answers are immediate."""
        return -1


def close_all(workers: Iterable[Worker], timeout: float = CLOSE_TIMEOUT) -> None:
    """Close workers concurrently, within ``timeout`` seconds in total."""
    workers = list(workers)
    deadline = time.monotonic() + timeout
    for worker in workers:
        worker.request_close()
    for worker in workers:
        worker.close(max(0.0, deadline - time.monotonic()))


def common_spec(workers: Sequence[Worker]) -> BatchSpec:
    """The layout of a row, the same for all workers, or an error."""
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
    """The classes and functions that all workers know by name, by id."""
    first, *others = {id(worker.known): worker.known for worker in workers}.values()
    return {key: value for key, value in first.items() if all(key in each for each in others)}


def unknown(kind: int) -> ProtocolError:
    return ProtocolError(f"message of unknown kind {kind}")


@contextmanager
def time_limit(
    workers: Sequence[Worker], timeout: float | None, call: str, replace: Callable[[int], None]
) -> Iterator[None]:
    """Limit a call to ``timeout`` seconds, waits for ``workers`` included.

    After that ``replace`` is called with the index of each worker with unanswered calls, and
    ``TimeoutError`` raised.
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

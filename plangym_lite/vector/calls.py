"""Calls: the calls to the workers of a group, at most one of them pending.

A call can be begun and its result taken later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from plangym_lite.errors import (
    AlreadySteppingError,
    AnswerTimeoutError,
    ClosedError,
    NotSteppingError,
    WorkerDiedError,
)
from plangym_lite.system import add_note, one_at_a_time
from plangym_lite.vectorization.worker.worker import KnownAnswer, Promise, Worker

__all__ = ["Calls", "Pending"]


class Pending(NamedTuple):
    """A pending call."""

    name: str  # "step", "reset" or "call"
    promises: dict[int, Promise]  # by the number of the environment
    finish: Callable[[list[Any]], Any]  # makes the result from all answers
    is_wanted: bool = False  # False: interrupted, its result is not needed

    @property
    def late(self) -> list[int]:
        return [index for index, promise in self.promises.items() if not promise.done()]


class Calls:
    """Calls workers, one per environment in order, and waits for them."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = list(workers)
        self.lost: dict[int, WorkerDiedError] = {}  # dead workers
        self.is_closed = False
        self.lock = self._calls = threading.RLock()  # one call at a time, for all threads
        self.pending: Pending | None = None

    def send(self, index: int, name: str, *args: Any) -> Promise:
        """Call a method of one worker; if it is dead, the promise raises the error."""
        try:
            return self.workers[index].call(name, *args)
        except WorkerDiedError as error:
            return KnownAnswer(error=error)

    def gather(self, promises: Mapping[int, Promise], timeout: float | None = None) -> list[Any]:
        """All results, by number of environment; the first error after all replies have arrived.

        ``TimeoutError``: an environment has not answered within ``timeout`` seconds in total.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        results: list[Any] = []
        errors: list[Exception] = []
        for index, promise in promises.items():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                results.append(promise.result(left))
            except WorkerDiedError as error:
                self.lost[index] = WorkerDiedError(f"environment {index}: {error}")
                errors.append(self.lost[index])
            except Exception as error:
                if isinstance(error, TimeoutError) and not promise.done():
                    raise AnswerTimeoutError(
                        f"environment {index} has not answered within {timeout} s"
                    ) from None
                add_note(error, f"in environment {index}")
                errors.append(error)
        if errors:
            raise errors[0]
        return results

    def check_idle(self, call: str) -> None:
        """Raise if a call is pending or all is closed; wait for an interrupted call."""
        if self.is_closed:
            raise ClosedError("the environments were closed: make new ones")
        if self.pending is not None and not self.pending.is_wanted:
            self.finish_pending()
        if self.pending is not None:
            name = self.pending.name
            raise AlreadySteppingError(
                f"Calling `{call}` while waiting for a pending call to `{name}` to complete. "
                f"Take its result first, with `{name}_wait`",
                name,
            )

    def begin(
        self, name: str, send: Callable[[int], Promise], finish: Callable[[list[Any]], Any]
    ) -> None:
        """Send a call to each worker; ``end(name)`` returns ``finish`` of the answers.

        If this is interrupted, the result is dropped, and the next call waits for the workers that
        were called.
        """
        promises: dict[int, Promise] = {}
        self.pending = Pending(name, promises, finish)
        for index in range(len(self.workers)):
            promises[index] = send(index)
        self.pending = self.pending._replace(is_wanted=True)

    @one_at_a_time
    def end(self, name: str, timeout: float | None = None) -> Any:
        """The result of the pending call ``name``.

        Raises:
            NotSteppingError: no such call is pending.
            TimeoutError: not all answers within ``timeout`` seconds; may be called again.
            WorkerDiedError: a worker died; all other answers have arrived.
            Exception: an error of an environment; all other answers have arrived.
        """
        if self.is_closed:
            raise ClosedError("the environments were closed: make new ones")
        pending = self.pending
        if pending is None or pending.name != name:
            raise NotSteppingError(
                f"Calling `{name}_wait` without any prior call to `{name}_async`.", name
            )
        try:
            answers = self.gather(pending.promises, timeout)
        except BaseException:
            if not pending.late:
                self.pending = None
            raise
        self.pending = None
        return pending.finish(answers) if len(answers) == len(self.workers) else None

    def abandon(self) -> None:
        """Drop the result of the pending call; the next call waits for its end."""
        if self.pending is not None:
            self.pending = self.pending._replace(is_wanted=False)

    def finish_pending(self, timeout: float | None = None) -> None:
        """Wait, at most ``timeout`` seconds, for the end of the pending call; drop its result."""
        pending = self.pending
        if pending is None:
            return
        try:
            self.end(pending.name, timeout)
        except Exception:
            if self.pending is not None:
                raise

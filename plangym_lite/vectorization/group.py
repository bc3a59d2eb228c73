"""Group: several workers that are asked together.

Every question is sent to all before the first answer is awaited, and every answer is taken before
any error is raised: none is left over to answer a later question.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from plangym_lite.engine import add_note
from plangym_lite.errors import WorkerDiedError
from plangym_lite.vectorization.worker import Promise, Worker

__all__ = ["Group", "Indices", "Lost"]

Indices = int | slice | Iterable[int] | None
"""Which workers: ``None`` for all, a number, a slice or several numbers."""


class Group:
    """Workers with one environment each.

    Args:
        workers: who they are. Those that were found dead are in ``lost``.
    """

    def __init__(self, workers: Iterable[Worker]) -> None:
        self.workers = list(workers)
        self.lost: dict[int, WorkerDiedError] = {}

    def __len__(self) -> int:
        return len(self.workers)

    def check_idle(self) -> None:
        """Raise if nothing can be asked now."""

    def ask(self, name: str, *args: Any, indices: Indices = None) -> list[Any]:
        """Call a method of the seats asked, with the same arguments; results in that order."""
        chosen = self.chosen(indices)
        return self.ask_each(name, [args] * len(chosen), chosen)

    def ask_each(self, name: str, args: Sequence[tuple[Any, ...]], indices: Indices) -> list[Any]:
        """The same, each with arguments of its own."""
        return self.end_ask(self.begin_ask(name, args, indices))

    def begin_ask(self, name: str, args: Sequence[tuple[Any, ...]], indices: Indices) -> Any:
        """Send the calls of ``ask_each``; ``end_ask`` takes the answers."""
        self.check_idle()
        chosen = self.chosen(indices)
        return chosen, [self.send(i, name, *given) for i, given in zip(chosen, args, strict=True)]

    def end_ask(self, asked: Any, timeout: float | None = None) -> list[Any]:
        """Wait for what ``begin_ask`` asked."""
        chosen, promises = asked
        return self.gather(chosen, promises, timeout)

    def chosen(self, indices: Indices) -> list[int]:
        """``None``, a number, a slice or several numbers as a list of numbers from 0 on."""
        everyone = range(len(self))
        if indices is None:
            return list(everyone)
        if isinstance(indices, slice):
            return list(everyone[indices])
        try:
            numbers: list[Any] = list(indices)  # type: ignore[arg-type]
        except TypeError:
            numbers = [indices]
        try:
            return [everyone[number] for number in numbers]
        except (IndexError, TypeError) as error:
            raise type(error)(f"{indices!r} does not index {len(self)} environments") from None

    def send(self, index: int, name: str, *args: Any) -> Promise:
        """Call a method of one worker; if it is dead, the promise will say so."""
        try:
            return self.workers[index].call(name, *args)
        except WorkerDiedError as error:
            return Lost(error)

    def gather(
        self, indices: Iterable[int], promises: Sequence[Promise], timeout: float | None = None
    ) -> list[Any]:
        """All results; if there are errors, the first of them, once every reply was taken."""
        deadline = None if timeout is None else time.monotonic() + timeout
        results: list[Any] = []
        errors: list[Exception] = []
        for index, promise in zip(indices, promises, strict=True):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                results.append(promise.result(left))
            except WorkerDiedError as error:
                self.lost[index] = WorkerDiedError(f"environment {index}: {error}")
                errors.append(self.lost[index])
            except Exception as error:
                if isinstance(error, TimeoutError) and not promise.done():
                    raise TimeoutError(
                        f"environment {index} has not answered within {timeout} s"
                    ) from None
                add_note(error, f"in environment {index}")
                errors.append(error)
        if errors:
            raise errors[0]
        return results


class Lost(Promise):
    """The answer of a worker that was dead before it was asked."""

    def __init__(self, error: WorkerDiedError) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        raise self._error

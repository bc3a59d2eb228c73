"""RayReply: the promise of a RayWorker, bound to one call of one actor."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayError, RayTaskError

from plangym_lite.errors import RemoteError
from plangym_lite.vectorization.messages import load_error
from plangym_lite.vectorization.worker import Promise

__all__ = ["RayReply"]


class RayReply(Promise):
    """The answer to one call of one actor.

    Args:
        worker: who was asked.
        name: for what.
        future: of what the actor returns.
        take: makes the answer of it, if it is no error.
    """

    def __init__(self, worker: Any, name: str, future: Any, take: Callable[[Any], Any]) -> None:
        self._worker, self._name, self._life = worker, name, worker.life
        self._future, self._take = future, take
        self._outcome: tuple[bool, Any] | None = None

    def done(self) -> bool:
        return self._outcome is not None or self._future.done() or self._is_orphan()

    def result(self, timeout: float | None = None) -> Any:
        if self._outcome is None:
            self._outcome = self._settle(timeout)
            self._future = self._take = None  # type: ignore  # the answer's memory is Ray's
        succeeded, value = self._outcome
        if succeeded:
            return value
        raise value

    def _settle(self, timeout: float | None) -> tuple[bool, Any]:
        if self._is_orphan() and not self._future.done():
            return False, self._worker.error_of("the worker was replaced")
        try:
            succeeded, value = self._future.result(timeout)
            if succeeded:
                return True, self._take(value)
        except concurrent.futures.TimeoutError:  # before Python 3.11 not the built-in one
            raise TimeoutError(f"no answer within {timeout} seconds") from None
        except RayTaskError as error:  # outside of what _attempt sees: in pickling, say
            cause = error.cause if isinstance(error.cause, Exception) else RemoteError(str(error))
            cause.__cause__ = RemoteError(error.traceback_str)
            return False, cause
        except RayError as error:
            why = (
                self._worker.died(self._name, error)
                if not self._is_orphan()
                else "the worker was replaced"
            )
            return False, self._worker.error_of(why)
        return False, load_error(value)

    def _is_orphan(self) -> bool:
        return self._life != self._worker.life

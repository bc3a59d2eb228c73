"""Limits of time for calls that wait for workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from plangym_lite.system import interrupts_held
from plangym_lite.validation import check_timeout
from plangym_lite.vectorization.channel import LateError
from plangym_lite.vectorization.worker import Worker

__all__ = ["time_limit"]


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

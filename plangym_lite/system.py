"""Usable cores, what workers need of the system, deferred Ctrl-C, call locks."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from plangym_lite.errors import ForkedError, NoWorkersError, ReentrantCallError

__all__ = [
    "CallLock",
    "add_note",
    "check_workers",
    "interrupts_held",
    "missing_for_workers",
    "one_at_a_time",
    "usable_cores",
]

NEEDED_BY_WORKERS = (
    "os.set_blocking",
    "resource.getrlimit",
    "select.PIPE_BUF",
    "select.poll",
    "signal.SIGCHLD",
    "signal.SIGKILL",
    "signal.pthread_sigmask",
    "socket.AF_UNIX",
    "socket.send_fds",
)
"""What Linux and macOS have and Windows has not."""


def usable_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def missing_for_workers() -> list[str]:
    """What worker processes need and this system lacks; empty where there are workers."""
    return [name for name in NEEDED_BY_WORKERS if not _is_there(*name.split("."))]


def check_workers() -> None:
    """Make sure that this system can have workers.

    Raises:
        NoWorkersError: it cannot.
    """
    missing = missing_for_workers()
    if missing:
        raise NoWorkersError(
            f"workers need Linux or macOS (on Windows: WSL): this system ({sys.platform}) lacks "
            f"{', '.join(missing)}; with n_workers=None everything runs in this process"
        )


def _is_there(module: str, name: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False


HELD = tuple(
    getattr(signal, name)
    for name in [
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
        "SIGALRM",
        "SIGVTALRM",
        "SIGPROF",
        "SIGUSR1",
        "SIGUSR2",
    ]
    if hasattr(signal, name)
)


@contextmanager
def interrupts_held(send_again: bool = False) -> Iterator[None]:
    """Defer the program's handlers of Ctrl-C, alarms and similar signals, which may raise.

    So a start is not interrupted, and no child prints a traceback: it inherits the signal mask, and
    later ignores Ctrl-C.

    Args:
        send_again: at the end send the signals again shortly afterwards instead of calling the
            handlers: for finalizers, where Python drops exceptions.
    """
    before: dict[int, Any] = {}
    put_off: dict[int, Any] = {}  # the last of each
    if threading.current_thread() is threading.main_thread():  # handlers run only there
        handlers = {number: signal.getsignal(number) for number in HELD}
        before = {number: each for number, each in handlers.items() if callable(each)}
    for number in before:
        signal.signal(number, lambda *args: put_off.update({args[0]: args}))
    can_mask = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_mask else set()
    try:
        yield
    finally:
        if can_mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with ExitStack() as stack:
            for number, handler in before.items():
                signal.signal(number, handler)
            for number, args in put_off.items():
                if send_again:
                    timer = threading.Timer(1e-3, os.kill, (os.getpid(), number))
                    timer.daemon = True
                    timer.start()
                    continue
                stack.callback(before[number], *args)


def add_note(error: BaseException, note: str) -> None:
    """``error.add_note(note)``, if Python has it (3.11)."""
    if hasattr(error, "add_note"):
        error.add_note(note)


def one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let threads call a method one at a time, by the lock ``_calls`` of its object."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._calls:
            return method(self, *args, **kwargs)

    return call


class CallLock:
    """Allows one call at a time of an environment with workers.

    Threads wait for each other. A call in a forked child raises before it waits: the workers belong
    to the parent. A call from inside a call, made by the environment's own code, raises too.

    Args:
        what: the environment, for messages.
    """

    def __init__(self, what: Any) -> None:
        self.inner = threading.RLock()  # also of the local copy
        self._what, self._pid = what, os.getpid()
        self._owner: int | None = None

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked from the one that made the lock."""
        return os.getpid() != self._pid

    def check_process(self) -> None:
        """Raise ``ForkedError`` in another process than the one that made it."""
        if os.getpid() != self._pid:
            raise ForkedError(
                f"{self._what} was made in process {self._pid}, of which this process ("
                f"{os.getpid()}) was forked: make another environment here, or env.clone() "
                "before the fork"
            )

    @contextmanager
    def turn(self, timeout: float | None) -> Iterator[float | None]:
        """A context for one thread at a time; yields the rest of ``timeout`` seconds.

        Unlike ``acquire`` it is reentrant.

        Raises:
            ForkedError: this process was forked.
            TimeoutError: other calls took longer.
        """
        self.check_process()
        began = time.monotonic()
        wait = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        if not self.inner.acquire(timeout=wait):
            raise TimeoutError(f"a call of another thread took longer than {timeout:g} s")
        try:
            waited = time.monotonic() - began
            if timeout is not None and waited > 1e-2:
                timeout = max(1e-3, timeout - waited)
            yield timeout
        finally:
            self.inner.release()

    def acquire(self, timeout: float | None = None) -> None:
        """Begin a call; wait for calls of other threads first.

        Raises:
            ForkedError: this process was forked.
            ReentrantCallError: this thread is in a call already.
            TimeoutError: other calls took longer than ``timeout`` seconds.
        """
        self.check_process()
        me = threading.get_ident()
        if self._owner == me:
            raise ReentrantCallError(
                f"{self._what} was called from inside a call of it, by its environment: clone() "
                "gives an environment that may be called there"
            )
        wait = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        if not self.inner.acquire(timeout=wait):
            raise TimeoutError(f"a call of another thread took longer than {timeout:g} s")
        self._owner = me

    def release(self) -> None:
        """End a call."""
        self._owner = None
        self.inner.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

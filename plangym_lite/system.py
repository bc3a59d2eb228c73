"""Usable cores, what workers need of the system, deferred Ctrl-C, call locks."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
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
    "one_call",
    "usable_cores",
]

NEEDED_BY_WORKERS = (
    *("os.set_blocking", "resource.getrlimit", "select.PIPE_BUF", "select.poll", "signal.SIGCHLD"),
    *("signal.SIGKILL", "signal.pthread_sigmask", "socket.AF_UNIX", "socket.send_fds"),
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
    """Raise ``NoWorkersError`` unless this system can have workers."""
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
    for name in (
        *("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"),
        *("SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2"),
    )
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
    before: dict[int, Any] = {}  # handlers to put back
    put_off: dict[int, Any] = {}  # the last of each signal
    raised: BaseException | None = None
    if threading.current_thread() is threading.main_thread():  # handlers run only there
        known = {number: signal.getsignal(number) for number in HELD}
        before = {number: each for number, each in known.items() if callable(each)}
    handlers = before.copy()
    mask = _mask()
    try:
        for number in before:
            signal.signal(number, lambda *args: put_off.update({args[0]: args}))
        _mask({signal.SIGINT, *mask})
        yield
    finally:
        _mask(mask)
        if is_sent := bool(put_off and send_again):
            threading.Thread(target=_send_again, args=(put_off, before), daemon=True).start()
        while before:
            try:
                for number in list(before):
                    signal.signal(number, before[number])
                    del before[number]
            except BaseException as error:  # of a handler that is back already
                raised = raised or error
        with ExitStack() as stack:
            for number, args in () if is_sent else put_off.items():
                stack.callback(handlers[number], *args)
            if raised is not None:
                raise raised


def _mask(blocked: Collection[int] | None = None) -> Collection[int]:
    """Set the thread's signal mask, unless ``None``; return the one before. Windows has none."""
    if not hasattr(signal, "pthread_sigmask"):
        return ()
    how = signal.SIG_BLOCK if blocked is None else signal.SIG_SETMASK
    return signal.pthread_sigmask(how, blocked or ())


def _send_again(signals: Collection[int], held: Collection[int]) -> None:
    """Send signals to this process once none is held any more, and the finalizer has ended."""
    while held:
        time.sleep(1e-3)
    time.sleep(1e-3)
    for number in list(signals):
        os.kill(os.getpid(), number)


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


def one_call(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let threads call a method one at a time, by the ``CallLock`` ``_calls`` of its object."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._calls.run(None, lambda _: method(self, *args, **kwargs))

    return call


class CallLock:
    """Allows one call at a time of an environment with workers.

    Threads wait for each other. A call in a forked child raises before it waits: the workers belong
    to the parent. A call from inside a call, made by the environment's own code, raises too.

    An interrupt, which may come after any call of a function, leaves no lock behind: the lock is
    released by the first call in a ``finally``, and to release what was not acquired is allowed.

    Args:
        what: the environment, for messages.
        inner: the lock itself, also of the local copy; ``None``: a new one.
        is_reentrant: a call from inside a call is allowed.
    """

    def __init__(self, what: Any, inner: Any = None, is_reentrant: bool = False) -> None:
        self.inner: Any = threading.RLock() if inner is None else inner
        self._what, self._pid, self._is_reentrant = what, os.getpid(), is_reentrant

    @property
    def is_forked(self) -> bool:
        return os.getpid() != self._pid

    def check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(
                f"{self._what} was made in process {self._pid}, of which this process ("
                f"{os.getpid()}) was forked: make another environment here, or env.clone() "
                "before the fork"
            )

    def run(self, timeout: float | None, call: Callable[..., Any], *args: Any) -> Any:
        """Return ``call(*args, left)``; wait for calls of other threads first.

        ``left`` is the rest of ``timeout`` seconds.

        Raises:
            ForkedError: this process was forked.
            ReentrantCallError: this thread is in a call already.
            TimeoutError: other calls took longer than ``timeout`` seconds.
        """
        if os.getpid() != self._pid:
            self.check_process()
        if not self._is_reentrant and self.inner._is_owned():
            raise ReentrantCallError(
                f"{self._what} was called from inside a call of it, by its environment: clone() "
                "gives an environment that may be called there"
            )
        try:
            if timeout is None:
                self.inner.acquire()
            else:
                timeout = self._acquire(timeout)
            return call(*args, timeout)
        finally:
            try:  # noqa: SIM105 -- the first call here must be this one
                self.inner.release()
            except RuntimeError:
                pass

    def _acquire(self, timeout: float) -> float:
        began = time.monotonic()
        if not self.inner.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise TimeoutError(f"a call of another thread took longer than {timeout:g} s")
        waited = time.monotonic() - began
        return max(1e-3, timeout - waited) if waited > 1e-2 else timeout

"""Launch: which start method, and a child that was just started, until it has ended."""

from __future__ import annotations

import functools
import multiprocessing
import signal
import socket
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from plangym_lite.recipe.parcel import Parcel
from plangym_lite.system import interrupts_held
from plangym_lite.vectorization.process.start import (
    ChildProcess,
    close_in_forks,
    hash_seed,
    start_process,
)
from plangym_lite.vectorization.worker.channel import Channel, ChannelClosedError, LateError
from plangym_lite.vectorization.worker.messages import Message, dump

__all__ = ["Child", "default_start_method", "describe_exit", "end_process"]

NEVER_FORKED = frozenset(("jax", "stable_retro", "tensorflow", "torch"))
"""Packages with threads of their own, or with an engine of which a process can have only one."""


def default_start_method(constructor: Callable[[], Any] | None = None) -> str:
    """``forkserver`` where there is one, else ``spawn``: neither forks a process with threads.

    Where the code that a constructor reaches makes sets of words (see ``Reach``), it is ``fork``:
    their order hangs on a secret that each interpreter draws anew, unless ``PYTHONHASHSEED`` is
    set, and on how they came about; only a fork of this process shares both. A process that has
    threads is not forked even so, nor one with an engine of which there is one in a process, or
    with torch or JAX; a warning says what to do about it.
    """
    methods = multiprocessing.get_all_start_methods()
    default = "forkserver" if "forkserver" in methods else "spawn"
    if constructor is None:
        return default
    parcel = Parcel.of(constructor)
    if not parcel.walks_sets:
        return default
    may_fork = not parcel.is_singleton and NEVER_FORKED.isdisjoint(sys.modules)
    if may_fork and sys.platform == "linux" and threading.active_count() == 1:
        return "fork"
    if hash_seed() is None:
        _warn_of_sets()
    return default


@functools.lru_cache(maxsize=1)
def _warn_of_sets() -> None:
    """Once in a process."""
    warnings.warn(
        "the environment uses sets, whose order in the workers may be another one than here, and "
        "with it the results: this process cannot be forked, because it has threads or a library "
        "that must not be forked. Set PYTHONHASHSEED=0 before Python starts, or choose a "
        "start_method=",
        RuntimeWarning,
        stacklevel=3,
    )


def end_process(
    process: ChildProcess, channel: Any, lifeline: Any, timeout: float = 1.0
) -> int | None:
    """Wait ``timeout`` seconds for a child whose channel is closed to end; then make it end.

    With 0 seconds it is not asked but killed: it may be stopped, and hear nothing. Returns its
    exit code.
    """
    channel.close()
    if not process.is_ours:  # in a fork of its parent
        lifeline.close()
        return None
    process.join(timeout)
    lifeline.close()  # ends it, if it hangs
    if timeout and process.is_alive():
        process.join(0.5)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()
    return process.exitcode


@interrupts_held(send_again=True)
def _end_forgotten(process: ChildProcess, channel: Any, lifeline: Any) -> None:
    """``end_process`` where an exception would be swallowed and leave the child there."""
    end_process(process, channel, lifeline)


def describe_exit(exitcode: int | None) -> str:
    """An exit code in words."""
    if exitcode is None:
        return "exit code not known"
    if exitcode < 0:
        try:
            return f"exit code {exitcode}, signal {signal.Signals(-exitcode).name}"
        except ValueError:
            return f"exit code {exitcode}, signal {-exitcode}"
    return f"exit code {exitcode}"


class Child:
    """A process that was just started and builds its environment.

    Args:
        parcel: what makes the environment.
        start_method: one of multiprocessing's.
        start_timeout: seconds that the environment may take to build.
        poll_seconds: seconds for which it looks out for the next request before it sleeps.
    """

    def __init__(
        self,
        parcel: Parcel,
        start_method: str,
        start_timeout: float | None = None,
        poll_seconds: float = 0.0,
    ) -> None:
        carried = parcel if start_method == "fork" else parcel.pack()
        with interrupts_held():
            self._start(carried, poll_seconds, start_method)
        self._start_timeout = start_timeout
        self._start_by = None if start_timeout is None else time.monotonic() + start_timeout

    def _start(self, carried: Any, poll_seconds: float, start_method: str) -> None:
        with ExitStack() as failed, ExitStack() as given:
            ours, theirs = socket.socketpair()
            failed.callback(ours.close)
            given.callback(theirs.close)
            reader, lifeline = multiprocessing.Pipe(duplex=False)
            failed.callback(lifeline.close)
            given.callback(reader.close)
            close_in_forks(ours, lifeline)
            process = start_process(theirs, reader, carried, poll_seconds, start_method)
            failed.pop_all()
        self.channel = Channel(ours)
        self._process, self._lifeline = process, lifeline
        self.pid: int | None = process.pid
        self._exit_code: int | None = None
        self._finalizer = weakref.finalize(self, _end_forgotten, process, self.channel, lifeline)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._finalizer.alive and self._process.is_alive()

    def first_message(
        self, timeout: float | None, deadline: float | None
    ) -> tuple[int, int, bytes]:
        """What it says when its environment stands, or could not be built.

        Raises:
            LateError: it is still at it after ``timeout`` seconds, or at ``deadline``.
            TimeoutError: it took longer than ``start_timeout``; it is gone.
            ChannelClosedError: it ended before.
        """
        now = time.monotonic()
        times = [at - now for at in (deadline, self._start_by) if at is not None]
        times += [] if timeout is None else [timeout]
        try:
            return self.channel.await_message(min(times, default=None))
        except LateError:
            if self._start_by is None or time.monotonic() < self._start_by:
                raise LateError(f"worker process {self.pid} is still starting") from None
        self.end(0.0)
        raise TimeoutError(
            f"worker process {self.pid} did not start within {self._start_timeout:g} s"
        )

    def request_close(self) -> None:
        """Ask it to close its environment and end."""
        with suppress(ChannelClosedError, LateError):
            self.channel.send(Message.CLOSE, 0, dump(None), deadline=0.0)

    def end(self, timeout: float = 1.0) -> None:
        """Wait ``timeout`` seconds for it to end by itself; then make it end."""
        if self._finalizer.alive:
            self._exit_code = end_process(self._process, self.channel, self._lifeline, timeout)
            self._finalizer.detach()

    def describe_end(self) -> str:
        """How it ended."""
        if self.channel.was_cut_off:
            how = "was ended, because an interrupt cut a message in two,"
        else:
            how = f"died ({describe_exit(self._exit_code)})"
        return f"worker process {self.pid} {how}"

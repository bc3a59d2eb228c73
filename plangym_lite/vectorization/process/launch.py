"""Launch: the choice of the start method, and a child process from its start to its end."""

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
"""Packages with their own threads, or with an engine that a process can have only once."""


def default_start_method(constructor: Callable[[], Any] | None = None) -> str:
    """``forkserver`` where there is one, else ``spawn``: neither forks a process with threads.

    If the code that a constructor reaches makes sets of strings (see ``Reach``), it is ``fork``.
    The order of such a set depends on a hash seed, which each interpreter draws unless
    ``PYTHONHASHSEED`` is set, and on the set's history; only a fork of this process has both. A
    process is not forked if it has threads, an engine that can exist only once, torch or JAX; then
    a warning says what to do.
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
    """Close a child's channel, wait ``timeout`` seconds for its end, kill it; return its exit code.

    With 0 seconds it is killed at once: it may be stopped and unable to react.
    """
    channel.close()
    if not process.is_ours:  # this process is a fork of its parent
        lifeline.close()
        return None
    process.join(timeout)
    lifeline.close()  # the kernel then ends it, even if it hangs
    if timeout and process.is_alive():
        process.join(0.5)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()
    return process.exitcode


@interrupts_held(send_again=True)
def _end_forgotten(process: ChildProcess, channel: Any, lifeline: Any) -> None:
    """``end_process`` in a finalizer, where an exception would be dropped and the child left.

    While the program ends, daemon threads may still use the child: then it ends with this process.
    """
    if threading.main_thread().is_alive() or not any(
        thread.daemon for thread in threading.enumerate()
    ):
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
    """A child process, which first builds its environment, and then polls for ``poll_seconds`` for
    each request before it sleeps.
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
        return self._finalizer.alive and self._process.is_alive()

    def first_message(
        self, timeout: float | None, deadline: float | None
    ) -> tuple[int, int, bytes]:
        """Its first message: the environment is ready, or could not be built.

        Raises:
            LateError: none within ``timeout`` seconds, or by ``deadline``.
            TimeoutError: it took longer than ``start_timeout`` and was ended.
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
        with suppress(ChannelClosedError, LateError):
            self.channel.send(Message.CLOSE, 0, dump(None), deadline=0.0)

    def end(self, timeout: float = 1.0) -> None:
        if self._finalizer.alive:
            self._exit_code = end_process(self._process, self.channel, self._lifeline, timeout)
            self._finalizer.detach()

    def describe_end(self) -> str:
        if self.channel.was_cut_off:
            how = "was ended, because an interrupt cut a message in two,"
        else:
            how = f"died ({describe_exit(self._exit_code)})"
        return f"worker process {self.pid} {how}"

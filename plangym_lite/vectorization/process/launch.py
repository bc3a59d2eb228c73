"""Start a child process by any start method, without running the user's script again.

``spawn`` and ``forkserver`` import the parent's ``__main__`` in the child, which is why scripts
that use them need a main guard, and why code on standard input cannot use them at all. Our
children need nothing of it: what they run travels by value. So ``__main__`` is hidden while one
starts.
"""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import socket
import sys
import threading
import time
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import Any

from plangym_lite.recipe.parcel import Parcel, know, names_of_main
from plangym_lite.system import interrupts_held
from plangym_lite.vectorization.process import server
from plangym_lite.vectorization.worker.channel import Channel, ChannelClosedError, LateError
from plangym_lite.vectorization.worker.messages import Message, dump

__all__ = [
    "Child",
    "default_start_method",
    "describe_exit",
    "end_process",
    "hash_seed",
    "start_process",
]

PRELOAD = ["plangym_lite.vectorization.process.server", "plangym_lite.envs.gymnasium.env"]
THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""One worker is one core's work; and a server that forks must have no threads."""

NEVER_FORKED = frozenset(("jax", "stable_retro", "tensorflow", "torch"))
"""Packages with threads of their own, or with an engine of which a process can have only one."""

_starting = threading.Lock()


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


@functools.lru_cache(maxsize=1)
def hash_seed() -> str | None:
    """``PYTHONHASHSEED`` as it was when this interpreter started; ``None`` for a random one."""
    if sys.flags.ignore_environment:
        return None
    try:
        with interrupts_held(), open("/proc/self/environ", "rb") as file:
            pairs = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
        seed = pairs.get(b"PYTHONHASHSEED", b"").decode()
    except OSError:  # no such file here
        seed = os.environ.get("PYTHONHASHSEED", "")
    return None if seed in ("", "random") else seed


def start_process(
    target: Callable[..., None], args: tuple[Any, ...], start_method: str
) -> BaseProcess:
    """Start ``target(*args)`` in a daemonic child.

    Raises:
        ValueError: no such start method.
    """
    methods = multiprocessing.get_all_start_methods()
    if start_method not in methods:
        raise ValueError(f"start_method must be one of {methods}, got {start_method!r}")
    context: Any = multiprocessing.get_context(start_method)
    process = context.Process(target=target, args=args, daemon=True, name="plangym_lite worker")
    with _starting:
        if start_method == "fork":
            with interrupts_held():
                process.start()
            return process
        multiprocessing.resource_tracker.ensure_running()  # it would let interrupts through
        with _hidden_main(), _few_threads(), _same_hash_seed(), interrupts_held():
            if start_method == "forkserver" and _has_no_preload_of_its_own():
                context.set_forkserver_preload(PRELOAD)
            process.start()
    return process


def end_process(process: Any, channel: Any, lifeline: Any, timeout: float = 1.0) -> int | None:
    """Wait ``timeout`` seconds for a child whose channel is closed to end; then make it end.

    With 0 seconds it is not asked but killed: it may be stopped, and hear nothing. Returns its
    exit code.
    """
    channel.close()
    if process._closed or process._parent_pid != os.getpid():  # in a fork of its parent
        lifeline.close()
        return None
    process.join(timeout)
    lifeline.close()  # ends it, if it hangs
    if timeout and process.is_alive():
        process.join(0.5)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    return code


def describe_exit(exitcode: int | None) -> str:
    """An exit code in words."""
    if exitcode is None:
        return "no exit code yet"
    if exitcode < 0:
        try:
            return f"exit code {exitcode}, signal {signal.Signals(-exitcode).name}"
        except ValueError:
            return f"exit code {exitcode}, signal {-exitcode}"
    return f"exit code {exitcode}"


def _has_no_preload_of_its_own() -> bool:
    server: Any = multiprocessing.forkserver._forkserver
    return getattr(server, "_preload_modules", None) == ["__main__"]


@contextmanager
def _hidden_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _few_threads() -> Iterator[None]:
    added = [name for name in THREAD_LIMITS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _same_hash_seed() -> Iterator[None]:
    """Whatever the variable is now: children hash words as this interpreter does."""
    name, seed, before = "PYTHONHASHSEED", hash_seed(), os.environ.get("PYTHONHASHSEED")
    os.environ.pop(name, None)
    if seed is not None:
        os.environ[name] = seed
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


_parent_ends: weakref.WeakSet[Any] = weakref.WeakSet()  # to be closed in a forked child


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
        forks = start_method == "fork"
        target = _forked_main if forks else server.main
        carried = parcel if forks else parcel.pack()
        with interrupts_held():
            self._start(target, (carried, poll_seconds), start_method)
        self._start_timeout = start_timeout
        self._start_by = None if start_timeout is None else time.monotonic() + start_timeout

    def _start(
        self, target: Callable[..., None], arguments: tuple[Any, ...], start_method: str
    ) -> None:
        ours, theirs = socket.socketpair()
        reader, lifeline = multiprocessing.Pipe(duplex=False)
        _parent_ends.update((ours, lifeline))
        with theirs, reader:
            try:
                process = start_process(target, (theirs, reader, *arguments), start_method)
            except BaseException:
                ours.close()
                lifeline.close()
                raise
        self.channel = Channel(ours)
        self._process, self._lifeline = process, lifeline
        self.pid: int | None = process.pid
        self._exit_code: int | None = None
        self._finalizer = weakref.finalize(self, end_process, process, self.channel, lifeline)

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


def _forked_main(sock: socket.socket, lifeline: Any, constructor: Any, poll_seconds: float) -> None:
    """In a forked child: let go of what belongs to the parent."""
    for end in list(_parent_ends):
        end.close()
    know(names_of_main())
    server.main(sock, lifeline, constructor, poll_seconds)

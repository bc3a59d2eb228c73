"""Child: one started process, our end of its channel, and its lifeline.

When this object goes, however that comes about, so does the process.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from plangym_lite.parcel import Parcel, know, names_of_main
from plangym_lite.system import interrupts_held
from plangym_lite.vectorization import serve
from plangym_lite.vectorization.channel import Channel, ChannelClosedError, LateError
from plangym_lite.vectorization.launch import (
    describe_exit,
    end_process,
    start_process,
)
from plangym_lite.vectorization.messages import Message, dump

__all__ = ["Child"]

_parent_ends: weakref.WeakSet[Any] = weakref.WeakSet()  # to be closed in a forked child


class Child:
    """A process that was just started and builds its environment.

    Args:
        parcel: what makes the environment.
        start_method: one of multiprocessing's.
        start_timeout: seconds that the environment may take to build.
        linger: seconds for which it looks out for the next request before it sleeps.
    """

    def __init__(
        self,
        parcel: Parcel,
        start_method: str,
        start_timeout: float | None = None,
        linger: float = 0.0,
    ) -> None:
        forks = start_method == "fork"
        target = _forked_main if forks else serve.main
        carried = parcel if forks else parcel.pack()
        with interrupts_held():
            self._start(target, (carried, linger), start_method)
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


def _forked_main(sock: socket.socket, lifeline: Any, constructor: Any, linger: float) -> None:
    """In a forked child: let go of what belongs to the parent."""
    for end in list(_parent_ends):
        end.close()
    know(names_of_main())
    serve.main(sock, lifeline, constructor, linger)

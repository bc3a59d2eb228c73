"""ExternalProcess: the parent's handle on one child.

What it promises:

- The constructor may be any callable; it travels by value and is called in the child. What it
  raises is raised here, as itself, with the child's traceback as its cause.
- Every request has an id and its answer carries it: a late or unwanted answer answers nothing else.
- An error in the environment leaves the child as usable as before.
- A child that dies gives ``WorkerDiedError`` to everyone who waits; nobody waits for ever.
- ``close()`` takes seconds at most. When this process ends, however it ends, so does the child.
"""

from __future__ import annotations

import multiprocessing
import socket
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cloudpickle

from plangym_lite.errors import ClosedError, WorkerDiedError
from plangym_lite.vectorization import serve
from plangym_lite.vectorization.channel import Channel, ChannelClosedError
from plangym_lite.vectorization.launch import (
    default_start_method,
    describe_exit,
    end_process,
    interrupts_held,
    start_process,
)
from plangym_lite.vectorization.messages import Message, dump, load, load_error
from plangym_lite.vectorization.reply import CLOSED, Reply
from plangym_lite.vectorization.shared import Block
from plangym_lite.vectorization.verbs import EnvironmentWorker
from plangym_lite.vectorization.worker import CLOSE_TIMEOUT, Promise, unknown

__all__ = ["ExternalProcess"]

RESTART_TIMEOUT = 0.2  # for a worker that is replaced there is no point in waiting long
_parent_ends: weakref.WeakSet[Any] = weakref.WeakSet()  # to be closed in a forked child


class ExternalProcess(EnvironmentWorker):
    """An environment in a process of its own.

    Args:
        constructor: callable that returns the environment.
        start: start now and wait until the environment stands; ``False``: see ``start``.
        start_method: one of multiprocessing's; the default never forks a process with threads.
        linger: seconds for which the child looks out for the next request before it sleeps.
        flatten: accepted for TF-Agents' sake; nested values come back nested either way.
    """

    def __init__(
        self,
        constructor: Callable[[], Any],
        start: bool = True,
        start_method: str | None = None,
        linger: float = 0.0,
        flatten: bool = False,
    ) -> None:
        if not callable(constructor):
            raise TypeError(f"constructor must be callable, got {constructor!r}")
        self._constructor = constructor
        self._linger = linger
        self._start_method = start_method or default_start_method()
        self._ready: serve.Ready | None = None
        self._channel: Any = None
        self._process: Any = None
        self._finalizer: Any = None
        self._closed = False
        self.why_dead: str | None = None
        if start:
            self.start()

    # ---- life ---------------------------------------------------------------------------------

    def start(self, wait_to_start: bool = True) -> None:
        """Start the child; with ``wait_to_start=False`` see ``wait_start`` for the rest."""
        if self._closed:
            raise ClosedError(CLOSED)
        if self._process is not None:
            raise RuntimeError("the process was started before")
        forks = self._start_method == "fork"
        target = _forked_main if forks else serve.main
        constructor = self._constructor if forks else cloudpickle.dumps(self._constructor)
        with interrupts_held():
            self._launch(target, constructor)
        if wait_to_start:
            self.wait_start()

    def _launch(self, target: Callable[..., None], constructor: Any) -> None:
        ours, theirs = socket.socketpair()
        reader, lifeline = multiprocessing.Pipe(duplex=False)
        self._next_id, self._what = 1, {0: "starting"}
        self.waiting: weakref.WeakValueDictionary[int, Reply] = weakref.WeakValueDictionary()
        self._attached: set[int] = set()
        _parent_ends.update((ours, lifeline))
        arguments = theirs, reader, constructor, self._linger
        with theirs, reader:
            try:
                process = start_process(target, arguments, self._start_method)
            except BaseException:
                ours.close()
                lifeline.close()
                raise
        self._process, self._channel, self._lifeline = process, Channel(ours), lifeline
        self._finalizer = weakref.finalize(self, end_process, process, self._channel, lifeline)
        self.why_dead = None

    def wait_start(self, timeout: float | None = None) -> None:
        """Wait until the environment stands.

        Raises:
            TimeoutError: not within ``timeout`` seconds; wait again or close.
            Exception: what the constructor raised; the process is gone.
            WorkerDiedError: the process ended before.
        """
        if self._ready is not None:
            return
        channel = self._open()
        try:
            kind, _, payload = channel.receive(timeout)
            if kind == Message.READY:
                self._ready = load(payload)
                self._what.pop(0, None)
                self.spec = self._ready.spec
                return
        except ChannelClosedError:
            raise self._died() from None
        except KeyboardInterrupt:  # the message may have been lost
            self.why_dead = "its start was interrupted"
            raise
        error = load_error(payload) if kind == Message.EXCEPTION else unknown(kind)
        self._finish(CLOSE_TIMEOUT)
        self.why_dead = f"the worker could not start: {error!r}"
        raise error

    def restart(self) -> None:
        if self._closed:
            raise ClosedError(CLOSED)
        self._finish(RESTART_TIMEOUT)
        self.why_dead = "its restart was interrupted"
        self._process = self._channel = self._ready = None
        self.start()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        self._closed = True
        self._finish(timeout)
        self.why_dead = self.why_dead or CLOSED

    def request_close(self) -> None:
        if self._channel is not None and self.why_dead is None:
            with suppress(ChannelClosedError):
                self._channel.send(Message.CLOSE, 0, dump(None), wait=False)

    def _finish(self, timeout: float) -> None:
        if self._finalizer is not None and self._finalizer.alive:
            self.request_close()
            end_process(self._process, self._channel, self._lifeline, timeout)
            self._finalizer.detach()

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        """Whether the child runs."""
        return self._process is not None and not self._closed and self._process.is_alive()

    def fileno(self) -> int:
        return self._open().fileno()

    def is_ready(self) -> bool:
        return self.why_dead is not None or self._open().has_unread

    # ---- what the child said when it was ready -------------------------------------------------

    @property
    def observation_space(self) -> Any:
        """The environment's observation space."""
        return self._spaces().observation_space

    @property
    def action_space(self) -> Any:
        """The environment's action space."""
        return self._spaces().action_space

    def _spaces(self) -> serve.Ready:
        self.wait_start()
        assert self._ready is not None
        return self._ready

    # ---- requests -----------------------------------------------------------------------------

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        return self._request(Message.CALL, name, cloudpickle.dumps((name, args, kwargs)))

    def access(self, name: str) -> Any:
        is_method, value = self._request(Message.ACCESS, name, dump(name)).result()
        if not is_method:
            return value
        return lambda *args, **kwargs: self.call(name, *args, **kwargs).result()

    def run_rows(self, block: Block, start: int, stop: int, left_over: tuple[Any, Any]) -> Promise:
        if block.number not in self._attached:
            args = (block.number, block.layout.spec, block.layout.capacity, block.layout.form)
            payload = cloudpickle.dumps((serve.ATTACH, args, {}))
            self._request(Message.CALL, self.rows_name, payload, (block.fd,))
            self._attached.add(block.number)
        call: Any = (serve.ROWS, (block.number, start, stop, left_over), {})
        pickle = dump if left_over == (None, None) else cloudpickle.dumps
        return self._request(Message.CALL, self.rows_name, pickle(call))

    def forget_block(self, number: int) -> None:
        if number in self._attached:
            self._attached.discard(number)
            payload = dump((serve.FORGET, (number,), {}))
            with suppress(WorkerDiedError):
                self._request(Message.CALL, serve.FORGET, payload)

    def _request(
        self, kind: Message, name: str, payload: bytes, fds: tuple[int, ...] = ()
    ) -> Reply:
        channel = self._open()
        if self._ready is None:
            self.wait_start()
        request = self._next_id
        self._next_id += 1
        reply = Reply(self, request)
        self.waiting[request] = reply
        self._what[request] = name
        try:
            channel.send(kind, request, payload, fds)
        except ChannelClosedError:
            self.take_in()  # the answers that came before the end
            raise self._died(name) from None
        return reply

    def take_in(self, wait: bool = False, timeout: float | None = None) -> None:
        """Deliver the answers that are here; with ``wait``, at least one.

        Raises:
            TimeoutError: none came within ``timeout`` seconds.
        """
        channel = self._channel
        if channel is None or self.why_dead is not None:
            return
        gone = False
        try:
            if wait:
                self._deliver(*channel.receive(timeout))
            else:
                channel.read_available()
        except ChannelClosedError:
            gone = True
        while (message := channel.parse()) is not None:
            self._deliver(*message)
        if gone:
            self._died()

    def _deliver(self, kind: int, request: int, payload: bytes) -> None:
        self._what.pop(request, None)
        reply = self.waiting.pop(request, None)
        if reply is not None:
            reply.kind, reply.payload = kind, payload

    def _open(self) -> Channel:
        if self._closed:
            raise ClosedError(CLOSED)
        if self.why_dead is not None:
            raise WorkerDiedError(self.why_dead)
        if self._channel is None:
            raise RuntimeError("the process was not started: call start()")
        return self._channel

    def _died(self, call: str | None = None) -> WorkerDiedError:
        """The child is gone: find out how, and remember it for everyone who waits."""
        if self.why_dead is None:
            end_process(self._process, self._channel, self._lifeline)
            code = self._process.exitcode
            under_way = call or next(iter(self._what.values()), None)
            self.why_dead = f"worker process {self.pid} died ({describe_exit(code)})" + (
                f" during {under_way!r}" if under_way else " between calls"
            )
        return WorkerDiedError(self.why_dead)


def _forked_main(sock: socket.socket, lifeline: Any, constructor: Any, linger: float) -> None:
    """In a forked child: let go of what belongs to the parent."""
    for end in list(_parent_ends):
        end.close()
    serve.main(sock, lifeline, constructor, linger)

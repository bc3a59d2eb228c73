"""ExternalProcess: one environment in a child process.

- The constructor may be any callable. It is pickled by value and called in the child. An exception
  that it raises is raised here unchanged, with the child's traceback as its cause.
- Each request has an id, which its answer repeats: a late answer is never taken for another one.
- After an error in the environment the child can be used as before.
- A call that takes longer than its ``timeout`` raises ``TimeoutError``; a child that has not
  answered by then is replaced.
- If the child dies, every wait for it ends with ``WorkerDiedError``.
- Calls of several threads wait for each other. Calls in a forked process raise ``ForkedError``.
- ``close()`` is bounded in time. The child ends with this process, even if that is killed.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from plangym_lite.errors import ClosedError, ForkedError, WorkerDiedError
from plangym_lite.recipe.parcel import Parcel, dumps, names_of_main
from plangym_lite.system import CallLock, check_workers
from plangym_lite.validation import check_timeout
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import ChunkQueue
from plangym_lite.vectorization.process import server
from plangym_lite.vectorization.process.launch import Child, default_start_method
from plangym_lite.vectorization.worker.attachments import DETACH, ROWS, SENT_ROWS, Attachments
from plangym_lite.vectorization.worker.channel import Channel, ChannelClosedError, LateError
from plangym_lite.vectorization.worker.handler import public, put_rows
from plangym_lite.vectorization.worker.messages import Message, dump, load, load_error
from plangym_lite.vectorization.worker.proxy import EnvironmentWorker
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT, Promise, unknown

__all__ = ["ExternalProcess", "ProcessPromise"]

logger = logging.getLogger("plangym_lite")

CLOSED = "the process was closed"
RESTART_TIMEOUT = 0.2  # seconds that a worker which is replaced has to end


class ProcessPromise(Promise):
    """The answer to one request to a process."""

    def __init__(self, process: ExternalProcess, request: int) -> None:
        self._process, self.request = process, request
        self.take: Callable[[Any], Any] | None = None  # converts the value that comes back
        self.kind: int | None = None  # of the answer, once it has arrived
        self.payload: bytes | None = b""
        self._value: Any = None

    def is_awaited(self) -> bool:
        process = self._process
        return process.why_dead is None and process.waiting.get(self.request) is self

    def done(self) -> bool:
        if self.kind is None and self.is_awaited():
            self._process.take_in()
        return self.kind is not None or not self.is_awaited()

    def is_void(self) -> bool:
        return self.kind is None and self._process.why_dead is None and not self.is_awaited()

    def is_received(self) -> bool:
        return not self.is_awaited() or bool(self._process._channel.inbox)

    def result(self, timeout: float | None = None) -> Any:
        deadline = self._process.deadline
        if timeout is not None:
            given = time.monotonic() + timeout
            deadline = given if deadline is None else min(deadline, given)
        while self.kind is None and self.is_awaited():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._process.take_in(self, left)
        if self.kind is None:
            why = self._process.why_dead or "the worker was replaced"
            raise ClosedError(why) if why == CLOSED else WorkerDiedError(why)
        if self.payload is not None:
            unpickle = load if self.kind == Message.RESULT else load_error
            value = unpickle(self.payload)
            if self.take is not None and self.kind == Message.RESULT:
                value = self.take(value)
            self._value, self.payload = value, None
        if self.kind == Message.RESULT:
            return self._value
        raise self._value


class ExternalProcess(EnvironmentWorker):
    """An environment in its own process.

    Args:
        constructor: callable that returns the environment.
        start: start now and wait until the environment is ready; ``False``: see ``start``.
        start_method: one of multiprocessing's; the default never forks a process with threads.
        start_timeout: maximum seconds to build the environment, at each start of the process;
            ``None``: no limit.
        poll_seconds: seconds for which the child polls for the next request before it sleeps.
        flatten: accepted for compatibility with TF-Agents; nested values stay nested.
    """

    takes_chunks = True

    def __init__(
        self,
        constructor: Callable[[], Any],
        start: bool = True,
        start_method: str | None = None,
        *,
        start_timeout: float | None = None,
        poll_seconds: float = 0.0,
        flatten: bool = False,
    ) -> None:
        if not callable(constructor):
            raise TypeError(f"constructor must be callable, got {constructor!r}")
        check_workers()
        self._parcel = Parcel.of(constructor)
        start_timeout = check_timeout(start_timeout, "start_timeout")
        start_method = start_method or default_start_method(self._parcel)
        self._how_to_start = start_method, start_timeout, poll_seconds
        self._ready: server.Ready | None = None  # the child's first message
        self._child: Any = None  # a Child, once started
        self._channel: Any = None  # the child's
        self.known: dict[int, Any] = {}  # by id: classes and functions that the child has by name
        self._current_state: Any = None  # the state of a new child
        self._closed = False
        self._calls: Any = CallLock(weakref.proxy(self), is_reentrant=True)
        self.why_dead: str | None = None
        if start:
            self.start()

    def __repr__(self) -> str:
        at = next(iter(self._what.values()), None) if self._child is not None else None
        return f"ExternalProcess(pid={self.pid}{f', at {at!r}' if at else ''})"

    # ---- life ---------------------------------------------------------------------------------

    def start(self, wait_to_start: bool = True) -> None:
        """Start the child; with ``wait_to_start=False`` do not wait until it is ready."""
        if self._closed:
            raise ClosedError(CLOSED)
        if self._child is not None:
            raise RuntimeError("the process was started before")
        if self._calls.is_forked:  # made before the fork, started after it
            self._calls = CallLock(weakref.proxy(self), is_reentrant=True)
        self._next_id, self._what = 1, {0: "starting"}
        self.waiting: dict[int, ProcessPromise] = {}
        self._attachments = Attachments()
        self._attaching: dict[int, tuple[str, tuple[Any, ...]]] = {}  # by request
        self._child = Child(self._parcel, *self._how_to_start)
        self.known = names_of_main() if self._how_to_start[0] == "fork" else self._parcel.named
        self._channel, self.why_dead = self._child.channel, None
        if wait_to_start:
            self.wait_start()

    def wait_start(self, timeout: float | None = None) -> None:
        """Wait until the environment is ready.

        Raises:
            TimeoutError: not within ``timeout`` seconds, and may be called again; or not within
                ``start_timeout``, and the process was ended.
            Exception: what the constructor raised; the process has ended.
            WorkerDiedError: the process ended before.
        """
        if self._ready is not None:
            return
        channel = self._open()
        try:
            kind, _, payload = self._child.first_message(timeout, self.deadline)
            if kind == Message.READY:
                ready = load(payload)
                self.spec, self.observation_space, self.action_space = ready
                self._what.pop(0, None)
                if self._current_state is not None:
                    payload = dumps(("set_state", (self._current_state,), {}), self.known)
                    self._send(channel, Message.CALL, "set_state", payload)
                self._ready = ready
                return channel.drop()
        except TimeoutError as error:
            self.why_dead = None if isinstance(error, LateError) else str(error)
            raise
        except ChannelClosedError:
            raise self._died() from None
        failure = load_error(payload) if kind == Message.EXCEPTION else unknown(kind)
        self._end(CLOSE_TIMEOUT)
        self.why_dead = f"the worker could not start: {failure!r}"
        raise failure

    def replace(self, state: Any = None) -> None:
        if self._closed:
            raise ClosedError(CLOSED)
        owes = self.owes_answers()
        if self.why_dead or owes:
            logger.warning("%r is replaced: %s", self, self.why_dead or "it did not answer")
        self._renew(state, owes)

    def _renew(self, state: Any, owes: bool) -> None:
        self._end(0.0 if owes else RESTART_TIMEOUT)
        self._current_state = state
        self.why_dead = "its restart was interrupted"
        self._child = self._channel = self._ready = None
        self.start(wait_to_start=False)

    def restart(self) -> None:
        if self._closed:
            raise ClosedError(CLOSED)
        self._renew(None, self.owes_answers())
        self.wait_start()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        check_timeout(timeout, bounded=True)
        with suppress(TimeoutError, ForkedError):  # close even if a call never ends
            self._calls.run(timeout, lambda _: None)
        self._closed = True
        self._end(timeout)
        self.why_dead = self.why_dead or CLOSED

    def request_close(self) -> None:
        if self._child is not None and self.why_dead is None and not self._calls.is_forked:
            self._child.request_close()

    def _end(self, timeout: float) -> None:
        if self._child is not None and not self._calls.is_forked:
            self.request_close()
            self._child.end(timeout)

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return None if self._child is None else self._child.pid

    def is_alive(self) -> bool:
        """Whether the child is running."""
        return self._child is not None and not self._closed and self._child.is_alive()

    def fileno(self) -> int:
        return self._open().fileno()

    def is_up(self) -> bool:
        if self._ready is None and not self._closed and self.why_dead is None:
            with suppress(TimeoutError):
                self.wait_start(0.0)
        return self._ready is not None or self.why_dead is not None

    # ---- requests -----------------------------------------------------------------------------

    def _as_one_call(self, timeout: float | None, call: Callable[..., Any]) -> Any:
        return self._calls.run(timeout, call)

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        payload = dumps((public(name), args, kwargs), self.known)
        return self._request(Message.CALL, name, payload)

    def access(self, name: str) -> Any:
        is_method, value = self._request(Message.ACCESS, name, dump(public(name))).result()
        if not is_method:
            return value
        return lambda *args, **kwargs: self.call(name, *args, **kwargs).result()

    def run_rows(self, block: Block, start: int, stop: int) -> Promise:
        if not block.is_shared:
            rows, form = block.columns.rows_of(start, stop), block.layout.form
            payload = dumps((SENT_ROWS, (tuple(rows), tuple(form)), {}), self.known)
            promise = self._request(Message.CALL, self.rows_name, payload)
            promise.take = lambda answer: put_rows(block, (start, stop), *answer)
            return promise
        return self._run(block, None, (0, block.number, start, stop))

    def take_chunks(self, block: Block, queue: ChunkQueue, taker: int) -> Promise:
        return self._run(block, queue, (taker, 0, 0, 0))

    def _run(self, block: Block, queue: ChunkQueue | None, numbers: tuple[int, ...]) -> Promise:
        attached = self._attachments
        if block.number not in attached.known or queue not in (None, attached.queue):
            for name, args, fds in attached.missing(block, queue):
                payload = dumps((name, args, {}), self.known)
                promise = self._request(Message.CALL, self.rows_name, payload, fds)
                self._attaching[promise.request] = name, args
        name = "rollout_batch" if block.layout.form.steps else self.rows_name
        return self._request(Message.CALL, name, ROWS.pack(b"@", *numbers))

    def detach(self, number: int) -> None:
        if self._attachments.detach(number):
            payload = dump((DETACH, (number,), {}))
            with suppress(WorkerDiedError, LateError):
                self._request(Message.CALL, DETACH, payload)

    def _request(
        self, kind: Message, name: str, payload: bytes, fds: tuple[int, ...] = ()
    ) -> ProcessPromise:
        channel = self._open()
        with self._calls.inner:
            if self._ready is None:
                self.wait_start()
            try:
                return self._send(channel, kind, name, payload, fds)
            except ChannelClosedError:
                self.take_in()  # answers from before its end
                raise self._died(name) from None

    def _send(
        self, channel: Channel, kind: Message, name: str, payload: bytes, fds: tuple[int, ...] = ()
    ) -> ProcessPromise:
        request = self._next_id
        self._next_id += 1
        reply = ProcessPromise(self, request)
        self.waiting[request] = reply
        self._what[request] = name
        channel.send(kind, request, payload, fds, self.deadline)
        return reply

    def take_in(self, awaited: ProcessPromise | None = None, timeout: float | None = None) -> None:
        """Deliver the answers that have arrived; if ``awaited`` has none yet, wait for one.

        A message is dropped after it was delivered, and may be delivered twice, so that an
        interrupt loses none. If another thread is delivering, wait for it only with ``awaited``.

        Raises:
            TimeoutError: no answer within ``timeout`` seconds.
            ForkedError: this process was forked from the one that started the child.
        """
        self._calls.check_process()
        limit = -1 if awaited is None or timeout is None else timeout
        lock = self._calls.inner
        try:
            if lock.acquire(awaited is not None, limit):
                self._take_in(awaited is not None and awaited.is_awaited(), timeout)
            elif awaited is not None:
                raise LateError(f"no message within {timeout} s")
        finally:
            try:  # noqa: SIM105 -- the first call here must be this one
                lock.release()
            except RuntimeError:
                pass

    def _take_in(self, wait: bool, timeout: float | None) -> None:
        channel = self._channel
        if channel is None or self.why_dead is not None or self._ready is None:
            return  # ``wait_start`` reads a child's first message
        message, gone = None, False
        try:
            if wait:
                message = channel.await_message(timeout)
            else:
                channel.read_available()
        except ChannelClosedError:
            gone = True
        message = message or channel.peek()
        while message is not None:
            kind, request, payload = message
            reply = self.waiting.get(request)
            if reply is not None:
                reply.payload, reply.kind = payload, kind
                self.waiting.pop(request, None)
            self._what.pop(request, None)
            attached = self._attaching.pop(request, None)
            if attached is not None and kind == Message.EXCEPTION:
                self._attachments.failed(*attached)
            channel.drop()
            message = channel.peek()
        if gone:
            self._died()

    def owes_answers(self) -> bool:
        self.take_in()
        return self._ready is not None and any(name != DETACH for name in self._what.values())

    def _open(self) -> Channel:
        if self._closed:
            raise ClosedError(CLOSED)
        self._calls.check_process()
        if self.why_dead is not None:
            raise WorkerDiedError(self.why_dead)
        if self._channel is None:
            raise RuntimeError("the process was not started: call start()")
        return self._channel

    def _died(self, call: str | None = None) -> WorkerDiedError:
        """Record how the child ended, for all waits; return the error."""
        if self.why_dead is None:
            self._child.end()
            under_way = call or next(iter(self._what.values()), None)
            during = f"during {under_way!r}" if under_way else "between calls"
            self.why_dead = f"{self._child.describe_end()} {during}"
        return WorkerDiedError(self.why_dead)

"""RayWorker: the driver's handle of one actor.

It behaves like :class:`~plangym_lite.ExternalProcess`. Errors of Ray itself mean that the actor,
its node or an answer is lost: ``WorkerDiedError``.
"""

from __future__ import annotations

import concurrent.futures
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from plangym_lite.errors import ClosedError, RemoteError, WorkerDiedError
from plangym_lite.recipe.parcel import Parcel, dumps
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.ray.actor import Chunk, RemoteEnv
from plangym_lite.vectorization.ray.cluster import Connection, free_cores
from plangym_lite.vectorization.worker.handler import RowsResult, put_rows
from plangym_lite.vectorization.worker.messages import load, load_error
from plangym_lite.vectorization.worker.proxy import EnvironmentWorker
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT, Promise

__all__ = ["RayPromise", "RayWorker", "START_TIMEOUT"]


class RayPromise(Promise):
    """The answer to one call of one actor, which ``take`` makes of the actor's return value."""

    def __init__(self, worker: Any, name: str, future: Any, take: Callable[[Any], Any]) -> None:
        self._worker, self._name, self._life = worker, name, worker.life
        self._future, self._take = future, take
        self._outcome: tuple[bool, Any] | None = None

    def done(self) -> bool:
        return self._outcome is not None or self._future.done() or self._is_orphan()

    def is_received(self) -> bool:
        self._worker.hear()  # before the look: an answer that comes after it rings again
        return self.done()

    def result(self, timeout: float | None = None) -> Any:
        if self._outcome is None:
            self._outcome = self._wait_for_outcome(timeout)
            self._future = self._take = None  # type: ignore  # frees Ray's memory of the answer
        succeeded, value = self._outcome
        if succeeded:
            return value
        raise value

    def _wait_for_outcome(self, timeout: float | None) -> tuple[bool, Any]:
        if self._is_orphan() and not self._future.done():
            return False, self._worker.error_of("the worker was replaced")
        try:
            succeeded, value = self._future.result(timeout)
            if succeeded:
                return True, self._take(value)
        except concurrent.futures.TimeoutError:  # not the built-in one before Python 3.11
            raise TimeoutError(f"no answer within {timeout} seconds") from None
        except RayTaskError as error:  # raised outside _attempt, such as in pickling
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


START_TIMEOUT = 60.0
CLOSED = "the worker was closed"


class RayWorker(EnvironmentWorker):
    """An environment in an actor of a Ray cluster.

    Args:
        connection: connection to the cluster; ``None``: its own.
        options: arguments of ``RemoteEnv.options`` for the actor.
        start_timeout: seconds for placing the actor and building the environment.
    """

    def __init__(
        self,
        constructor: Callable[[], Any],
        start: bool = True,
        *,
        connection: Connection | None = None,
        options: dict[str, Any] | None = None,
        start_timeout: float | None = START_TIMEOUT,
    ) -> None:
        if not callable(constructor):
            raise TypeError(f"constructor must be callable, got {constructor!r}")
        parcel = Parcel.of(constructor)
        self._recipe, self.known = parcel.pack(), parcel.named
        self._own = Connection() if connection is None else None
        self._connection: Any = connection or self._own
        self.options = dict(options or {})
        self._start_timeout = start_timeout
        self._bell, self._rope = socket.socketpair()  # one byte is written for each answer
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self.actor: Any = None
        self.life = 0  # increases when an actor is started or ended
        self.pid: int | None = None
        self.why_dead: str | None = None
        self._starting: Any = None
        self._farewell: Any = None
        self._closed = False
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    # ---- life ---------------------------------------------------------------------------------

    def start(self, wait_to_start: bool = True, claims_core: bool | None = None) -> None:
        """Start the actor; with ``wait_to_start=False`` call ``wait_start`` later.

        By default the actor claims a core of the cluster, or shares claimed cores if none is free.
        """
        if self._closed:
            raise ClosedError(CLOSED)
        if self.actor is not None:
            raise RuntimeError("the actor was started before")
        options = {"scheduling_strategy": "SPREAD", **self.options}
        if "num_cpus" not in options:
            claims_core = free_cores(1.0) >= 1.0 if claims_core is None else claims_core
            options["num_cpus"] = int(claims_core)
        recipe = self._connection.constant(self._recipe)
        remote: Any = RemoteEnv  # replaced by ray.remote
        self.actor = remote.options(**options, max_restarts=0).remote(recipe)
        self.life += 1
        self.spec, self.why_dead, self._farewell = None, None, None
        self._starting = self._ask("starting", self.actor.begin)
        if wait_to_start:
            self.wait_start(self._start_timeout)

    def wait_start(self, timeout: float | None = None) -> None:
        """Wait until the environment is ready, as ``ExternalProcess.wait_start``."""
        if self._starting is None:
            return
        try:
            ready, self.pid, self._node = self._starting.result(timeout)
        except (TimeoutError, WorkerDiedError):
            raise
        except Exception as error:
            self._end()
            self.why_dead = f"the worker could not start: {error!r}"
            raise
        self.spec, self._starting = ready.spec, None

    def restart(self) -> None:
        if self._closed:
            raise ClosedError(CLOSED)
        self._end()
        try:
            self.start()
        except BaseException as error:
            self._end()
            self.why_dead = f"its restart failed: {error!r}"
            raise

    def request_close(self) -> None:
        if self.actor is not None and self.why_dead is None and self._farewell is None:
            with suppress(Exception):  # the cluster may be gone
                self._farewell = self.actor.close.remote().future()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        if self._closed:
            return
        self.request_close()
        self._closed = True
        if self._farewell is not None:
            with suppress(Exception):
                self._farewell.result(timeout)
        self._end()
        self._bell.close()
        self._rope.close()
        if self._own is not None:
            self._own.close()

    def _end(self) -> None:
        actor, self.actor = self.actor, None
        self.life += 1
        if actor is not None and ray.is_initialized():
            with suppress(Exception):
                ray.kill(actor)

    def fileno(self) -> int:
        self._open()
        return self._bell.fileno()

    def hear(self) -> None:
        """Read what the bell rang, so that ``fileno`` is readable at the next answer only."""
        with suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass

    # ---- requests -----------------------------------------------------------------------------

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        payload = dumps((name, args, kwargs), self.known)
        actor = self._open()
        return self._ask(name, actor.call, self._connection.constant(payload))

    def access(self, name: str) -> Any:
        is_method, value = self._ask(name, self._open().access, name).result()
        if not is_method:
            return value
        return lambda *args, **kwargs: self.call(name, *args, **kwargs).result()

    def run_rows(self, block: Block, start: int, stop: int) -> Promise:
        actor, form = self._open(), block.layout.form
        rows = block.columns.rows_of(start, stop)
        base: tuple[Any, ...] = ()
        if _all_the_same(rows.states):
            base = (self._connection.constant(rows.states[:1]),)
            rows = rows._replace(states=None)

        def take(answer: tuple[tuple[Any, ...], bytes, float]) -> RowsResult:
            fields, infos, seconds = answer
            if fields[1] is None and form.observs is not None:
                np.concatenate(ray.get(large), out=block.columns.out_of(start, stop).observs)
            return put_rows(block, (start, stop), fields, load(infos), seconds)

        chunk: Chunk = (tuple(rows), tuple(form))
        answer, large = actor.run_rows.remote(chunk, *base)
        return self._promise("step_batch", answer, take)

    def detach(self, number: int) -> None:
        """Actors attach no blocks."""

    def _ask(self, name: str, method: Any, *args: Any, take: Callable[[Any], Any] = load) -> Any:
        return self._promise(name, method.remote(*args), take)

    def _promise(self, name: str, ref: Any, take: Callable[[Any], Any]) -> RayPromise:
        future = ref.future()
        future.add_done_callback(self._ring)
        return RayPromise(self, name, future, take)

    def _ring(self, future: Any) -> None:
        with suppress(OSError):
            self._rope.send(b"\0")

    def _open(self) -> Any:
        if self._closed:
            raise ClosedError(CLOSED)
        if self.why_dead is not None:
            raise WorkerDiedError(self.why_dead)
        if self.actor is None:
            raise RuntimeError("the actor was not started: call start()")
        if self._starting is not None:
            self.wait_start()
        return self.actor

    def died(self, name: str, error: RayError) -> str:
        """Record why the actor, or its answer to ``name``, is lost, for all pending calls."""
        if self.why_dead is None:
            who = f"worker actor {self.pid} on {self._node}" if self.pid else "a worker actor"
            self.why_dead = f"{who} died before it answered {name!r} ({_reason(error)})"
        return self.why_dead

    def error_of(self, why: str) -> Exception:
        """The error for a call that will not be answered."""
        return ClosedError(CLOSED) if self._closed else WorkerDiedError(why)


def _all_the_same(states: Any) -> bool:
    """Whether there are several states in an array, all with the same bytes."""
    if not isinstance(states, np.ndarray) or len(states) < 2 or states[0].size == 0:
        return False
    data = states.view(np.uint8)
    return bool((data[0] == data[-1]).all() and (data == data[0]).all())


def _reason(error: RayError) -> str:
    """Ray's reason for a death, without its advice."""
    text = " ".join(str(error).split())
    found = re.search(r"because (.*?)(?: Some common causes|$)", text)
    return (found.group(1) if found else text)[:400]

"""RemoteEnv: the Ray actor that holds an environment.

Errors of the environment are returned as values, so that they keep their type.

An actor has its own seed for hashes of strings: if results depend on the order of a set of
strings, start Ray and the program with the same ``PYTHONHASHSEED``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray

from plangym_lite.recipe.parcel import unpack
from plangym_lite.transitions import Form, Rows
from plangym_lite.vectorization.memory.layout import BatchColumns, Layout
from plangym_lite.vectorization.process.server import quieten, ready_of
from plangym_lite.vectorization.worker.handler import RequestHandler, to_send
from plangym_lite.vectorization.worker.messages import dump, dump_error, load
from plangym_lite.vectorization.worker.plain import hosted

__all__ = ["INLINE_BYTES", "Chunk", "RemoteEnv"]

INLINE_BYTES = 100 << 10
"""Ray sends smaller values in the message itself, and larger ones as objects."""

PART_BYTES = (1 << 20) - 1
"""Ray copies larger arrays with six threads, which costs more than it gains."""

Chunk = tuple[tuple[Any, ...], tuple[Any, ...]]
"""The fields of ``Rows`` and ``Form``: Ray packs plain tuples in half the time."""


@ray.remote
class RemoteEnv:
    """An actor with its own environment, which ``setup`` makes.

    Its methods can be used with Ray as in plangym, ``env.workers[0].get_state.remote()``; the
    methods below ``close`` are for :class:`RayWorker`.
    """

    def __init__(self, env_callable: Callable[[], Any] | bytes) -> None:
        quieten()
        self._env_callable = env_callable
        self._handler: Any = None
        self._scratch: dict[Form, tuple[int, BatchColumns]] = {}

    def setup(self) -> None:
        if self._handler is None:
            self._handler = RequestHandler(hosted(unpack(self._env_callable)))

    def step(self, *args: Any, **kwargs: Any) -> Any:
        return self._handler.env.step(*args, **kwargs)

    def step_batch(self, *args: Any, **kwargs: Any) -> Any:
        return self._handler.env.step_batch(*args, **kwargs)

    def reset(self, return_state: bool = True) -> Any:
        return self._handler.env.reset(return_state)

    def get_state(self) -> Any:
        return self._handler.env.get_state()

    def set_state(self, state: Any) -> None:
        self._handler.env.set_state(state)

    def close(self) -> None:
        if self._handler is not None and hasattr(self._handler.env, "close"):
            self._handler.env.close()

    def begin(self) -> tuple[bool, bytes]:
        def begin() -> bytes:
            self.setup()
            return dump((ready_of(self._handler.env), os.getpid(), ray.util.get_node_ip_address()))

        return _attempt(begin)

    def access(self, name: str) -> tuple[bool, bytes]:
        return _attempt(lambda: dump(self._handler.access(name)))

    def call(self, payload: bytes) -> tuple[bool, bytes]:
        return _attempt(lambda: dump(self._handler.call(*load(payload))))

    @ray.method(num_returns=2)
    def run_rows(self, chunk: Chunk, base: Any = None) -> tuple[tuple[bool, Any], Any]:
        """Run a chunk, from ``base`` if it has no states; large observations come beside."""
        large: list[np.ndarray] = []

        def run() -> tuple[Any, bytes, float]:
            rows, form = Rows(*chunk[0]), Form(*chunk[1])
            size = len(rows.dts)
            if base is not None:
                rows = rows._replace(states=np.broadcast_to(base, (size, *base.shape[1:])))
            out = self._columns(size, form).out_of(0, size)
            began = time.perf_counter()
            infos = self._handler.env.make_transitions(rows, out)
            seconds = time.perf_counter() - began
            if isinstance(out.observs, np.ndarray) and out.observs.nbytes > INLINE_BYTES:
                large.extend(_parts_of(out.observs))
                out = out._replace(observs=None)
            return tuple(out[:-1]), dump(to_send(infos)), seconds

        answer = _attempt(run)
        return answer, large or None

    def _columns(self, size: int, form: Form) -> BatchColumns:
        """Memory for the results of a chunk, reused if it is large enough."""
        capacity, columns = self._scratch.get(form, (0, None))
        if columns is None or capacity < size:
            layout = Layout(self._handler.env.batch_spec, size, form)
            columns = layout.view(np.empty(layout.nbytes, np.uint8))
            self._scratch = {form: (size, columns)}
        return columns


def _parts_of(column: np.ndarray) -> list[np.ndarray]:
    rows = max(1, PART_BYTES // column[0].nbytes)
    return [column[start : start + rows] for start in range(0, len(column), rows)]


def _attempt(function: Callable[[], Any]) -> tuple[bool, Any]:
    """``(True, result)`` of ``function``, or ``(False, pickled error)``."""
    try:
        return True, function()
    except BaseException as error:  # also sys.exit of the environment
        return False, dump_error(error)

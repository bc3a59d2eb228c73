"""RayEnv: a VectorizedEnv whose workers are actors of a Ray cluster.

::

    DRIVER                                            NODE (one actor a worker)
    RayEnv         a local copy, and ...
      BatchEnv     fills a block, collects results
        RayWorker ── run_rows(rows, base, form) ──────> RemoteEnv   one object a chunk
                  <── (columns, infos) ────────────────   SimulatorEnv.make_transitions
        Block     the columns are copied in as they come

An actor has its next chunk before it has finished the one before. Ray itself repeats nothing: a
lost actor is ``WorkerDiedError``, and its rows run again as those of any other worker do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray

from plangym_lite.core import PlanEnv
from plangym_lite.vectorization.dispatch.batch_env import BatchEnv
from plangym_lite.vectorization.env import VectorizedEnv
from plangym_lite.vectorization.ray.actor import RemoteEnv
from plangym_lite.vectorization.ray.cluster import Connection, free_cores
from plangym_lite.vectorization.ray.worker import START_TIMEOUT, RayWorker
from plangym_lite.vectorization.worker.worker import close_all

__all__ = ["CHUNK_SIZE", "RayEnv", "RayWorker", "RemoteEnv"]

CHUNK_SIZE = 128
"""Rows of a chunk at most, unless told otherwise; ``docs/cluster.md`` says how it was measured."""


class RayEnv(VectorizedEnv):
    """Steps batches in actors of a Ray cluster; see :class:`VectorizedEnv` for other arguments.

    Args:
        n_workers: how many actors; ``"auto"``: as many as the cluster has cores.
        ray_kwargs: see :class:`~plangym_lite.vectorization.ray.cluster.Connection`.
        worker_options: of each actor, as ``ray.remote`` takes them: ``num_cpus``, ``resources``,
            ``scheduling_strategy`` and the like. Without ``num_cpus`` actors claim a core each
            while there are free ones, and then share them; with it, they wait for it.
        chunk_size: rows of a chunk at most. Large ones cost fewer
            messages, small ones keep all actors busy to the end of a batch and need less memory in
            the object store.
        start_timeout: seconds that finding places and building the environments may take;
            ``None``: no limit, for clusters that grow.

    Raises:
        TimeoutError: not all workers started in time.
    """

    def __init__(
        self,
        env_class: Callable[..., PlanEnv],
        name: Any = None,
        frameskip: int | None = None,
        autoreset: bool | None = None,
        delay_setup: bool = False,
        n_workers: int | str = 8,
        *,
        ray_kwargs: dict[str, Any] | None = None,
        worker_options: dict[str, Any] | None = None,
        chunk_size: int = CHUNK_SIZE,
        start_timeout: float | None = START_TIMEOUT,
        **engine_kwargs: Any,
    ) -> None:
        if isinstance(chunk_size, bool) or int(chunk_size) != chunk_size or chunk_size < 1:
            raise ValueError(f"chunk_size must be a whole number of at least 1, got {chunk_size!r}")
        self._ray_kwargs, self._worker_options = ray_kwargs, dict(worker_options or {})
        self._chunk_size, self._start_timeout = int(chunk_size), start_timeout
        self._takes_all_cores = n_workers == "auto"
        count: Any = 1 if self._takes_all_cores else n_workers
        super().__init__(env_class, name, frameskip, autoreset, delay_setup, count, **engine_kwargs)

    @property
    def workers(self) -> list[Any]:
        """The actors, as Ray's handles on :class:`RemoteEnv`."""
        return [worker.actor for worker in self.batch_env]

    def build_engine(self) -> None:
        self._connection = Connection(self._ray_kwargs)
        try:
            super().build_engine()
        except BaseException:
            self._connection.close()
            raise

    def make_batch_env(self, constructor: Callable[[], PlanEnv]) -> BatchEnv:
        if self._takes_all_cores:
            self.n_workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        workers: list[RayWorker] = []
        try:
            free = free_cores(self.n_workers)
            for index in range(self.n_workers):
                worker = RayWorker(
                    constructor,
                    start=False,
                    connection=self._connection,
                    options=self._worker_options,
                    start_timeout=self._start_timeout,
                )
                workers.append(worker)
                worker.start(wait_to_start=False, claims_core=index < int(free))
            self._wait_start(workers)
            return BatchEnv(workers, self.blocking, self._shared_limit, self._chunk_size)
        except BaseException:
            close_all(workers, timeout=1.0)
            raise

    def _wait_start(self, workers: list[RayWorker]) -> None:
        timeout = self._start_timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        for index, worker in enumerate(workers):
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                worker.wait_start(left)
            except TimeoutError:
                free, total = ray.available_resources(), ray.cluster_resources()
                room = {key: (free.get(key, 0), total[key]) for key in total if "node:" not in key}
                raise TimeoutError(
                    f"worker {index} of {len(workers)} did not start within {timeout:g} seconds. "
                    f"Each asks for {self._worker_options}; free and in all, the cluster has "
                    f"{room}. Use fewer workers, ask for less, or wait longer (start_timeout=)"
                ) from None

    def close_engine(self) -> None:
        super().close_engine()
        self._connection.close()

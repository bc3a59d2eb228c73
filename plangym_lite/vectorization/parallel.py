"""ParallelEnv: a VectorizedEnv whose workers are processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plangym_lite.core import PlanEnv
from plangym_lite.vectorization.dispatch.batch_env import BatchEnv
from plangym_lite.vectorization.env import VectorizedEnv
from plangym_lite.vectorization.process.pool import start_processes
from plangym_lite.vectorization.worker.worker import close_all

__all__ = ["ParallelEnv"]


class ParallelEnv(VectorizedEnv):
    """Steps batches in processes; see :class:`VectorizedEnv` for the other arguments.

    Args:
        threads: share batches that the engine can step on threads of this process among
            ``n_workers`` threads. Processes start at the first batch that it cannot, or that has a
            ``timeout``, which could not stop threads; ``False``: processes for all batches.
        start_method: ``"fork"``, ``"forkserver"`` or ``"spawn"``; the default does not
            fork a process that has threads.
        start_serially: start one process after another, not concurrently.
        start_timeout: seconds in which a worker must have built its environment, also when it is
            restarted; ``None``: no limit.
        flatten: accepted for compatibility with TF-Agents; nested values stay nested.
        engine_kwargs: ``blocking`` and ``shared_limit``, and the arguments of ``env_class``.
    """

    def __init__(
        self,
        env_class: Callable[..., PlanEnv],
        name: Any = None,
        frameskip: int | None = None,
        autoreset: bool | None = None,
        delay_setup: bool = False,
        n_workers: int = 8,
        *,
        threads: bool = True,
        start_method: str | None = None,
        start_serially: bool = False,
        start_timeout: float | None = None,
        flatten: bool = False,
        **engine_kwargs: Any,
    ) -> None:
        self._may_use_threads = threads
        self._start_method = start_method
        self._start_serially = start_serially
        self._start_timeout = start_timeout
        given = env_class, name, frameskip, autoreset, delay_setup, n_workers
        super().__init__(*given, **engine_kwargs)

    def make_batch_env(self, constructor: Callable[[], PlanEnv]) -> BatchEnv:
        processes = start_processes(
            [constructor] * self.n_workers,
            start_method=self._start_method,
            serially=self._start_serially,
            timeout=self._start_timeout,
        )
        try:
            return BatchEnv(processes, self.blocking, self._shared_limit)
        except BaseException:
            close_all(processes, timeout=1.0)
            raise

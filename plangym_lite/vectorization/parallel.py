"""ParallelEnv: a VectorizedEnv whose workers are processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plangym_lite.core import PlanEnv
from plangym_lite.machine import usable_cores
from plangym_lite.vectorization.batch import BatchEnv
from plangym_lite.vectorization.env import VectorizedEnv
from plangym_lite.vectorization.process import ExternalProcess
from plangym_lite.vectorization.worker import close_all

__all__ = ["ParallelEnv"]

LINGER = 2e-4  # seconds


class ParallelEnv(VectorizedEnv):
    """Steps batches in processes; see :class:`VectorizedEnv` for the other arguments.

    Args:
        start_method: ``"fork"``, ``"forkserver"`` or ``"spawn"``; the default never forks a
            process that has threads.
        start_serially: start one process after another, not side by side.
        start_timeout: seconds that an environment may take to build in its process, whenever one is
            started; ``None``: no limit.
        vector_args: as in :class:`VectorizedEnv`.
    """

    def __init__(
        self,
        env_class: Callable[..., PlanEnv],
        name: Any = None,
        *vector_args: Any,
        start_method: str | None = None,
        start_serially: bool = False,
        start_timeout: float | None = None,
        **engine_kwargs: Any,
    ) -> None:
        self._start_method = start_method
        self._start_serially = start_serially
        self._start_timeout = start_timeout
        super().__init__(env_class, name, *vector_args, **engine_kwargs)

    def make_batch_env(self, constructor: Callable[[], PlanEnv]) -> BatchEnv:
        processes: list[ExternalProcess] = []
        try:
            for index in range(self.n_workers):
                linger = LINGER if index + 1 < usable_cores() else 0.0  # one core is the caller's
                process = ExternalProcess(
                    constructor,
                    start=False,
                    start_method=self._start_method,
                    start_timeout=self._start_timeout,
                    linger=linger,
                )
                processes.append(process)
                process.start(wait_to_start=self._start_serially)
            for process in processes:
                process.wait_start()
            return BatchEnv(processes, self.blocking, self._shared_limit)
        except BaseException:
            close_all(processes, timeout=1.0)
            raise

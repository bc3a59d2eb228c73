"""The two vector environments that speak Gymnasium's dialect: in processes, and without."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.vector import AutoresetMode

from plangym_lite.vectorization.parallel import start_processes
from plangym_lite.vectorization.seat import Factory, seat_recipes
from plangym_lite.vectorization.seated_env import SeatedVectorEnv
from plangym_lite.vectorization.seats import Seats
from plangym_lite.vectorization.worker import InlineWorker, Worker, close_all

__all__ = ["SequentialVectorEnv", "SubprocVectorEnv"]


class SubprocVectorEnv(SeatedVectorEnv):
    """A ``gymnasium.vector.VectorEnv`` whose environment ``i`` lives in process ``i``.

    Args:
        env_factories: one callable for each environment, which returns a ``PlanEnv`` or a
            Gymnasium environment (they may be lambdas), or ids or specs for ``gymnasium.make``.
        logging_prefix: log statistics of episodes under this name.
        start_method: one of multiprocessing's; the default never forks a process with threads.
        autoreset_mode: when an episode that has ended is followed by the next.
        start_serially: start one process after another, not side by side.
        start_timeout: seconds that the environments may take to build; ``None``: no limit.
        shared_limit: bytes of shared memory; the default is a quarter of the memory.
    """

    def __init__(
        self,
        env_factories: Sequence[Factory],
        logging_prefix: str | None = None,
        start_method: str | None = None,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        start_serially: bool = False,
        start_timeout: float | None = None,
        shared_limit: int | None = None,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        workers = start_processes(
            seat_recipes(env_factories, mode),
            start_method=start_method,
            serially=start_serially,
            timeout=start_timeout,
        )
        super().__init__(Seats.of(workers, shared_limit), mode, logging_prefix)


class SequentialVectorEnv(SeatedVectorEnv):
    """The same without processes, one environment after another; the answers are the same.

    Args:
        env_factories: as for :class:`SubprocVectorEnv`.
        logging_prefix: likewise.
        autoreset_mode: likewise.
    """

    def __init__(
        self,
        env_factories: Sequence[Factory],
        logging_prefix: str | None = None,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        workers: list[Worker] = []
        try:
            workers.extend(InlineWorker(recipe) for recipe in seat_recipes(env_factories, mode))
        except BaseException:
            close_all(workers)
            raise
        super().__init__(Seats.of(workers, None), mode, logging_prefix)

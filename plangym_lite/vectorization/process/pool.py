"""Starting many worker processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plangym_lite.errors import WorkerDiedError
from plangym_lite.recipe.parcel import Parcel
from plangym_lite.system import check_workers, usable_cores
from plangym_lite.vectorization.process.limits import check_descriptors, too_many
from plangym_lite.vectorization.process.process import ExternalProcess
from plangym_lite.vectorization.worker.worker import close_all

__all__ = ["start_processes"]

POLL_SECONDS = 1e-3


def start_processes(
    constructors: Sequence[Callable[[], Any]],
    *,
    start_method: str | None = None,
    serially: bool = False,
    timeout: float | None = None,
) -> list[ExternalProcess]:
    """One process for each constructor, started concurrently or one after another.

    Raises:
        TimeoutError: an environment was not ready within ``timeout`` seconds.
        NoWorkersError: this system cannot have workers.
        OSError: a limit of descriptors or processes is too low; the message has the number needed.
        WorkerDiedError: a process ended before it was ready; the message names its index.
        Exception: what a constructor raised.
        After any of these no process is left.
    """
    processes: list[ExternalProcess] = []
    parcels = {id(constructor): constructor for constructor in constructors}
    parcels = {key: Parcel.of(constructor) for key, constructor in parcels.items()}
    check_workers()
    check_descriptors(len(constructors))
    try:
        spare = usable_cores() - 1  # the caller uses one core
        if len(constructors) > usable_cores():
            spare = 0  # the others need every core
        for index, constructor in enumerate(constructors):
            poll_seconds = POLL_SECONDS if index < spare else 0.0
            process = ExternalProcess(
                parcels[id(constructor)],
                start=False,
                start_method=start_method,
                start_timeout=timeout,
                poll_seconds=poll_seconds,
            )
            processes.append(process)
            try:
                process.start(wait_to_start=False)
            except OSError as error:
                raise too_many(error, index, len(constructors)) from error
            if serially:
                process.wait_start()
        for index, process in enumerate(processes):
            try:
                process.wait_start()
            except WorkerDiedError as error:
                raise WorkerDiedError(f"worker {index}: {error}") from error
        return processes
    except BaseException:
        close_all(processes, timeout=1.0)
        raise

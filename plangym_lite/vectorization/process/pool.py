"""Starting many worker processes, and the limits of the system that this may exceed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Any

from plangym_lite.errors import WorkerDiedError
from plangym_lite.recipe.parcel import Parcel
from plangym_lite.system import check_workers, usable_cores
from plangym_lite.vectorization.process.process import ExternalProcess
from plangym_lite.vectorization.worker.worker import close_all

__all__ = ["start_processes"]

POLL_SECONDS = 1e-3
FDS_OF_A_WORKER, FDS_OF_ALL = 3, 16
"""Descriptors. Per worker: channel, lifeline, the server's pipe. For all: the server, the queue,
shared memory, and those that are open only during a start."""


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
    _check_descriptors(len(constructors))
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
                raise _too_many(error, index, len(constructors)) from error
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


def _check_descriptors(n_workers: int) -> None:
    """Raise ``OSError`` unless this process may open enough descriptors for so many workers."""
    import resource  # not on Windows

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        n_open = len(os.listdir("/dev/fd"))
    except OSError:  # no descriptor is left, or there is no such folder
        n_open = 0 if limit == resource.RLIM_INFINITY else limit
    needed = n_open + FDS_OF_A_WORKER * n_workers + FDS_OF_ALL
    if limit != resource.RLIM_INFINITY and needed > limit:
        raise OSError(
            errno.EMFILE,
            f"{_workers(n_workers)} would need {needed} file descriptors in this process, {n_open} "
            f"of them open already, and it may have {limit}: raise the limit (ulimit -n {needed}, "
            "or resource.setrlimit with RLIMIT_NOFILE), or use fewer workers",
        )


def _too_many(error: OSError, index: int, n_workers: int) -> OSError:
    """The error for a worker that exceeds a limit; other errors unchanged."""
    import resource

    if error.errno not in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return error
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    of_user = "no limit" if limit == resource.RLIM_INFINITY else str(limit)
    return OSError(
        error.errno,
        f"worker {index} could not be started ({error.strerror}): {_workers(n_workers)} need "
        f"{n_workers + 1} processes more than this user has, and the limits allow no more "
        f"(RLIMIT_NPROC: {of_user}; containers have one of their own): raise it (ulimit -u), or "
        "use fewer workers",
    )


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"

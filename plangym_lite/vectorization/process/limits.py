"""Errors for limits of the system that are too low for the workers, with the number needed."""

from __future__ import annotations

import errno
import os

__all__ = ["check_descriptors", "too_many"]

FDS_OF_A_WORKER, FDS_OF_ALL = 3, 16
"""Descriptors. Per worker: channel, lifeline, the server's pipe. For all: the server, the queue,
shared memory, and those that are open only during a start."""


def check_descriptors(n_workers: int) -> None:
    """Check that this process may open enough descriptors for so many workers.

    Raises:
        OSError: the limit is too low.
    """
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


def too_many(error: OSError, index: int, n_workers: int) -> OSError:
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

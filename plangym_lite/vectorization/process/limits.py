"""Limits of the system that cannot hold the workers, named with the number needed."""

from __future__ import annotations

import errno
import os

__all__ = ["check_descriptors", "too_many"]

FDS_OF_A_WORKER, FDS_OF_ALL = 3, 16
"""Descriptors: of a worker the channel, the lifeline and the server's pipe; of all the server, the
queue, what is shared in memory, and what is open while one starts."""


def check_descriptors(n_workers: int) -> None:
    """Make sure that this process may open what so many workers need.

    Raises:
        OSError: it may not.
    """
    import resource  # not on Windows

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        n_open = len(os.listdir("/dev/fd"))
    except OSError:  # not even one more, or no such folder here
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
    """The error for a worker that no limit left room for; any other as it is."""
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

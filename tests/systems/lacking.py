"""Takes away what a system lacks; as ``sitecustomize`` it does so in every Python that starts.

``PLANGYM_TEST_SYSTEM`` names the system. It says what is missing, not what such a system adds.
"""

import builtins
import io
import mmap
import os
import select
import selectors
import signal
import socket
import subprocess
import sys

WINDOWS = {
    os: "fork forkpty register_at_fork memfd_create posix_fallocate posix_spawn sched_getaffinity "
    "set_blocking sysconf setsid killpg mkfifo pread waitid O_ASYNC",
    select: "poll epoll PIPE_BUF",
    signal: "SIGKILL SIGCHLD SIGHUP SIGIO SIGALRM SIGVTALRM SIGPROF SIGUSR1 SIGUSR2 SIGPIPE "
    "pthread_sigmask setitimer alarm",
    socket: "AF_UNIX send_fds recv_fds SCM_RIGHTS CMSG_LEN",
    mmap: "MADV_REMOVE MADV_DONTNEED MADV_HUGEPAGE",
}
WINDOWS_MODULES = ["fcntl", "resource", "pwd", "grp", "termios"]
MACOS = {
    os: "memfd_create posix_fallocate sched_getaffinity eventfd",
    select: "epoll",
    mmap: "MADV_REMOVE MADV_HUGEPAGE",
}
MACOS_PIPE_BUF = 512


class WindowsMap(mmap.mmap):
    """``mmap`` with the arguments that it has on Windows."""

    def __new__(cls, fileno, length, tagname=None, offset=0):
        return super().__new__(cls, fileno, length, offset=offset)


def without_proc(real):
    """``open`` that finds nothing in ``/proc/self``, where this package looks."""

    def open(file, *args, **kwargs):
        if isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith("/proc/self"):
            raise FileNotFoundError(2, "No such file or directory", file)
        return real(file, *args, **kwargs)

    return open


def take_away(system):
    """Take away what ``system`` lacks."""
    for module, names in {"windows": WINDOWS, "macos": MACOS}[system].items():
        for name in names.split():
            vars(module).pop(name, None)
    io.open = builtins.open = without_proc(io.open)
    if system == "macos":
        select.PIPE_BUF = MACOS_PIPE_BUF
        return
    mmap.mmap = WindowsMap
    subprocess._PopenSelector = selectors.SelectSelector  # this system's own would need poll
    for name in WINDOWS_MODULES:
        sys.modules[name] = None


if "PLANGYM_TEST_SYSTEM" in os.environ:
    take_away(os.environ["PLANGYM_TEST_SYSTEM"])

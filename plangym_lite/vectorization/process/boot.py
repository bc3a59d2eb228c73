"""What a new interpreter runs first: it becomes a worker (spawn), or a server that forks workers.

Neither runs the program's ``__main__`` or multiprocessing's own start code.
"""

from __future__ import annotations

import importlib
import marshal
import multiprocessing
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from plangym_lite.vectorization.process import server

__all__ = ["NAME", "NUMBER", "bootstrap", "command", "serve", "work"]

NAME = "plangym_lite worker"
NUMBER = struct.Struct("<q")
"""A report of the server: a worker's process id, or minus an ``errno``; then its exit code."""

CODE = """import marshal, sys
with open({0}, "rb") as file:
    orders = marshal.loads(file.read())
sys.path[:] = orders["path"]
from plangym_lite.vectorization.process import boot
boot.{1}(orders, {2})
"""
"""Until ``sys.path`` is set, only built-in modules are imported: a file of the user may have the
name of a module of the standard library."""


def command(what: str, orders: int, fds: Iterable[int]) -> str:
    """Python code that calls ``what`` of this module with marshalled orders and ``fds``."""
    return CODE.format(orders, what, ", ".join(map(str, fds)))


def work(orders: dict[str, Any], sock: int, lifeline: int) -> None:
    """Be a worker: take over the surroundings of the parent, then serve."""
    os._exit(_work(orders, sock, lifeline, "spawn"))


def _work(orders: dict[str, Any], sock: int, lifeline: int, method: str) -> int:
    _take_over(orders)
    for fd in (sock, lifeline):
        os.set_inheritable(fd, False)
    args = (
        socket.socket(fileno=sock),
        Connection(lifeline, writable=False),
        orders.pop("carried"),
        orders["poll_seconds"],
        orders["cwd"],
    )
    multiprocessing.current_process().authkey = orders["authkey"]
    return bootstrap(args, method, orders["parent"])


def bootstrap(args: tuple[Any, ...], method: str, parent: int) -> int:
    """Run ``server.main(*args)`` as multiprocessing runs its children; return the exit code."""
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=server.main, args=args, name=NAME)
    process._parent_pid = parent
    return process._bootstrap(parent_sentinel=args[1].fileno())


def _take_over(orders: dict[str, Any]) -> None:
    given = orders["environ"]
    for name in os.environ.keys() - given.keys():
        del os.environ[name]
    for name, value in given.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    sys.path[:], sys.argv[:] = orders["path"], orders["argv"]


def serve(orders: dict[str, Any], sock: int) -> None:
    """Be the server: fork a worker at each request of the parent; end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for name in orders["preload"]:
        importlib.import_module(name)
    _Server(socket.socket(fileno=sock)).run()


class _Server:
    """Forks workers; reports their process ids and exit codes.

    Args:
        sock: connected with the parent, which sends one byte and four descriptors for each worker:
            its channel, its lifeline, its orders, and a pipe for the reports.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reports: dict[int, int] = {}  # by process id, the pipes
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._woken, False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that bytes are written to ``wake``
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        ready = select.poll()
        ready.register(self._sock, select.POLLIN)
        ready.register(self._woken, select.POLLIN)
        while True:
            events = {fd for fd, _ in ready.poll()}
            if self._woken in events:
                self._reap()
            if self._sock.fileno() in events:
                word, fds, _, _ = socket.recv_fds(self._sock, 1, 4)
                if not word:
                    os._exit(0)
                if len(fds) == 4:
                    self._fork(*fds)
                for fd in fds:
                    if fd not in self._reports.values():
                        os.close(fd)

    def _fork(self, sock: int, lifeline: int, orders: int, report: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            return self._report(report, -(error.errno or 1))
        if pid == 0:
            code = 1
            try:
                code = self._become(sock, lifeline, orders, report)
            finally:
                os._exit(code)
        self._reports[pid] = report
        self._report(report, pid)

    def _become(self, sock: int, lifeline: int, orders: int, report: int) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._sock.close()
        for fd in (self._woken, self._wake, report, *self._reports.values()):
            os.close(fd)
        with open(orders, "rb") as file:
            return _work(marshal.load(file), sock, lifeline, "forkserver")

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 1 << 12)
        with suppress(ChildProcessError):  # there are none
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                report = self._reports.pop(pid, None)
                if report is not None:
                    self._report(report, os.waitstatus_to_exitcode(status))
                    os.close(report)

    def _report(self, report: int, number: int) -> None:
        with suppress(OSError):  # the parent has closed the pipe
            os.write(report, NUMBER.pack(number))

"""Starting a child process by any start method, without changing anything else in this process.

``multiprocessing`` imports the parent's ``__main__`` in children that are not forked, and takes
their environment variables from this process; both would have to be changed here during a start.
Our children need no ``__main__``, because their code is pickled by value. So they are started here:

- ``fork``: a fork of this process.
- ``spawn``: a new interpreter.
- ``forkserver``: a fork of a server, a new interpreter that has imported our modules. It serves
  only this process, and ends with it.

No file is created. A child gets the environment variables, the working directory, ``sys.path`` and
``sys.argv`` of the moment of its start.
"""

from __future__ import annotations

import errno
import functools
import marshal
import multiprocessing
import multiprocessing.spawn
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from plangym_lite.recipe.parcel import know, names_of_main
from plangym_lite.system import interrupts_held
from plangym_lite.vectorization.process import boot

__all__ = ["ChildProcess", "close_in_forks", "forkserver_pid", "hash_seed", "start_process"]

THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""A worker uses one core; and a server that forks must have no threads."""

PRELOAD = ["plangym_lite.envs.gymnasium.env"]
"""Modules that the server imports, so that forked workers have them."""

SERVER_TIMEOUT = 120.0  # seconds for the server to import our modules
LONGEST_NAP = 0.02  # seconds between two checks of a child


@functools.lru_cache(maxsize=1)
def hash_seed() -> str | None:
    """``PYTHONHASHSEED`` as it was when this interpreter started; ``None`` for a random one."""
    if sys.flags.ignore_environment:
        return None
    try:
        with interrupts_held(), open("/proc/self/environ", "rb") as file:
            pairs = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
        seed = pairs.get(b"PYTHONHASHSEED", b"").decode()
    except OSError:  # not Linux
        seed = os.environ.get("PYTHONHASHSEED", "")
    return None if seed in ("", "random") else seed


# ---- what a fork of this process must not keep --------------------------------------------------

_ours: weakref.WeakSet[Any] = weakref.WeakSet()
_starting = threading.RLock()
_server: _ForkServer | None = None


def close_in_forks(*ends: Any) -> None:
    """Close these in every process that is forked from this one.

    Open there, they would prevent children from noticing the end of this process.
    """
    _ours.update(ends)


def _forget() -> None:
    global _starting, _server
    for end in list(_ours):
        end.close()
    _starting, _server = threading.RLock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _read_number(pipe: Connection, timeout: float) -> int:
    """The next number in a pipe; ``TimeoutError``, or ``EOFError`` if its other end was closed."""
    if not pipe.poll(timeout):
        raise TimeoutError
    data = os.read(pipe.fileno(), boot.NUMBER.size)
    if len(data) < boot.NUMBER.size:
        raise EOFError
    return int(boot.NUMBER.unpack(data)[0])


# ---- children -----------------------------------------------------------------------------------


class ChildProcess:
    """A child of this process.

    ``exitcode`` is as in multiprocessing; ``None``: it is running, or its end was not seen, because
    this process ignores SIGCHLD or waits for its children elsewhere.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exitcode: int | None = None
        self._has_ended = False
        self._parent = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this process started it (and not one that this process was forked from)."""
        return self._parent == os.getpid()

    def join(self, timeout: float | None = None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        nap = 5e-4
        while not self._has_ended and self.is_ours:
            left = LONGEST_NAP if deadline is None else deadline - time.monotonic()
            self._look(max(0.0, left))
            if self._has_ended or left <= 0:
                break
            time.sleep(min(nap, left))
            nap = min(2 * nap, LONGEST_NAP)
        return self._has_ended

    def _look(self, timeout: float) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            self._has_ended = True
            return
        if pid:
            self.exitcode, self._has_ended = os.waitstatus_to_exitcode(status), True

    def is_alive(self) -> bool:
        return self.is_ours and not self.join(0.0)

    def kill(self) -> None:
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close what belongs to it in this process."""


class _ServedProcess(ChildProcess):
    """A child of the server, whose pipe is ``report``."""

    def __init__(self, pid: int, report: Connection) -> None:
        super().__init__(pid)
        self._report = report

    def _look(self, timeout: float) -> None:
        try:
            self.exitcode = _read_number(self._report, timeout)
        except TimeoutError:
            return
        except EOFError:
            pass  # the server has ended; if the child is running, its lifeline will end it
        self._has_ended = True

    def close(self) -> None:
        self._report.close()


class _Popen(subprocess.Popen):
    """A process whose end :class:`ChildProcess` waits for."""

    def __del__(self) -> None:
        return


# ---- starting -----------------------------------------------------------------------------------


def start_process(
    sock: socket.socket, lifeline: Any, constructor: Any, poll_seconds: float, start_method: str
) -> ChildProcess:
    """Start a worker, if limits allow it; see ``server.main`` for the arguments."""
    methods = multiprocessing.get_all_start_methods()
    if start_method not in methods:
        raise ValueError(f"start_method must be one of {methods}, got {start_method!r}")
    with _starting, interrupts_held():
        if start_method == "fork":
            return _fork((sock, lifeline, constructor, poll_seconds))
        orders = {**_surroundings(), "carried": constructor, "poll_seconds": poll_seconds}
        fds = sock.fileno(), lifeline.fileno()
        if start_method == "spawn":
            return ChildProcess(_spawn("work", orders, fds).pid)
        try:
            return _fork_server().fork(orders, fds)
        except (BrokenPipeError, EOFError):  # the server was killed
            pass
        try:
            return _fork_server(anew=True).fork(orders, fds)
        except EOFError:
            what = "the server that forks workers has too many files open, or died"
            raise OSError(errno.EMFILE, what) from None


def _fork(args: tuple[Any, ...]) -> ChildProcess:
    parent = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # it may have been replaced by anything
            stream.flush()
    pid = os.fork()
    if pid:
        return ChildProcess(pid)
    code = 1
    try:
        _forget_signals()
        know(names_of_main())
        code = boot.bootstrap(args, "fork", parent)
    finally:
        os._exit(code)


def _forget_signals() -> None:
    """In a forked worker: remove the signal handlers of the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def _surroundings() -> dict[str, Any]:
    """What a child takes over from this process, in types that ``marshal`` accepts."""
    try:
        cwd: str | None = os.getcwd()
    except OSError:  # it was deleted
        cwd = None
    path = [str(os.fsdecode(p)) for p in sys.path if isinstance(p, (str, bytes, os.PathLike))]
    return {
        "environ": dict.fromkeys(THREAD_LIMITS, "1") | dict(os.environ),
        "path": path,
        "argv": [str(argument) for argument in getattr(sys, "argv", [])],
        "cwd": cwd,
        "parent": os.getpid(),
        "authkey": bytes(multiprocessing.current_process().authkey),
    }


def _spawn(what: str, orders: dict[str, Any], fds: tuple[int, ...]) -> _Popen:
    environ = dict(orders["environ"])
    environ.pop("PYTHONHASHSEED", None)  # the child hashes strings as this interpreter does
    if hash_seed() is not None:
        environ["PYTHONHASHSEED"] = str(hash_seed())
    file = _file_of(orders)
    try:
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        executable = os.fsdecode(multiprocessing.spawn.get_executable())
        code = boot.command(what, file, fds)
        return _Popen([executable, *flags, "-c", code], env=environ, pass_fds=(file, *fds))
    finally:
        os.close(file)


def _file_of(orders: dict[str, Any]) -> int:
    """A descriptor of a file without a name that holds the orders."""
    try:
        fd = os.memfd_create("plangym_lite")
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    with open(fd, "wb", closefd=False) as file:
        marshal.dump(orders, file)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def forkserver_pid() -> int | None:
    """The process id of the server that forks workers, if there is one."""
    return None if _server is None else _server.process.pid


def _fork_server(anew: bool = False) -> _ForkServer:
    global _server
    if _server is None or anew or not _server.process.is_alive():
        if _server is not None:
            _server.close()
        _server = _ForkServer()
    return _server


class _ForkServer:
    """The server, as seen from this process."""

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair()
        close_in_forks(self._sock)
        orders = {**_surroundings(), "preload": PRELOAD}
        try:
            self.process = ChildProcess(_spawn("serve", orders, (theirs.fileno(),)).pid)
        except BaseException:
            self._sock.close()
            raise
        finally:
            theirs.close()
        weakref.finalize(self, self._sock.close)

    def close(self) -> None:
        self._sock.close()
        if not self.process.join(1.0):
            self.process.kill()
            self.process.join()

    def fork(self, orders: dict[str, Any], fds: tuple[int, ...]) -> ChildProcess:
        """Let it fork a worker; ``BrokenPipeError`` or ``EOFError`` if it has ended."""
        report, writer = multiprocessing.Pipe(duplex=False)
        close_in_forks(report)
        try:
            file = _file_of(orders)
            try:
                socket.send_fds(self._sock, [b"F"], [*fds, file, writer.fileno()])
            finally:
                os.close(file)
        finally:
            writer.close()
        number = _read_number(report, SERVER_TIMEOUT)
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return _ServedProcess(number, report)

"""Channel: messages over a socket pair; a wait polls for a moment, then blocks.

Each end has one reader and one writer. While sending waits for room, it reads incoming data, so
that two ends which send large messages to each other do not deadlock.

An interrupt (Ctrl-C) may come at any time. A channel whose transfer was interrupted counts as
broken, so that a partial transfer is never read as a message. A received message stays until it is
dropped, so that an interrupt loses none.
"""

from __future__ import annotations

import select
import socket
import time
from array import array
from collections import deque

from plangym_lite.vectorization.worker.messages import HEADER

__all__ = ["Channel", "ChannelClosedError", "LateError", "milliseconds"]

CHUNK = 1 << 16
LARGE = 1 << 20  # bytes from which a payload is sent without a copy
MAX_FDS = 4
LONGEST_POLL = 1e9  # milliseconds; longer waits poll again
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # SIGPIPE may have its default action, to kill


class ChannelClosedError(EOFError):
    """The other end is closed, or a transfer was interrupted."""


class LateError(TimeoutError):
    """A wait of this library timed out. Environments never raise this."""


class Channel:
    """One end of a connected pair; ``takes_fds``: descriptors may arrive, kept in ``fds``."""

    def __init__(self, sock: socket.socket, takes_fds: bool = False) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._takes_fds = takes_fds
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self.inbox = bytearray()  # what was read and not dropped yet
        self._end = 0  # end of the message that ``peek`` returned
        self._whole = True  # False during a transfer, and after an interrupted one
        self.fds: deque[int] = deque()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()
        while self.fds:
            socket.close(self.fds.popleft())

    def take_fd(self) -> int:
        """The next descriptor received; ``OSError`` if there is none."""
        if not self.fds:
            raise OSError("no descriptor came with the message: the worker has too many files open")
        return self.fds.popleft()

    def send(
        self,
        kind: int,
        request: int,
        payload: bytes,
        fds: tuple[int, ...] = (),
        deadline: float | None = None,
    ) -> None:
        """Send one message with descriptors; wait for room until ``deadline``.

        Raises:
            ChannelClosedError: the other end is gone.
            LateError: there was no room in time; if part of the message was sent, the channel is
                broken.
        """
        header = HEADER.pack(len(payload), kind, request)
        parts = [header + payload] if len(payload) < LARGE else [header, payload]
        self._begin()
        sent = 0
        for part in parts:
            data = memoryview(part)
            while data:
                try:
                    if fds:  # ``socket.send_fds`` ignores flags
                        rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds)
                        sent = self._sock.sendmsg([data], [rights], NO_SIGNAL)
                    else:
                        sent = self._sock.send(data, NO_SIGNAL)
                    data, fds = data[sent:], ()
                except BlockingIOError:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        self._whole = not sent
                        raise LateError("no room for the message in time") from None
                    if self._wait(left, writing=True):
                        self._read()
                except OSError as error:
                    self._whole = True  # earlier messages of the other end can still be read
                    raise ChannelClosedError(str(error)) from error
        self._whole = True

    def receive(self, timeout: float | None = None, spin: float = 0.0) -> tuple[int, int, bytes]:
        message = self.await_message(timeout, spin)
        self.drop()
        return message

    def await_message(
        self, timeout: float | None = None, spin: float = 0.0
    ) -> tuple[int, int, bytes]:
        """The next message as ``(kind, request id, payload)``; it stays until ``drop``.

        Args:
            timeout: seconds; ``None``: no limit.
            spin: seconds of polling before blocking.

        Raises:
            LateError: no message came in time; it can still be received later.
            ChannelClosedError: the other end is closed and all its messages were received.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        spin_until = time.perf_counter() + spin if spin else 0.0
        while True:
            message = self.peek()
            if message is not None:
                return message
            while not self.read_available():
                if spin and time.perf_counter() < spin_until:
                    continue
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise LateError(f"no message within {timeout} s")
                self._wait(left)

    def peek(self) -> tuple[int, int, bytes] | None:
        """The next complete message already read; it stays until ``drop``."""
        inbox = self.inbox
        if len(inbox) < HEADER.size:
            return None
        length, kind, request = HEADER.unpack_from(inbox)
        self._end = HEADER.size + length
        if len(inbox) < self._end:
            return None
        with memoryview(inbox) as view:
            return kind, request, bytes(view[HEADER.size : self._end])

    def drop(self) -> None:
        del self.inbox[: self._end]

    def read_available(self) -> bool:
        self._begin()
        found = self._read()
        self._whole = True
        return found

    @property
    def was_cut_off(self) -> bool:
        return not self._whole

    def _read(self) -> bool:
        try:
            if self._takes_fds:
                data, fds, _, _ = socket.recv_fds(self._sock, CHUNK, MAX_FDS)
                self.fds.extend(fds)
            else:
                data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            self._whole = True
            raise ChannelClosedError(str(error)) from error
        if not data:
            self._whole = True
            raise ChannelClosedError("the other end is gone")
        self.inbox += data
        return True

    def _wait(self, timeout: float | None, writing: bool = False) -> bool:
        """Block until there is something to read, or room to write; whether to read."""
        if not writing:
            try:
                return bool(self._readable.poll(milliseconds(timeout)))
            except RuntimeError:  # it is being used: a signal's handler closes the environment
                pass
        either = select.poll()
        either.register(self._sock, select.POLLIN | (select.POLLOUT if writing else 0))
        events = either.poll(milliseconds(timeout))
        return any(event & ~select.POLLOUT for _, event in events)

    def _begin(self) -> None:
        """Begin a transfer; it ends with ``_whole = True``."""
        if not self._whole:
            raise ChannelClosedError("a transfer was interrupted half way")
        self._whole = False


def milliseconds(timeout: float | None) -> float | None:
    """Seconds as milliseconds for ``poll``."""
    return None if timeout is None else min(max(1.0, timeout * 1000), LONGEST_POLL)

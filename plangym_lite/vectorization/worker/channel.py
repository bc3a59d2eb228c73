"""Channel: one message in or out of a socket pair; spin a moment, then block.

One reader and one writer hold each end. Sending never waits for the other side without reading
what it says meanwhile: two ends that write large messages to each other both get through.

An interrupt (Ctrl-C) may come at any time. While a message is half way in or out the channel counts
as broken, so that an interrupted transfer is never taken for a message. A message that has arrived
stays until it is dropped, so that an interrupt loses none.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque

from plangym_lite.vectorization.worker.messages import HEADER, frames

__all__ = ["Channel", "ChannelClosedError", "LateError", "milliseconds"]

CHUNK = 1 << 16
MAX_FDS = 4
LONGEST_POLL = 1e9  # milliseconds; who waits longer asks again


class ChannelClosedError(EOFError):
    """The other end is gone, or a transfer was interrupted half way."""


class LateError(TimeoutError):
    """A wait of ours took too long. What an environment raises is never this."""


class Channel:
    """One end of a connected pair.

    Args:
        sock: a stream socket of the family ``AF_UNIX``.
        takes_fds: whether file descriptors may arrive; they are collected in ``fds``.
    """

    def __init__(self, sock: socket.socket, takes_fds: bool = False) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._takes_fds = takes_fds
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._inbox = bytearray()
        self._end = 0  # of the message that was peeked at
        self._whole = True  # False while a transfer is under way, for ever if it was cut off
        self.fds: deque[int] = deque()

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end; the other end sees it."""
        self._sock.close()
        while self.fds:
            socket.close(self.fds.popleft())

    def take_fd(self) -> int:
        """The next descriptor that came.

        Raises:
            OSError: none did.
        """
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
        """Send one message, and descriptors with it; wait for room until ``deadline``.

        Raises:
            ChannelClosedError: the other end is gone.
            LateError: there was no room in time; what went out of the message is lost, and with it
                the channel.
        """
        self._begin()
        sent = 0
        for data in frames(kind, request, payload):
            while data:
                try:
                    if fds:
                        sent = socket.send_fds(self._sock, [data], list(fds))
                    else:
                        sent = self._sock.send(data)
                    data, fds = data[sent:], ()
                except BlockingIOError:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        self._whole = not sent
                        raise LateError("no room for the message in time") from None
                    if self._wait(left, writing=True):
                        self._read()
                except OSError as error:
                    self._whole = True  # what the other end said before can still be read
                    raise ChannelClosedError(str(error)) from error
        self._whole = True

    def receive(self, timeout: float | None = None, spin: float = 0.0) -> tuple[int, int, bytes]:
        """Wait for the next message and take it; see ``await_message``."""
        message = self.await_message(timeout, spin)
        self.drop()
        return message

    def await_message(
        self, timeout: float | None = None, spin: float = 0.0
    ) -> tuple[int, int, bytes]:
        """The next message as ``(kind, request id, payload)``; it stays until ``drop``.

        Args:
            timeout: seconds; ``None``: wait for ever.
            spin: seconds to look again and again before blocking.

        Raises:
            LateError: no message came in time; it can still be received later.
            ChannelClosedError: the other end is gone and everything it said was received.
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
        """The next whole message of what was read so far; it stays until ``drop``."""
        inbox = self._inbox
        if len(inbox) < HEADER.size:
            return None
        length, kind, request = HEADER.unpack_from(inbox)
        self._end = HEADER.size + length
        if len(inbox) < self._end:
            return None
        with memoryview(inbox) as view:
            return kind, request, bytes(view[HEADER.size : self._end])

    def drop(self) -> None:
        """The message that ``peek`` gave was handled."""
        del self._inbox[: self._end]

    def read_available(self) -> bool:
        """Read without waiting; whether anything was there."""
        self._begin()
        found = self._read()
        self._whole = True
        return found

    @property
    def was_cut_off(self) -> bool:
        """Whether a transfer was interrupted half way."""
        return not self._whole

    @property
    def has_unread(self) -> bool:
        """Whether something was read that was not parsed yet."""
        return len(self._inbox) > 0

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
        self._inbox += data
        return True

    def _wait(self, timeout: float | None, writing: bool = False) -> bool:
        """Block until there is something to read, or room to write; whether to read."""
        if not writing:
            return bool(self._readable.poll(milliseconds(timeout)))
        either = select.poll()
        either.register(self._sock, select.POLLIN | select.POLLOUT)
        events = either.poll(milliseconds(timeout))
        return any(event & ~select.POLLOUT for _, event in events)

    def _begin(self) -> None:
        """A transfer begins; it ends with ``_whole = True``."""
        if not self._whole:
            raise ChannelClosedError("a transfer was interrupted half way")
        self._whole = False


def milliseconds(timeout: float | None) -> float | None:
    """Seconds to wait, in the form that ``poll`` takes."""
    return None if timeout is None else min(max(1.0, timeout * 1000), LONGEST_POLL)

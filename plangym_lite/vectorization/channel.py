"""Channel: one message in or out of a socket pair; spin a moment, then block.

One reader and one writer hold each end. Sending never waits for the other side without reading
what it says meanwhile: two ends that write large messages to each other both get through.

An interrupt (Ctrl-C) may come at any time. While a message is half way in or out the channel counts
as broken, so that an interrupted transfer is never taken for a message.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque

from plangym_lite.vectorization.messages import HEADER, frame

__all__ = ["Channel", "ChannelClosedError"]

CHUNK = 1 << 16
MAX_FDS = 4


class ChannelClosedError(EOFError):
    """The other end is gone, or a transfer was interrupted half way."""


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
        self._inbox = bytearray()
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

    def send(
        self, kind: int, request: int, payload: bytes, fds: tuple[int, ...] = (), wait: bool = True
    ) -> None:
        """Send one message, and descriptors with it; with ``wait=False`` only if there is room.

        Raises:
            ChannelClosedError: the other end is gone, or there was no room.
        """
        data = memoryview(frame(kind, request, payload))
        self._begin()
        while data:
            try:
                if fds:
                    sent = socket.send_fds(self._sock, [data], list(fds))
                else:
                    sent = self._sock.send(data)
                data, fds = data[sent:], ()
            except BlockingIOError:
                if not wait:
                    raise ChannelClosedError("no room for the message") from None
                if self._wait(None, writing=True):
                    self._read()
            except OSError as error:
                self._whole = True  # what the other end said before it went can still be read
                raise ChannelClosedError(str(error)) from error
        self._whole = True

    def receive(self, timeout: float | None = None, spin: float = 0.0) -> tuple[int, int, bytes]:
        """The next message as ``(kind, request id, payload)``.

        Args:
            timeout: seconds; ``None``: wait for ever.
            spin: seconds to look again and again before blocking.

        Raises:
            TimeoutError: no message came in time; it can still be received later.
            ChannelClosedError: the other end is gone and everything it said was received.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        spin_until = time.perf_counter() + spin if spin else 0.0
        while True:
            message = self.parse()
            if message is not None:
                return message
            while not self.read_available():
                if spin and time.perf_counter() < spin_until:
                    continue
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"no message within {timeout} s")
                self._wait(left)

    def parse(self) -> tuple[int, int, bytes] | None:
        """Take one whole message out of what was read so far."""
        inbox = self._inbox
        if len(inbox) < HEADER.size:
            return None
        length, kind, request = HEADER.unpack_from(inbox)
        end = HEADER.size + length
        if len(inbox) < end:
            return None
        payload = bytes(inbox[HEADER.size : end])
        del inbox[:end]
        return kind, request, payload

    def read_available(self) -> bool:
        """Read without waiting; whether anything was there."""
        self._begin()
        found = self._read()
        self._whole = True
        return found

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
            raise ChannelClosedError("the other end is gone")
        self._inbox += data
        return True

    def _wait(self, timeout: float | None, writing: bool = False) -> bool:
        """Block until there is something to read, or room to write; whether to read."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | (select.POLLOUT if writing else 0))
        events = poll.poll(None if timeout is None else max(1.0, timeout * 1000))
        return any(event & ~select.POLLOUT for _, event in events)

    def _begin(self) -> None:
        """A transfer begins; it ends with ``_whole = True``."""
        if not self._whole:
            raise ChannelClosedError("a transfer was interrupted half way")
        self._whole = False

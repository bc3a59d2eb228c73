"""Arenas: anonymous files in memory, of which blocks are slices.

An arena has no name that could be left behind, is not bound by the size of ``/dev/shm``, and
vanishes with the last process that holds it. It is large and empty at first: the pages of a slice
are reserved when it is taken, and given back to the system when nobody uses it any more. However
many slices are in use, an arena costs a process two descriptors at most, because ``mmap`` keeps a
duplicate of the file's (up to Python 3.12).
"""

from __future__ import annotations

import bisect
import itertools
import mmap
import os
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

__all__ = ["Arena", "OrdinaryMemory", "make_arena", "next_number", "no_room"]

next_number = itertools.count().__next__
"""The next name of an arena or a block in messages."""


class Arena:
    """A file in memory and its mapping; pages of free slices are given back.

    Args:
        nbytes: its size.
        fd: the file; the arena closes it.
        number: its name in messages; ``None`` gives the next.

    Raises:
        OSError: it cannot be mapped; the file is closed.
    """

    is_shared = True

    def __init__(self, nbytes: int, fd: int, number: int | None = None) -> None:
        self.nbytes, self.fd = nbytes, fd
        self.number = next_number() if number is None else number
        self.close = weakref.finalize(self, os.close, fd)  # the mapping lives as long as its views
        try:
            self.memory = _map(fd, nbytes)
        except BaseException:
            self.close()
            raise
        self._pid = os.getpid()
        self._free = [(0, nbytes)]  # starts and ends, in order; no two of them touch

    @property
    def is_empty(self) -> bool:
        """Whether no slice of it is taken."""
        return self._free == [(0, self.nbytes)]

    def take(self, nbytes: int) -> int | None:
        """Take a slice whose pages are reserved; return its offset. ``None``: there is no room."""
        size = _whole_pages(nbytes)
        fitting = [gap for gap in self._free if gap[1] - gap[0] >= size]
        if not fitting:
            return None
        start, stop = fitting[0]
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.fd, start, size)
        except OSError:  # no memory, no room on the disk
            _give_back_pages(self.memory, self._pid, start, size)
            return None
        index = self._free.index((start, stop))
        self._free[index : index + 1] = [(start + size, stop)] if stop > start + size else []
        return start

    def give_back(self, start: int, nbytes: int) -> None:
        """A slice is free again."""
        stop, free = start + _whole_pages(nbytes), self._free
        _give_back_pages(self.memory, self._pid, start, stop - start)
        index = bisect.bisect(free, (start, stop))
        if index < len(free) and free[index][0] == stop:
            stop = free.pop(index)[1]
        if index > 0 and free[index - 1][1] == start:
            index -= 1
            start = free.pop(index)[0]
        free.insert(index, (start, stop))

    def give_back_after(self, lease: Any, start: int, nbytes: int) -> None:
        """Give back the pages of a slice when ``lease`` is gone; it is not taken again."""
        pages = self.memory, self._pid, start, _whole_pages(nbytes)
        weakref.finalize(lease, _give_back_pages, *pages).atexit = False


class OrdinaryMemory:
    """In place of an arena, where none can be had: memory of this process alone."""

    is_shared = False

    def __init__(self, nbytes: int) -> None:
        try:
            self.memory = np.zeros(nbytes, np.uint8)
        except MemoryError:
            raise no_room(nbytes) from None


def make_arena(needed: int, sizes: Sequence[int]) -> tuple[Arena, int] | None:
    """A new arena of the first size that can be had, and a slice of ``needed`` bytes in it.

    It is in memory, or else on disk. ``None``: memory, disk or file descriptors run short.
    """
    for make_file in (_memory_file, _disk_file):
        for size in map(_whole_pages, sizes):
            try:
                arena = _arena_of(make_file(), size)
            except (AttributeError, OSError, OverflowError, ValueError):
                continue
            offset = arena.take(needed)
            if offset is not None:
                return arena, offset
            arena.close()
    return None


def no_room(nbytes: int) -> MemoryError:
    """The error where there is no memory for a batch."""
    return MemoryError(
        f"no room for {nbytes / 2**20:.0f} MB shared with the workers: "
        "use smaller batches, fewer images held at a time, or n_workers=None"
    )


def _arena_of(fd: int, size: int) -> Arena:
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return Arena(size, fd)


def _map(fd: int, nbytes: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, nbytes, trackfd=False)
    return mmap.mmap(fd, nbytes)


def _whole_pages(nbytes: int) -> int:
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _give_back_pages(memory: mmap.mmap, pid: int, start: int, size: int) -> None:
    """Make a hole in the file; where the system cannot, the pages go with the file.

    A forked child has a copy of all this, and the pages are not its own.
    """
    if os.getpid() == pid:
        with suppress(AttributeError, OSError):
            memory.madvise(mmap.MADV_REMOVE, start, size)


def _memory_file() -> int:
    return os.memfd_create("plangym_lite", os.MFD_CLOEXEC)


def _disk_file() -> int:
    with tempfile.TemporaryFile(prefix="plangym_lite-") as file:
        return os.dup(file.fileno())

"""Arenas: anonymous files in memory, of which blocks are slices.

An arena has no name in the file system, is not limited by the size of ``/dev/shm``, and is freed
with the last process that holds it. Its pages are reserved when a slice is taken, and returned to
the system when the slice is free. An arena costs a process at most two file descriptors, whatever
the number of slices, because ``mmap`` keeps a duplicate (up to Python 3.12).
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

from plangym_lite.system import missing_for_workers

__all__ = ["Arena", "OrdinaryMemory", "make_arena", "next_number"]

next_number = itertools.count().__next__
"""The next number of an arena or a block."""


class Arena:
    """A file in memory and its mapping; pages of free slices are returned to the system.

    Args:
        fd: the file; the arena closes it, also after an error. -1: memory of this process alone.
        number: its identifier in messages; ``None``: the next number.
    """

    is_shared = True

    def __init__(self, nbytes: int, fd: int, number: int | None = None) -> None:
        self.nbytes, self.fd = nbytes, fd
        self.number = next_number() if number is None else number
        self.close = weakref.finalize(self, _close, fd)  # the mapping lives as long as its views
        self.close.atexit = False
        try:
            self.memory = _map(fd, nbytes)
        except BaseException:
            self.close()
            raise
        self._pid = os.getpid()
        self._free = [(0, nbytes)]  # starts and ends, in order, adjacent ones merged

    @property
    def is_empty(self) -> bool:
        return self._free == [(0, self.nbytes)]

    def take(self, nbytes: int) -> int | None:
        """Take a slice and reserve its pages; return its offset, ``None``: no room."""
        size = _whole_pages(nbytes)
        fitting = [gap for gap in self._free if gap[1] - gap[0] >= size]
        if not fitting:
            return None
        start, stop = fitting[0]
        try:
            if self.fd >= 0 and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.fd, start, size)
        except OSError:  # no memory, no room on the disk
            _give_back_pages(self.memory, self._pid, start, size)
            return None
        index = self._free.index((start, stop))
        self._free[index : index + 1] = [(start + size, stop)] if stop > start + size else []
        return start

    def give_back(self, start: int, nbytes: int) -> None:
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
        """Return the pages of a slice to the system when ``lease`` is freed; it is not reused."""
        pages = self.memory, self._pid, start, _whole_pages(nbytes)
        weakref.finalize(lease, _give_back_pages, *pages).atexit = False


class OrdinaryMemory:
    """Private memory of this process, used if no arena can be made."""

    is_shared = False

    def __init__(self, nbytes: int) -> None:
        try:
            self.memory = np.zeros(nbytes, np.uint8)
        except MemoryError:
            raise MemoryError(
                f"no room for {nbytes / 2**20:.0f} MB shared with the workers: "
                "use smaller batches, fewer images held at a time, or n_workers=None"
            ) from None


def make_arena(needed: int, sizes: Sequence[int]) -> tuple[Arena, int] | None:
    """A new arena of the first size that can be allocated, and a slice of ``needed`` bytes.

    It is in memory or, failing that, on disk; where there are no workers, in this process alone.
    ``None``: no memory, disk or file descriptors.
    """
    makers = (_no_file,) if missing_for_workers() else (_memory_file, _disk_file)
    for make_file in makers:
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


def _arena_of(fd: int, size: int) -> Arena:
    try:
        if fd >= 0:
            os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return Arena(size, fd)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _map(fd: int, nbytes: int) -> mmap.mmap:
    if fd >= 0 and sys.version_info >= (3, 13):
        return mmap.mmap(fd, nbytes, trackfd=False)
    return mmap.mmap(fd, nbytes)


def _whole_pages(nbytes: int) -> int:
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _give_back_pages(memory: mmap.mmap, pid: int, start: int, size: int) -> None:
    """Punch a hole in the file; if unsupported, the pages are freed with the file.

    Does nothing in a forked child: the pages belong to the parent.
    """
    if os.getpid() == pid:
        with suppress(AttributeError, OSError):
            memory.madvise(mmap.MADV_REMOVE, start, size)


def _no_file() -> int:
    return -1


def _memory_file() -> int:
    return os.memfd_create("plangym_lite", os.MFD_CLOEXEC)


def _disk_file() -> int:
    with tempfile.TemporaryFile(prefix="plangym_lite-") as file:
        return os.dup(file.fileno())

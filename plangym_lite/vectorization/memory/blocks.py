"""Blocks of shared memory, and the pool that recycles them.

A block is an anonymous file in memory (``memfd``): it has no name that could be left behind, is
not bound by the size of ``/dev/shm``, and vanishes with the last process that holds it. Its pages
are reserved when it is made: a machine without memory gives an error here, no bus error later.

A block whose arrays were handed out is leased until the last of them is gone: numpy keeps the
block's buffer alive for every view, and the pool watches that buffer with a weak reference.
"""

from __future__ import annotations

import itertools
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from plangym_lite.system import interrupts_held
from plangym_lite.transitions import STEPS, BatchSpec, Form
from plangym_lite.vectorization.memory.layout import Layout

__all__ = ["Block", "BlockPool"]

SPARE_BLOCKS = 4
LIMIT_SHARE = 0.25
_numbers = itertools.count()


class Block:
    """One block of shared memory, laid out for up to ``layout.capacity`` rows.

    Args:
        layout: how the block is laid out.
        fd: the file behind it; ``None`` makes a new one.
        number: its name in messages; ``None`` gives the next.
    """

    def __init__(self, layout: Layout, fd: int | None = None, number: int | None = None) -> None:
        self.layout = layout
        self.number = next(_numbers) if number is None else number
        self.fd = _reserve(layout.nbytes) if fd is None else fd
        self._memory = mmap.mmap(self.fd, layout.nbytes)
        self.columns = layout.view(np.frombuffer(self._memory, np.uint8))
        self._lease: Callable[[], Any] | None = None
        self.outstanding: list[Any] = []  # promises of calls that write into the block
        self._finalizer = weakref.finalize(self, os.close, self.fd)

    def lease(self) -> Any:
        """The observations once more: the block is not free while any array of these is alive."""
        memory = np.frombuffer(self._memory, np.uint8)
        self._lease = weakref.ref(memory.base)
        return self.layout.view_observs(memory)

    @property
    def is_free(self) -> bool:
        """Whether no array of it is held and no call is writing into it."""
        if self.outstanding:
            self.outstanding = [promise for promise in self.outstanding if not promise.done()]
        return not self.outstanding and (self._lease is None or self._lease() is None)

    def drop(self) -> None:
        """Close the file; the memory goes when the last array of it is gone."""
        self._finalizer()


def _reserve(nbytes: int) -> int:
    """A file of ``nbytes`` whose pages are there: in memory, or else on disk."""
    for make in (_memory_file, _disk_file):
        try:
            fd = make()
        except (AttributeError, OSError):
            continue
        try:
            os.ftruncate(fd, nbytes)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, nbytes)
            return fd
        except OSError:
            os.close(fd)
    raise MemoryError(
        f"no room for {nbytes / 2**20:.0f} MB shared with the workers: "
        "use smaller batches, fewer images held at a time, or n_workers=None"
    )


def _memory_file() -> int:
    return os.memfd_create("plangym_lite", os.MFD_CLOEXEC)


def _disk_file() -> int:
    with tempfile.TemporaryFile(prefix="plangym_lite-") as file:
        return os.dup(file.fileno())


class BlockPool:
    """Hands out blocks for batches of one environment and takes them back.

    Args:
        spec: what a row looks like.
        limit: bytes that blocks may take in all; the default is a quarter of the memory
            that the machine has, or that its container may use.
    """

    def __init__(self, spec: BatchSpec, limit: float | None = None) -> None:
        self._spec = spec
        with interrupts_held():  # a file that is being read would be left open
            self.limit = _available_memory() * LIMIT_SHARE if limit is None else limit
        self.blocks: list[Block] = []
        self.on_drop: list[Callable[[int], None]] = []

    def acquire(self, size: int, form: Form = STEPS, heap: int = 0) -> tuple[Block, bool]:
        """A free block for ``size`` rows, and whether its images may be handed out as views.

        ``heap`` bytes of it are for what is pickled.

        They may not when blocks in use leave no room for one more: then the block is wanted back
        at once and images must be copied.
        """
        free, fitting, best = [], 0, None
        for block in self.blocks:
            if not block.is_free:
                continue
            free.append(block)
            layout = block.layout
            if layout.capacity >= size and layout.form == form and layout.heap >= heap:
                fitting += 1
                if best is None or layout.capacity < best.layout.capacity:
                    best = block
        if best is not None:
            return best, fitting > 1 or self._has_room(best.layout.nbytes)
        layout = Layout(self._spec, _capacity(size), form, heap and _capacity(heap))
        for block in free[: max(0, len(free) - SPARE_BLOCKS + 1)]:
            self._drop(block)
        while free and not self._has_room(layout.nbytes):
            block = free.pop()
            if block in self.blocks:
                self._drop(block)
        roomy = self._has_room(2 * layout.nbytes) or not self.blocks
        with interrupts_held():  # half a block would never be closed
            block = Block(layout)
            self.blocks.append(block)
        return block, roomy

    def discard(self, block: Block) -> None:
        """Never hand out this block again."""
        if block in self.blocks:
            self._drop(block)

    def close(self) -> None:
        """Drop every block."""
        for block in list(self.blocks):
            self._drop(block)

    def _has_room(self, nbytes: int) -> bool:
        return sum(block.layout.nbytes for block in self.blocks) + nbytes <= self.limit

    def _drop(self, block: Block) -> None:
        self.blocks.remove(block)
        block.drop()
        for tell in self.on_drop:
            tell(block.number)


def _capacity(size: int) -> int:
    """Rows to make room for: a few sizes, so that blocks are reused."""
    return 1 << max(3, (size - 1).bit_length())


def _available_memory() -> float:
    """Bytes of memory that this process may use: the machine's, or its container's if less."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        machine = 4 << 30
    return min([machine, *_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _group_limits(membership: Path, root: Path) -> Iterator[int]:
    """The memory limits of the control groups that this process is in, and of those above them.

    A line of ``membership`` is ``number:controllers:path``; without controllers it is version 2.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return  # another system than Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top, name = (
            (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        )
        group = PurePosixPath(path)
        for level in (group, *group.parents):
            with suppress(OSError, ValueError):  # no such file; or "max"
                yield int((top / str(level).strip("/") / name).read_text())

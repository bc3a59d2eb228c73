"""Blocks of shared memory, and the pool that recycles them.

A block is a slice of an arena (:mod:`.arenas`), laid out as columns. Its pages are reserved when it
is made, so that missing memory is an error here, not a bus error later.

A block whose arrays were returned is leased until the last of them is freed: every view keeps
the block's buffer alive, and the pool holds a weak reference to that buffer.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from plangym_lite.system import interrupts_held
from plangym_lite.transitions import STEPS, BatchSpec, Columns, Form, map_leaves
from plangym_lite.vectorization.memory.arenas import Arena, OrdinaryMemory, make_arena, next_number
from plangym_lite.vectorization.memory.layout import Layout, is_image

__all__ = ["Block", "BlockPool"]

SPARE_BLOCKS = 4
LIMIT_SHARE = 0.25
ARENA_BYTES = 128 << 20  # of the first arena; each further one doubles the total
PADDING_BYTES = 64 << 10  # maximum cost of rounding up the rows of a block
SAMPLE = 64  # rows of the layout from which the size of a row is computed

logger = logging.getLogger(__name__)


class Block:
    """A slice of ``arena``, laid out for up to ``layout.capacity`` rows; ``number`` is its name."""

    def __init__(
        self,
        layout: Layout,
        arena: Arena | OrdinaryMemory,
        offset: int = 0,
        number: int | None = None,
    ) -> None:
        self.layout = layout
        self.arena: Any = arena
        self.offset, self.is_shared = offset, arena.is_shared
        self.number = next_number() if number is None else number
        self.columns = layout.view(self._memory())
        self._lease: Callable[[], Any] | None = None
        self.on_free: Callable[[Any], None] | None = None  # called when a lease ends
        self.outstanding: list[Any] = []  # promises of calls that write to the block
        self.last_used = 0  # batch number of its last use

    def lease(self) -> Any:
        """Views of the observations; the block is not free while any of them is alive."""
        memory = self._memory()
        self._lease = weakref.ref(memory.base, self.on_free)
        return self.layout.view_observs(memory)

    def copy_out(self, size: int, may_lease: bool) -> Columns:
        """The first ``size`` rows: copies, except images, which are views if ``may_lease``."""

        def copy(leaf: Any) -> Any:
            return leaf[:size] if keeps_images and is_image(leaf) else leaf[:size].copy()

        keeps_images = may_lease and self.columns.has_images
        states, observs, *numbers, form = self.columns.out
        if observs is not None:
            observs = map_leaves(copy, self.lease() if keeps_images else observs)
        kept = [None if c is None else c[:size].copy() for c in (states, *numbers)]
        return Columns._make([kept[0], observs, *kept[1:], form])

    @property
    def is_free(self) -> bool:
        """Whether no view of it is alive and no call writes to it."""
        if self.outstanding:
            self.outstanding = [promise for promise in self.outstanding if not promise.done()]
        return not self.outstanding and (self._lease is None or self._lease() is None)

    @property
    def lease_key(self) -> int | None:
        """The key of the current lease; ``None``: not leased."""
        return None if self._lease is None or self._lease() is None else id(self._lease)

    def retire(self) -> None:
        """Free its pages, now or with the last view; the block is not used again."""
        lease = None if self._lease is None else self._lease()
        if not isinstance(self.arena, Arena):
            return
        if lease is None:
            self.arena.give_back(self.offset, self.layout.nbytes)
        else:
            self.arena.give_back_after(lease, self.offset, self.layout.nbytes)

    def _memory(self) -> np.ndarray:
        return np.frombuffer(self.arena.memory, np.uint8, self.layout.nbytes, self.offset)


class BlockPool:
    """Provides and recycles the blocks for the batches of one environment.

    Args:
        limit: bytes of all blocks; by default a quarter of the memory of machine or container.
        rounds_up: whether blocks may have more rows than requested, so that batches of
            several sizes can share them.
    """

    def __init__(self, spec: BatchSpec, limit: float | None = None, rounds_up: bool = True) -> None:
        self._spec = spec
        self._rounds_up = rounds_up
        self._arenas: list[Arena] = []
        self._idle: list[Block] = []  # free or in use at the last check
        self._held: dict[int, Block] = {}  # leased, by lease
        self._ended: deque[Any] = deque()  # ended leases
        self._leaving: list[Block] = []  # dropped while in use
        self._nbytes = 0  # of all blocks
        self._now = 0  # batches so far
        self._has_warned = False
        self.on_drop: list[Callable[[int], None]] = []  # called with the number of a block or arena
        with interrupts_held():  # an interrupt would leave a file open
            self.limit = _available_memory() * LIMIT_SHARE if limit is None else limit

    @property
    def blocks(self) -> list[Block]:
        return [*self._idle, *self._held.values()]

    def acquire(self, size: int, form: Form = STEPS, heap: int = 0) -> tuple[Block, bool]:
        """A free block for ``size`` rows, and whether its images may be returned as views.

        ``heap`` bytes of it are for pickled inputs.

        If there is no room for one more block, images must be copied, so that this block is free
        at once. If no shared block can be made, the block is in ordinary memory.
        """
        idle, ended = self._idle, self._ended
        self._now = now = self._now + 1
        while ended:
            block = self._held.pop(id(ended.popleft()), None)
            if block is not None:
                block.last_used = now
                idle.append(block)
        best, best_rank, oldest, fitting, busy = None, (0, 0), None, 0, []
        for block in idle:
            if not block.is_free:
                busy.append(block)
                continue
            if oldest is None or block.last_used < oldest.last_used:
                oldest = block
            layout = block.layout
            if layout.capacity >= size and layout.form == form and layout.heap >= heap:
                fitting += 1
                rank = layout.capacity, -block.last_used
                if best is None or rank < best_rank:
                    best, best_rank = block, rank
        if busy:
            self._set_aside(busy)
        if best is None:
            return self._make(size, form, heap)
        best.last_used = now
        if oldest is not None and oldest is not best and len(idle) > SPARE_BLOCKS:
            self._drop_unwanted(oldest)
        return best, fitting > 1 or self._nbytes + best.layout.nbytes <= self.limit

    def discard(self, block: Block) -> None:
        if block in self.blocks:
            self._drop(block)

    def close(self) -> None:
        for block in self.blocks:
            for tell in self.on_drop:
                tell(block.number)
        self._retire()

    def __del__(self) -> None:
        self._retire()

    def _set_aside(self, busy: list[Block]) -> None:
        """Move leased blocks out of the list until their leases end."""
        for block in busy:
            key = block.lease_key
            if key is not None:
                self._idle.remove(block)
                self._held[key] = block

    def _drop_unwanted(self, oldest: Block) -> None:
        """Drop a free block that was not used for as many batches as there are blocks.

        A program that repeatedly holds a number of batches and frees them all uses each block
        within that time.
        """
        if self._now - oldest.last_used > len(self._idle) + len(self._held) + SPARE_BLOCKS:
            self._drop(oldest)

    # ---- blocks that come and go ----------------------------------------------------------------

    def _make(self, size: int, form: Form, heap: int) -> tuple[Block, bool]:
        """A new block for ``size`` rows, and whether there is room for one more."""
        heap = heap and _power_of_two(heap)
        layout = Layout(self._spec, self._capacity(size, form), form, heap)
        self._sweep()
        free = [block for block in self._idle if block.is_free]
        free.sort(key=lambda block: block.last_used)
        while free and (len(free) >= SPARE_BLOCKS or not self._has_room(layout.nbytes)):
            self._drop(free.pop(0))
        roomy = self._has_room(2 * layout.nbytes) or not (self._idle or self._held)
        with interrupts_held():  # a half-made block would never be closed
            block = self._place(layout)
            if block is None:
                for other in free:
                    self._drop(other)
                block = self._place(Layout(self._spec, size, form, heap))
        if block is not None:
            return block, roomy
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "memory or file descriptors run short: some batches are sent to the workers in "
                "messages, which is slower"
            )
        layout = Layout(self._spec, size, form, heap)
        return Block(layout, OrdinaryMemory(layout.nbytes)), True

    def _place(self, layout: Layout) -> Block | None:
        """A block in an arena with room for it, or in a new one; ``None``: no memory."""
        nbytes = layout.nbytes
        for arena in self._arenas:
            offset = arena.take(nbytes)
            if offset is not None:
                break
        else:
            there = sum(arena.nbytes for arena in self._arenas)
            made = make_arena(nbytes, [max(nbytes, there, ARENA_BYTES), nbytes])
            if made is None:
                return None
            arena, offset = made
            self._arenas.append(arena)
        block = Block(layout, arena, offset)
        block.on_free, block.last_used = self._ended.append, self._now
        self._nbytes += nbytes
        self._idle.append(block)
        return block

    def _capacity(self, size: int, form: Form) -> int:
        """Rows of a new block, rounded up if rows are small, so that blocks are reused."""
        if not self._rounds_up:
            return size
        row = Layout(self._spec, SAMPLE, form).nbytes / SAMPLE
        step = _power_of_two(int(PADDING_BYTES / row) + 1) // 2
        return min(_power_of_two(max(size, 8)), -(-size // step) * step) if step > 1 else size

    def _has_room(self, nbytes: int) -> bool:
        return self._nbytes + nbytes <= self.limit

    def _drop(self, block: Block) -> None:
        if block in self._idle:
            self._idle.remove(block)
        else:
            self._held = {key: held for key, held in self._held.items() if held is not block}
        self._leaving.append(block)
        for tell in self.on_drop:
            tell(block.number)
        self._sweep()

    def _sweep(self) -> None:
        """Free the slices of dropped blocks that are no longer in use."""
        for block in [block for block in self._leaving if block.is_free]:
            with interrupts_held():  # a slice must not be freed twice
                self._leaving.remove(block)
                block.retire()
                self._nbytes -= block.layout.nbytes
            self._drop_if_empty(block.arena)

    def _drop_if_empty(self, arena: Any) -> None:
        if arena.is_empty and len(self._arenas) > 1:
            self._arenas.remove(arena)
            for tell in self.on_drop:
                tell(arena.number)
            arena.close()

    def _retire(self) -> None:
        """Drop all blocks; leased ones are freed with their last view."""
        for block in [*self.blocks, *self._leaving]:
            block.retire()
        for arena in self._arenas:
            arena.close()
        self._idle, self._leaving, self._arenas = [], [], []
        self._held, self._nbytes = {}, 0


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


def _available_memory() -> float:
    """Bytes of memory that this process may use: the machine's, or its container's if less."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        machine = 4 << 30
    return min([machine, *_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _group_limits(membership: Path, root: Path) -> Iterator[int]:
    """The memory limits of the control groups of this process and of their parents.

    A line of ``membership`` is ``number:controllers:path``; without controllers it is version 2.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return  # not Linux
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

"""ResultCollector: the results of one batch, taken out of its block when all rows have run."""

from __future__ import annotations

from typing import Any

from plangym_lite.transitions import BatchSpec, Columns, map_leaves, pack
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.layout import is_image, put_odd_leaves

__all__ = ["ResultCollector", "take_columns"]


class ResultCollector:
    """Takes the results of a batch: infos and odd objects piece by piece, the rest at the end.

    Args:
        size: rows of the batch.
    """

    def __init__(self, size: int) -> None:
        self._infos: list[Any] = [None] * size
        self._odd: list[tuple[int, int, list[Any]]] = []

    def collect(self, start: int, stop: int, infos: list[Any], odd: list[list[Any]]) -> None:
        """Take what was answered for rows ``start`` to ``stop``."""
        self._infos[start:stop] = infos
        if odd:
            self._odd.append((start, stop, odd))

    def finish(self, spec: BatchSpec, block: Block, may_lease: bool) -> Any:
        """The whole batch; see :func:`take_columns`."""
        out = take_columns(block, len(self._infos), may_lease)
        for start, stop, odd in self._odd:
            put_odd_leaves(out, start, stop, odd)
        return pack(spec, out, self._infos)


def take_columns(block: Block, size: int, may_lease: bool) -> Columns:
    """The first ``size`` rows in a block, to keep: copies, but for images, which are views of it.

    Where there is no room for views (``may_lease``), images are copied too.
    """

    def copy(column: Any) -> Any:
        return None if column is None else column[:size].copy()

    def take(leaf: Any) -> Any:
        return leaf[:size] if is_image(leaf) else copy(leaf)

    columns = block.columns
    states, observs, *numbers, form = columns.out
    if may_lease and columns.has_images:
        observs = map_leaves(take, block.lease())
    else:
        observs = map_leaves(copy, observs)
    return Columns._make([copy(states), observs, *map(copy, numbers), form])

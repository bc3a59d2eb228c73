"""ResultCollector: collects the results of one batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plangym_lite.transitions import BatchSpec, Columns, map_leaves, pack
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.layout import is_image, put_pickled_leaves

__all__ = ["ResultCollector", "take_columns"]


class ResultCollector:
    """Collects infos and pickled results chunk by chunk, the columns at the end.

    Args:
        size: rows of the batch.
    """

    def __init__(self, size: int) -> None:
        self.infos: list[Any] = [None] * size  # None: not reported yet
        self.seconds = 0.0  # run time of the rows, summed over takers
        self._pickled: list[tuple[int, int, list[list[Any]]]] = []

    def collect(
        self, chunks: Iterable[tuple[int, int]], infos: list[Any], pickled: list[list[Any]]
    ) -> int:
        """Add the results of consecutive chunks; return their number of rows."""
        done = 0
        for start, stop in chunks:
            end = done + stop - start
            self.infos[start:stop] = infos[done:end]
            if pickled:
                self._pickled.append((start, stop, [leaf[done:end] for leaf in pickled]))
            done = end
        return done

    def finish(self, spec: BatchSpec, block: Block, may_lease: bool) -> Any:
        """The whole batch; see :func:`take_columns`."""
        out = take_columns(block, len(self.infos), may_lease)
        for start, stop, pickled in self._pickled:
            put_pickled_leaves(out, start, stop, pickled)
        return pack(spec, out, self.infos)


def take_columns(block: Block, size: int, may_lease: bool) -> Columns:
    """The first ``size`` rows of a block: copies, except images, which are views.

    Without ``may_lease`` images are copied too.
    """

    def take(leaf: Any) -> Any:
        return leaf[:size] if keeps_images and is_image(leaf) else leaf[:size].copy()

    columns = block.columns
    keeps_images = may_lease and columns.has_images
    states, observs, *numbers, form = columns.out
    if observs is not None:
        observs = map_leaves(take, block.lease() if keeps_images else observs)
    kept: list[Any] = [None if c is None else c[:size].copy() for c in (states, *numbers)]
    return Columns._make([kept[0], observs, *kept[1:], form])

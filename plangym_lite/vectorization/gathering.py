"""Gathering: the results of one batch, taken out of its block while other rows still run."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.transitions import BatchSpec, Columns, empty_states, map_leaves, pack
from plangym_lite.vectorization.columns import put_odd_leaves
from plangym_lite.vectorization.shared import Block

__all__ = ["IMAGE_BYTES", "Gathering", "take_observs"]

IMAGE_BYTES = 16 << 10
"""Observations from this size on are images: handed out as views of shared memory."""


class Gathering:
    """Takes the results of a batch out of its block, piece by piece.

    Args:
        spec: what a row looks like.
        block: where the results are written.
        size: rows of the batch.
        may_lease: whether images may be handed out as views of the block.
    """

    def __init__(self, spec: BatchSpec, block: Block, size: int, may_lease: bool) -> None:
        self._spec = spec
        self._block = block
        self._size = size
        self._may_lease = may_lease
        self._has_images = False
        self._infos: list[Any] = []
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []  # columns of ours and of the block
        self._out: Any = None  # made when the workers are at work already

    def _make_columns(self) -> None:
        source, size = self._block.columns.out, self._size
        states = empty_states(self._spec, size) if source.form.states else None
        if isinstance(states, np.ndarray):
            self._pairs.append((states, source.states))
        observs = map_leaves(self._place_for, source.observs)
        numbers: list[Any] = [self._column_like(column) for column in source[2:6]]
        self._out = Columns._make([states, observs, *numbers, source.form])
        self._infos = [None] * size

    def _column_like(self, column: np.ndarray | None) -> np.ndarray | None:
        """A column of ours for one of the block, remembered as one to be copied."""
        if column is None:
            return None
        place = np.empty((self._size, *column.shape[1:]), column.dtype)
        self._pairs.append((place, column))
        return place

    def _place_for(self, leaf: Any) -> Any:
        if isinstance(leaf, list):
            return [None] * self._size
        if leaf is None or leaf[0].nbytes < IMAGE_BYTES:
            return self._column_like(leaf)
        self._has_images = True
        return None

    def collect(self, start: int, stop: int, infos: list[Any], odd: list[list[Any]]) -> None:
        """Copy out rows ``start`` to ``stop``, all but images."""
        if self._out is None:
            self._make_columns()
        self._infos[start:stop] = infos
        if odd:
            put_odd_leaves(self._out, start, stop, odd)
        for target, origin in self._pairs:
            target[start:stop] = origin[start:stop]

    def finish(self) -> Any:
        """The whole batch, with images as views, or copied where there is no room for that."""
        out, size = self._out, self._size
        if self._has_images:
            source = self._block.columns.out.observs
            leased = self._block.lease() if self._may_lease else source

            def take(target: Any, image: Any) -> Any:
                if target is not None:
                    return target
                return image[:size] if self._may_lease else image[:size].copy()

            out = out._replace(observs=map_leaves(take, out.observs, leased))
        return pack(self._spec, out, self._infos)


def take_observs(block: Block, size: int, may_lease: bool) -> Any:
    """The first ``size`` observations in a block, to keep: views of images, copies of the rest."""
    found: list[bool] = []
    source = block.columns.out.observs

    def is_image(leaf: Any) -> bool:
        return may_lease and isinstance(leaf, np.ndarray) and leaf[0].nbytes >= IMAGE_BYTES

    map_leaves(lambda leaf: found.append(is_image(leaf)), source)
    if any(found):
        source = block.lease()

    def take(leaf: Any) -> Any:
        return leaf[:size] if isinstance(leaf, list) or is_image(leaf) else leaf[:size].copy()

    return map_leaves(take, source)

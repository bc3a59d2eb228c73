"""Cut a batch into chunks of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["split_evenly", "split_similar_chunks"]


def split_evenly(size: int, n_chunks: int) -> list[tuple[int, int]]:
    """Cut ``range(size)`` into at most ``n_chunks`` ranges whose lengths differ by at most one."""
    n_chunks = max(1, min(n_chunks, size))
    edges = [size * k // n_chunks for k in range(n_chunks + 1)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]


def split_similar_chunks(vector: Sequence[Any] | np.ndarray, n_chunks: int) -> Iterator[Any]:
    """Yield ``vector`` in at most ``n_chunks`` parts whose lengths differ by at most one."""
    if n_chunks < 1:
        raise ValueError(f"n_chunks must be at least 1, got {n_chunks}")
    for start, stop in split_evenly(len(vector), n_chunks):
        yield vector[start:stop]

"""Vectorized steps for engines whose step is a formula or a table.

A :class:`Kernel` steps columns of numbers instead of one environment. Its results must be
bit-identical with any version of numpy, so the adapter compares kernel and environment on random
states before it uses the kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from plangym_lite.simulator import RUNNING, TERMINATED, TRUNCATED

__all__ = [
    "ENOUGH_ROWS",
    "NO_LIMIT",
    "Block",
    "Kernel",
    "NotForKernelError",
    "put_side_by_side",
    "run_block",
]

ENOUGH_ROWS = 6
"""Rows. With fewer it is faster to run them one by one."""

NO_LIMIT = 2**62

Parts = list[np.ndarray]
"""The columns that a kernel steps, contiguous, each [B] or [B, n]."""


@dataclass
class Block:
    """The states of a batch as columns."""

    ended: np.ndarray  # [B] int64
    elapsed: np.ndarray  # [B] int64
    parts: Parts
    is_own: bool = True  # whether the parts may be written to

    def put(self, rows: np.ndarray, parts: Parts) -> None:
        """Replace some rows of the parts; a part takes the dtype of its new rows if wider."""
        if not self.is_own:
            self.parts, self.is_own = [part.copy() for part in self.parts], True
        for index, new in enumerate(parts):
            part = self.parts[index]
            if part.dtype != new.dtype:
                part = self.parts[index] = part.astype(np.promote_types(part.dtype, new.dtype))
            part[rows] = new


class Kernel(ABC):
    """Steps many rows of one environment at once.

    Args:
        base: the environment; its settings are read at each call.
    """

    scales: ClassVar[tuple[float, ...]] = ()  # of the random states for the comparison
    has_threads: ClassVar[bool] = False  # whether threads may share the rows

    def __init__(self, base: Any) -> None:
        self.base = base

    def accepts(self, block: Block) -> bool:
        """Whether the kernel can step these rows; if not, they are run one by one."""
        return True

    @abstractmethod
    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        """The columns one frame later, the rewards and whether the episode terminates.

        The given columns are not changed.
        """

    @abstractmethod
    def observe(self, parts: Parts) -> np.ndarray:
        """The observations, ``[B, ...]``."""

    def use_threads(self, n_threads: int) -> None:
        """Let ``n_threads`` threads share the rows, if ``has_threads``."""
        raise NotImplementedError

    def infos(self, parts: Parts, n_steps: list[int]) -> list[dict[str, Any]]:
        """The infos of the last frame, without ``n_step`` and ``dt``."""
        return [{} for _ in n_steps]


class NotForKernelError(Exception):
    """A kernel met rows that only the simulator itself can run."""


def run_block(
    kernel: Kernel,
    block: Block,
    actions: np.ndarray,
    n_frames: np.ndarray,
    *,
    limit: float,
    out: Any,
) -> list[dict[str, Any]]:
    """Run the rows of a batch and fill its columns except the states; return the infos.

    Args:
        kernel: the kernel.
        block: the states, replaced by those after the last frame.
        actions: ``[B, ...]``, or ``[B, T, ...]`` in a rollout.
        n_frames: ``[B]``, for how many frames each action is repeated.
        limit: frames after which an episode is truncated.
        out: the columns.
    """
    before = block.elapsed.copy()
    holds = n_frames, int(n_frames.max()), limit
    if out.lengths is None:
        out.rewards[:] = _hold(kernel, block, actions, *holds)
    else:
        out.lengths[:] = 0
        for step in range(actions.shape[1]):
            out.lengths[:] += block.ended == RUNNING
            out.rewards[:, step] = _hold(kernel, block, actions[:, step], *holds)
            if out.form.observs == "all":
                out.observs[:, step] = kernel.observe(block.parts)
    if out.form.observs == "last":
        out.observs[:] = kernel.observe(block.parts)
    out.terminateds[:] = block.ended & TERMINATED
    out.truncateds[:] = block.ended & TRUNCATED
    counts = (block.elapsed - before).tolist()
    infos = kernel.infos(block.parts, counts)
    for info, count in zip(infos, counts, strict=True):
        info["n_step"] = count
    return infos


def _hold(
    kernel: Kernel,
    block: Block,
    actions: np.ndarray,
    n_frames: np.ndarray,
    longest: int,
    limit: float,
) -> np.ndarray:
    """Repeat each row's action for its frames or until its episode ends; return the rewards."""
    totals = np.zeros(len(n_frames))
    for frame in range(longest):
        rows: Any = ((block.ended == RUNNING) & (frame < n_frames)).nonzero()[0]
        if not len(rows):
            break
        if len(rows) == len(totals):
            rows = slice(None)
            block.parts, rewards, terminated = kernel.step(block.parts, actions)
            block.is_own = True
        else:
            parts = [part[rows] for part in block.parts]
            parts, rewards, terminated = kernel.step(parts, actions[rows])
            block.put(rows, parts)
        totals[rows] += rewards
        elapsed = block.elapsed[rows] + 1
        block.elapsed[rows] = elapsed
        block.ended[rows] = TERMINATED * terminated + TRUNCATED * (elapsed >= limit)
    return totals


def put_side_by_side(out: np.ndarray, parts: Iterable[np.ndarray]) -> np.ndarray:
    """Write parts, each ``[B]``, into the columns of ``out``; return ``out``."""
    for index, part in enumerate(parts):
        out[:, index] = part
    return out

"""Vectorized steps for engines whose step is a formula or a table.

A :class:`Kernel` steps columns of numbers instead of one environment. Its results must be
bit-identical with any version of numpy, so the adapter compares kernel and environment on random
states before it uses the kernel.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from plangym_lite.simulator import RUNNING, TERMINATED, TRUNCATED

__all__ = [
    "ENOUGH_ROWS",
    "NO_LIMIT",
    "Block",
    "Kernel",
    "NotForKernelError",
    "all_among",
    "infos_of",
    "put_side_by_side",
    "run_block",
]

ENOUGH_ROWS = 6
"""Rows. With fewer it is faster to run them one by one."""

NO_LIMIT = 2**62
PLAYED_AT_ONCE = 4096  # frames of all rows

Parts = list[np.ndarray]
"""The columns that a kernel steps, contiguous, each [B] or [B, n]."""


@dataclass
class Block:
    """The states of a batch as columns."""

    ended: np.ndarray  # [B] int64
    elapsed: np.ndarray  # [B] int64
    parts: Parts
    is_own: bool = True  # whether the parts may be written to
    told: dict[str, Any] = field(default_factory=dict)  # the infos, when the rows have run

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
    """Steps many rows of ``base`` at once, whose settings are read at each call."""

    scales: ClassVar[tuple[float, ...]] = ()  # of the random states for the comparison
    has_threads: ClassVar[bool] = False  # whether threads may share the rows
    is_endless: ClassVar[bool] = False  # whether no episode terminates, and there is ``play``

    def __init__(self, base: Any) -> None:
        self.base = base

    def accepts(self, block: Block) -> bool:
        """Whether the kernel can step these rows; if not, they are run one by one."""
        return True

    @abstractmethod
    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        """The columns one frame later, the rewards and whether the episodes terminate (``False``:
        none does).

        The given columns are not changed.
        """

    def play(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        """Many frames at once, as :meth:`step` with ``actions``, ``[B, T, ...]``.

        Everything returned has ``T * B`` rows: those of the first frame, those of the second and so
        on. Only the rows of the last frame are complete; the others can be observed.
        """
        raise NotImplementedError

    @abstractmethod
    def observe(self, parts: Parts) -> np.ndarray:
        """The observations, ``[B, ...]``."""

    def use_threads(self, n_threads: int) -> None:
        raise NotImplementedError

    def told(self, parts: Parts) -> dict[str, Any]:
        """The infos of the last frame as columns, in order, without ``n_step`` and ``dt``; for rows
        that had ended any values.
        """
        return {}


class NotForKernelError(Exception):
    """A kernel met ``rows``, by their indices, that only the simulator itself can run."""

    def __init__(self, rows: list[int]) -> None:
        super().__init__(rows)
        self.rows = rows


def run_block(
    kernel: Kernel,
    block: Block,
    actions: np.ndarray,
    n_frames: np.ndarray,
    *,
    limit: float,
    out: Any,
) -> list[int]:
    """Run the rows of a batch and fill its columns except the states; return the frames of each.

    Args:
        block: the states, replaced by those after the last frame.
        actions: ``[B, ...]``, or ``[B, T, ...]`` in a rollout.
        n_frames: ``[B]``, for how many frames each action is repeated.
        limit: frames after which an episode is truncated.
    """
    if out.lengths is None and n_frames.max() == 1 and not np.count_nonzero(block.ended):
        _run_frame(kernel, block, actions, limit, out)
        return [1] * len(n_frames)
    n_steps = np.zeros(len(n_frames), np.int64)
    if out.lengths is None:
        out.rewards[:] = _hold(kernel, block, actions, n_frames, limit, n_steps)
    elif _may_play(kernel, block, n_frames, limit, actions.shape[1]):
        n_steps[:] = _play(kernel, block, actions, int(n_frames[0]), out)
        block.ended[:] = TRUNCATED * (block.elapsed >= limit)
    else:
        out.lengths[:] = 0
        for step in range(actions.shape[1]):
            out.lengths[:] += block.ended == RUNNING
            held = _hold(kernel, block, actions[:, step], n_frames, limit, n_steps)
            out.rewards[:, step] = held
            if out.form.observs == "all":
                out.observs[:, step] = kernel.observe(block.parts)
    if out.form.observs == "last":
        out.observs[:] = kernel.observe(block.parts)
    out.terminateds[:] = block.ended & TERMINATED
    out.truncateds[:] = block.ended & TRUNCATED
    return n_steps.tolist()


def _run_frame(kernel: Kernel, block: Block, actions: np.ndarray, limit: float, out: Any) -> None:
    """Run one frame of rows of which none has ended, in few calls of numpy."""
    block.parts, rewards, terminated = kernel.step(block.parts, actions)
    block.elapsed += 1
    truncated = limit != NO_LIMIT and block.elapsed >= limit
    np.add(rewards, 0.0, out=out.rewards)  # no -0.0, as a sum
    out.terminateds[:], out.truncateds[:] = terminated, truncated
    block.ended[:] = TERMINATED * terminated + TRUNCATED * truncated
    if out.form.observs:
        out.observs[:] = kernel.observe(block.parts)


def infos_of(told: dict[str, Any], n_steps: list[int], dts: list[int]) -> list[dict[str, Any]]:
    """One info for each row: its part of the columns ``told``, and how far it ran."""
    make = _maker_of((*told, "n_step", "dt"))
    return make(zip(*told.values(), n_steps, dts, strict=True))


@functools.cache
def _maker_of(names: tuple[str, ...]) -> Callable[[Iterable[Any]], list[dict[str, Any]]]:
    """A function that makes dicts of rows, compiled as ``namedtuple`` compiles its ``__new__``.

    A literal takes half the time of ``dict(zip(...))``, and two thirds of that of filling dicts.
    """
    pairs = ", ".join(f"{name!r}: v{index}" for index, name in enumerate(names))
    values = ", ".join(f"v{index}" for index in range(len(names)))
    return eval(f"lambda rows: [{{{pairs}}} for {values} in rows]")


def _may_play(kernel: Kernel, block: Block, n_frames: Any, limit: float, length: int) -> bool:
    """Whether all rows of a rollout run all frames, so that they need not be stepped one by one."""
    most = int(n_frames.max())
    return (
        kernel.is_endless
        and not block.ended.any()
        and bool((n_frames == most).all())
        and int(block.elapsed.max()) + most * length <= limit
        and most * len(n_frames) <= PLAYED_AT_ONCE
    )


def _play(kernel: Kernel, block: Block, actions: np.ndarray, n_frames: int, out: Any) -> int:
    """Run all frames of a rollout, some actions at a time; return their number."""
    size, length = actions.shape[:2]
    out.lengths[:] = length
    at_once = max(1, PLAYED_AT_ONCE // (n_frames * size))
    for start in range(0, length, at_once):
        steps = slice(start, min(start + at_once, length))
        held = np.repeat(actions[:, steps], n_frames, axis=1)
        parts, rewards, _ = kernel.play(block.parts, held)
        totals = np.zeros((held.shape[1] // n_frames, size))
        for frame in range(n_frames):
            totals += np.reshape(rewards, (-1, n_frames, size))[:, frame]
        out.rewards[:, steps] = totals.T
        if out.form.observs == "all":
            seen = kernel.observe(parts)
            seen = seen.reshape(-1, n_frames, size, *seen.shape[1:])[:, -1]
            out.observs[:, steps] = seen.swapaxes(0, 1)
        block.parts, block.is_own = [part[-size:] for part in parts], True
        block.elapsed += held.shape[1]
    return n_frames * length


def _hold(
    kernel: Kernel,
    block: Block,
    actions: np.ndarray,
    n_frames: np.ndarray,
    limit: float,
    n_steps: np.ndarray,
) -> np.ndarray:
    """Repeat each row's action for its frames or until its episode ends; return the rewards."""
    totals = np.zeros(len(n_frames))
    least, most = int(n_frames.min()), int(n_frames.max())
    for frame in range(most):
        if frame < least and not block.ended.any():
            rows: Any = slice(None)
            block.parts, rewards, terminated = kernel.step(block.parts, actions)
            block.is_own = True
        else:
            rows = np.flatnonzero((block.ended == RUNNING) & (frame < n_frames))
            if not len(rows):
                break
            some = [part[rows] for part in block.parts]
            try:
                parts, rewards, terminated = kernel.step(some, actions[rows])
            except NotForKernelError as error:
                raise NotForKernelError(rows[error.rows].tolist()) from error
            block.put(rows, parts)
        totals[rows] += rewards
        n_steps[rows] += 1
        elapsed = block.elapsed[rows] + 1
        block.elapsed[rows] = elapsed
        block.ended[rows] = TERMINATED * terminated + TRUNCATED * (elapsed >= limit)
    return totals


def all_among(column: np.ndarray, values: Iterable[float]) -> bool:
    """Whether every number is one of a few values; ``np.isin`` takes ten times as long."""
    found = np.zeros(column.shape, bool)
    for value in values:
        found |= column == value
    return bool(found.all())


def put_side_by_side(out: np.ndarray, parts: Iterable[np.ndarray]) -> np.ndarray:
    """Write parts, each ``[B]``, into the columns of ``out``; return ``out``."""
    for index, part in enumerate(parts):
        out[:, index] = part
    return out

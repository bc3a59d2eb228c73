"""Sequences: distributions over sequences of continuous actions, for ``cem`` and ``mppi``.

``T`` denotes the length of a sequence, ``B`` the number of sequences.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv

__all__ = ["ActionBox", "Scored", "Sequences", "merge", "score"]

KEPT = 8  # of the best sequences


class Sequences(NamedTuple):
    """The sequences of the last iteration, and what the search cost."""

    mean: np.ndarray
    """``[T, ...]`` the mean of the distribution."""
    std: np.ndarray
    """``[T, ...]`` its standard deviation, each entry on its own."""
    actions: np.ndarray
    """``[B, T, ...]`` the sequences that were tried last."""
    returns: np.ndarray
    """``[B]`` their discounted returns."""
    simulator_calls: int
    frames: int


class Scored(NamedTuple):
    """A sequence that was played."""

    value: float
    actions: np.ndarray  # [T, ...]
    length: int  # until the episode ended

    @property
    def plan(self) -> list[Any]:
        """Its actions, until the episode ended."""
        return list(self.actions[: max(1, self.length)])


def score(actions: np.ndarray, returns: np.ndarray, lengths: np.ndarray) -> list[Scored]:
    """The best of a batch of sequences ``[B, T, ...]``, the best first."""
    order = np.argsort(-returns, kind="stable")[:KEPT]
    return [Scored(float(returns[row]), actions[row], int(lengths[row])) for row in order]


def merge(one: list[Scored], other: list[Scored]) -> list[Scored]:
    """The best of both, of equals those of the first."""
    return sorted(one + other, key=lambda sequence: -sequence.value)[:KEPT]


class ActionBox:
    """The actions of a ``Box``: where they lie and how far they reach.

    Raises:
        TypeError: the actions are not numbers within bounds.
    """

    def __init__(self, env: PlanEnv, planner: str) -> None:
        space = env.action_space
        if not (
            isinstance(space, spaces.Box)
            and np.issubdtype(space.dtype, np.floating)
            and space.is_bounded()
        ):
            raise TypeError(
                f"{planner} needs a Box of numbers within bounds as action space, {env!r} has "
                f"{space}: mcts and rollout_iw are for Discrete spaces; random_shooting, fractal "
                "and go_explore for any space"
            )
        self.space: spaces.Box = space
        low, high = space.low.astype(float), space.high.astype(float)
        self.centre, self.reach = (high + low) / 2, (high - low) / 2

    def begin(self, horizon: int, before: Sequences | None, played: int) -> np.ndarray:
        """``[T, ...]`` the mean to begin with: that of the decision before, ``played`` steps on."""
        mean = np.broadcast_to(self.centre, (horizon, *self.centre.shape)).copy()
        if before is not None:
            rest = before.mean[played : horizon + played]
            mean[: len(rest)] = rest
        return mean

    def draw(
        self, mean: np.ndarray, std: np.ndarray, size: int, rng: np.random.Generator
    ) -> np.ndarray:
        """``[B, T, ...]`` sequences within the bounds; the first of them is the mean itself."""
        noise = rng.standard_normal((size, *mean.shape))
        noise[0] = 0.0
        drawn = mean + std * noise
        return np.clip(drawn, self.space.low, self.space.high).astype(self.space.dtype)

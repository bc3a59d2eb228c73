"""Sequences: distributions over sequences of continuous actions, for ``cem`` and ``mppi``.

``T`` denotes the length of a sequence, ``B`` the number of sequences.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv

__all__ = ["ActionBox", "Sequences"]


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

    def begin(self, horizon: int, before: Sequences | None) -> np.ndarray:
        """``[T, ...]`` the mean to begin with: that of the decision before, one step on."""
        mean = np.broadcast_to(self.centre, (horizon, *self.centre.shape)).copy()
        if before is not None:
            rest = before.mean[1 : horizon + 1]
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

"""Spaces as TF-Agents' users know them: thin views with shape, dtype and bounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from plangym_lite.transitions import empty_tree

__all__ = ["ArraySpec", "HasSpecs", "TimeStepSpec", "spec_of_space"]


class ArraySpec(NamedTuple):
    """What one array looks like; ``minimum`` and ``maximum`` can be reached."""

    shape: tuple[int, ...]
    dtype: np.dtype
    minimum: Any
    maximum: Any


class TimeStepSpec(NamedTuple):
    """What a step looks like."""

    step_type: ArraySpec
    reward: ArraySpec
    discount: ArraySpec
    observation: Any


def spec_of_space(space: spaces.Space) -> Any:
    """An :class:`ArraySpec` for each leaf of a space, nested like it; other leaves as they are."""

    def leaf(part: Any) -> Any:
        bounds = _bounds(part)
        return part if bounds is None else ArraySpec(part.shape, np.dtype(part.dtype), *bounds)

    return empty_tree(space, leaf)


def _bounds(space: Any) -> tuple[Any, Any] | None:
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return (0, 1) if isinstance(space, spaces.MultiBinary) else None


class HasSpecs:
    """The specs of whatever has an ``observation_space`` and an ``action_space``."""

    observation_space: Any
    action_space: Any

    def observation_spec(self) -> Any:
        """What an observation looks like."""
        return spec_of_space(self.observation_space)

    def action_spec(self) -> Any:
        """What an action looks like."""
        return spec_of_space(self.action_space)

    def time_step_spec(self) -> TimeStepSpec:
        """What a step looks like; its type is 0 for the first, 1 for a middle, 2 for the last."""
        number = np.dtype(np.float64)
        return TimeStepSpec(
            ArraySpec((), np.dtype(np.int64), 0, 2),
            ArraySpec((), number, -np.inf, np.inf),
            ArraySpec((), number, 0.0, 1.0),
            self.observation_spec(),
        )

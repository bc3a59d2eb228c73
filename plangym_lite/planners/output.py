"""PlanOutput: what every planner returns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["PlanOutput"]


class PlanOutput(NamedTuple):
    """One decision, and what it rests on.

    ``A`` denotes the number of actions of a discrete space, ``L`` the length of the plan.
    """

    action: Any
    """What to do now: the first of ``actions``, an element of the action space."""
    actions: list[Any]
    """The ``L`` best actions found, in order, each for one unit of ``dt``; ``L`` is at least 1."""
    value: float
    """The discounted return that the planner expects from here."""
    action_weights: np.ndarray | None
    """``[A]`` how much each action is preferred, sum 1; ``None`` where actions are not discrete."""
    search: Any
    """What was searched; it has at least ``simulator_calls`` (rows) and ``frames``."""

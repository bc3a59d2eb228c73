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
    """The discounted return that replaying ``actions`` earns, and ``value_fn`` of where that ends.

    With ``resample`` its mean over draws; of ``mcts`` the mean return of ``action``.
    """
    action_weights: np.ndarray | None
    """``[A]`` how much each action is preferred, sum 1; ``None`` where actions are not discrete."""
    search: Any
    """What was searched; it has at least ``simulator_calls`` (rows) and ``frames``."""
    knew_the_dice: bool = True
    """Whether steps used the state's own generators (``resample=False``), so that the plan knows
    what will be drawn; that matters only where :func:`~plangym_lite.planners.chance.draws`."""
    not_finite: int = 0
    """Rows whose reward was not finite: they count as ended there, with the least return seen."""

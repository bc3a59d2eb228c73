"""Model predictive path integral control: the mean of all sequences, the good ones weighing more.

For continuous actions (Williams et al., 2017). In each iteration all sequences are one
``rollout_batch``; a sequence whose return is ``temperature`` standard deviations below the best
weighs ``1 / e`` of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.output import PlanOutput
from plangym_lite.planners.sequences import ActionBox, Sequences
from plangym_lite.planners.simulator import OnBatch, Simulator, ValueFn, check_knobs

__all__ = ["mppi"]


def mppi(
    env: PlanEnv,
    state: Any,
    *,
    budget: int = 2000,
    horizon: int = 12,
    iterations: int = 2,
    temperature: float = 0.2,
    std: float = 0.5,
    discount: float = 1.0,
    value_fn: ValueFn | None = None,
    before: Sequences | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput:
    """Plan one decision from ``state``; the environment's own current state stays put.

    Args:
        env: an environment whose actions are a bounded ``Box``.
        state: where to plan from.
        budget: simulator calls at most: ``budget // (iterations * horizon)`` sequences are
            played in each iteration.
        horizon: length of a sequence, in units of ``dt``.
        iterations: how often the mean is moved.
        temperature: how far below the best a sequence still counts, in standard deviations of
            the returns.
        std: standard deviation of the noise, as a share of half the range of an action.
        discount: per unit of ``dt``, between 0 and 1.
        value_fn: what the last states are worth; nothing, if left out.
        before: ``search`` of the decision before: its mean, one step on, is the first mean.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the one source of randomness.

    Returns:
        The plan: the mean; ``value`` is the weighted mean of the returns, ``search`` is
        :class:`~plangym_lite.planners.sequences.Sequences`.

    Raises:
        TypeError: the actions are not numbers within bounds, or ``rng`` is not a generator.
        ValueError: a knob is out of range.
    """
    box = ActionBox(env, "mppi")
    check_knobs(discount, {"budget": budget, "horizon": horizon, "iterations": iterations})
    size = budget // (iterations * horizon)
    if size < 2:
        raise ValueError(f"budget must be at least {2 * iterations * horizon}, got {budget}")
    if not (temperature > 0.0 and std > 0.0):
        raise ValueError(f"temperature and std must be above 0, got {temperature} and {std}")
    simulator = Simulator(env, rng, on_batch)
    mean, spread = box.begin(horizon, before), np.full((horizon, *box.reach.shape), std * box.reach)
    for _ in range(iterations):
        actions = box.draw(mean, spread, size, rng)
        returns, _ = simulator.play(actions, [state] * size, discount, value_fn)
        weights = np.exp((returns - returns.max()) / (temperature * (returns.std() or 1.0)))
        weights /= weights.sum()
        mean = np.tensordot(weights, actions.astype(float), 1)
    value = float(weights @ returns)
    plan = list(mean.astype(box.space.dtype))
    search = Sequences(mean, spread, actions, returns, simulator.calls, simulator.frames)
    return PlanOutput(plan[0], plan, value, None, search)

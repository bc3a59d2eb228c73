"""Model predictive path integral control: the mean of sequences, weighted by return.

For continuous actions (Williams et al., 2017). In each iteration all sequences are one
``rollout_batch``; a sequence whose return is ``temperature`` standard deviations below the best
has ``1 / e`` of its weight. The mean of good sequences may be bad: it is played at the end, and if
a sequence was better, that one is the plan.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.chance import mean_best, reserve
from plangym_lite.planners.sequences import ActionBox, Scored, Sequences, merge, score
from plangym_lite.planners.simulator import OnBatch, PlanOutput, Simulator, ValueFn, check_options

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
    resample: bool = False,
    before: Sequences | None = None,
    played: int | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput[Sequences]:
    """Plan one decision from ``state``; the environment's current state does not change.

    Args:
        env: an environment whose actions are a bounded ``Box``.
        state: the state to plan from.
        budget: maximum simulator calls: one sequence at the end, the others divided equally among
            the iterations.
        horizon: length of a sequence, in units of ``dt``.
        iterations: number of updates of the mean.
        temperature: difference in return that reduces a weight to ``1 / e``, in standard
            deviations of the returns.
        std: standard deviation of the noise, as a share of half the range of an action.
        discount: per unit of ``dt``, between 0 and 1.
        value_fn: values of the last states; default 0.
        resample: draw new seeds for each row; the 8 best sequences are
            played again with the same 16 seeds, and the best mean wins.
        before: ``search`` of the last decision: the first mean is its mean, ``played`` steps on.
        played: number of actions played since that decision; default 1.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the only source of randomness.

    Returns:
        The plan: the mean, or the best sequence that was played; ``value`` is its return,
        ``search`` is :class:`~plangym_lite.planners.sequences.Sequences` around it.

    Raises:
        TypeError: the actions are not numbers within bounds, or ``rng`` is not a generator.
        ValueError: an option is out of range.
    """
    box = ActionBox(env, "mppi")
    check_options(
        discount, {"budget": budget, "horizon": horizon, "iterations": iterations, "played": played}
    )
    kept = reserve(budget, horizon) if resample else 0
    size = ((budget - kept) // horizon - 1) // iterations
    if size < 2:
        least = (2 * iterations + 1) * horizon
        raise ValueError(f"budget must be at least {least}, got {budget}")
    if not (temperature > 0.0 and std > 0.0):
        raise ValueError(f"temperature and std must be above 0, got {temperature} and {std}")
    simulator = Simulator(env, rng, on_batch, resample=resample)
    mean, spread = (
        box.begin(horizon, before, played or 1),
        np.full((horizon, *box.reach.shape), std * box.reach),
    )
    best: list[Scored] = []  # the best first
    for _ in range(iterations):
        actions = box.draw(mean, spread, size, rng)
        returns, out = simulator.play(actions, [state] * size, discount, value_fn)
        best = merge(best, score(actions, returns, out.lengths))
        weights = np.exp((returns - returns.max()) / (temperature * (returns.std() or 1.0)))
        mean = np.tensordot(weights / weights.sum(), actions.astype(float), 1)
    last = mean.astype(box.space.dtype)
    gained, out = simulator.play(last[None], [state], discount, value_fn)
    best = merge(score(last[None], gained, out.lengths), best)
    value, plan = best[0].value, best[0].plan
    if resample:
        plans = [sequence.plan for sequence in best]
        plan, value = mean_best(simulator, state, plans, discount, value_fn, calls=kept)
    mean = best[0].actions
    search = Sequences(mean, spread, actions, returns, simulator.calls, simulator.frames)
    return PlanOutput(plan[0], plan, value, None, search, not resample, simulator.not_finite)

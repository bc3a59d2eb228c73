"""Cross-entropy method: draw sequences, fit the distribution to the best tenth, repeat.

For continuous actions. In each iteration all sequences are one ``rollout_batch``::

    draw     the mean, and samples of a normal distribution for each step, within the bounds
    play     all sequences from the state
    fit      mean and deviation of the next iteration to the best of them
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.chance import mean_best, reserve
from plangym_lite.planners.sequences import ActionBox, Scored, Sequences, merge, score
from plangym_lite.planners.simulator import OnBatch, PlanOutput, Simulator, ValueFn, check_options

__all__ = ["cem"]


def cem(
    env: PlanEnv,
    state: Any,
    *,
    budget: int = 2000,
    horizon: int = 12,
    iterations: int = 5,
    elites: float = 0.1,
    std: float = 1.0,
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
        budget: maximum simulator calls: ``budget // (iterations * horizon)`` sequences per
            iteration.
        horizon: length of a sequence, in units of ``dt``.
        iterations: number of fits.
        elites: the share of the sequences that are fitted, at least two.
        std: initial standard deviation, as a share of half the range of an action.
        discount: per unit of ``dt``, between 0 and 1.
        value_fn: values of the last states; default 0.
        resample: draw new seeds for each row; the 8 best sequences are
            played again with the same 16 seeds, and the best mean wins.
        before: ``search`` of the last decision: the first mean is its mean, ``played`` steps on.
        played: number of actions played since that decision; default 1.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the only source of randomness.

    Returns:
        The plan: the best sequence that was played; ``value`` is its return, ``search`` is
        :class:`~plangym_lite.planners.sequences.Sequences`.

    Raises:
        TypeError: the actions are not numbers within bounds, or ``rng`` is not a generator.
        ValueError: an option is out of range.
    """
    box = ActionBox(env, "cem")
    check_options(
        discount, {"budget": budget, "horizon": horizon, "iterations": iterations, "played": played}
    )
    kept = reserve(budget, horizon) if resample else 0
    size = (budget - kept) // (iterations * horizon)
    if size < 2:
        raise ValueError(f"budget must be at least {2 * iterations * horizon}, got {budget}")
    if not (0.0 < elites <= 1.0 and std > 0.0):
        raise ValueError(f"elites must be in (0, 1], std above 0, got {elites} and {std}")
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
        order = np.argsort(-returns, kind="stable")
        chosen = actions[order[: max(2, round(elites * size))]]
        mean, spread = chosen.mean(0, float), chosen.std(0, float)
    value, plan = best[0].value, best[0].plan
    if resample:
        plans = [sequence.plan for sequence in best]
        plan, value = mean_best(simulator, state, plans, discount, value_fn, calls=kept)
    search = Sequences(mean, spread, actions, returns, simulator.calls, simulator.frames)
    return PlanOutput(plan[0], plan, value, None, search, not resample, simulator.not_finite)

"""Random shooting: play many random sequences from one state, keep the best.

The simplest planner there is, for any action space. ``N`` denotes the number of sequences.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.output import PlanOutput
from plangym_lite.planners.simulator import (
    OnBatch,
    Simulator,
    ValueFn,
    check_options,
    one_hot,
    values_after,
)

__all__ = ["Shots", "random_shooting"]


class Shots(NamedTuple):
    """The sequences that were played, and what they cost."""

    actions: list[Any]  # one entry of N actions for each draw, each held for rollout_dt
    returns: np.ndarray  # [N] discounted return, the value of the last state included
    lengths: np.ndarray  # [N] units of dt until the episode ended, or max_depth
    simulator_calls: int
    frames: int


def random_shooting(
    env: PlanEnv,
    state: Any,
    *,
    num_simulations: int = 100,
    budget: int | None = None,
    max_depth: int = 20,
    rollout_dt: int = 4,
    discount: float = 0.99,
    value_fn: ValueFn | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput:
    """Plan one decision from ``state``; the environment's own current state stays put.

    Args:
        env: any environment; all sequences are stepped together, in one batch for each draw.
        state: where to plan from.
        num_simulations: number of sequences.
        budget: simulator calls at most, instead of ``num_simulations``: each sequence costs a
            call for each random action.
        max_depth: length of a sequence in units of ``dt``.
        rollout_dt: for how many units each random action is held.
        discount: per unit of ``dt``, between 0 and 1.
        value_fn: what the last states are worth; nothing, if left out.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the one source of randomness: equal generators give equal plans.

    Returns:
        The plan; ``value`` is the best sequence's return, ``action_weights`` is 1 for the chosen
        action of a discrete space, ``search`` is :class:`Shots`.

    Raises:
        ValueError: an option is out of range.
        TypeError: ``rng`` is not a generator.
    """
    counts = {"num_simulations": num_simulations, "max_depth": max_depth, "rollout_dt": rollout_dt}
    check_options(discount, counts)
    if budget is not None:
        num_simulations = budget // -(-max_depth // rollout_dt)
        if num_simulations < 1:
            raise ValueError(f"budget {budget} is too small for a sequence of {max_depth} steps")
    simulator = Simulator(env, rng, on_batch)
    states: Any = [state] * num_simulations
    returns, lengths = np.zeros(num_simulations), np.zeros(num_simulations, int)
    ended = np.zeros(num_simulations, bool)
    draws: list[Any] = []
    for depth in range(0, max_depth, rollout_dt):
        held = min(rollout_dt, max_depth - depth)
        draws.append(simulator.draw(num_simulations))
        out = simulator.step(draws[-1], states, held)
        states = out.states
        returns += discount**depth * out.rewards  # 0 where the episode has ended
        lengths[~ended] += held
        ended = out.terminateds | out.truncateds
        if ended.all():
            break
    if value_fn is not None:
        returns += discount**max_depth * values_after(out, value_fn)
    best = int(np.argmax(returns))
    plan = [actions[best] for actions in draws for _ in range(rollout_dt)][: lengths[best]]
    shots = Shots(draws, returns, lengths, simulator.calls, simulator.frames)
    return PlanOutput(
        plan[0], plan, float(returns[best]), one_hot(env.action_space, plan[0]), shots
    )

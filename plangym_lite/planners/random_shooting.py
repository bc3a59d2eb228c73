"""Random shooting: play many random sequences from one state, keep the best.

The simplest planner, for any action space. ``N`` denotes the number of sequences.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv
from plangym_lite.planners.chance import by_first_action, mean_best, reserve
from plangym_lite.planners.simulator import (
    LegalFn,
    OnBatch,
    PlanOutput,
    Simulator,
    ValueFn,
    check_options,
)

__all__ = ["Shots", "random_shooting"]


class Shots(NamedTuple):
    """The sequences that were played, and their cost."""

    actions: list[list[Any]]  # of each sequence, until the episode ended
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
    legal_actions: str | LegalFn | None = None,
    resample: bool = False,
    info: Any = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput[Shots]:
    """Plan one decision from ``state``; the environment's current state does not change.

    Args:
        env: any environment; all sequences are one ``rollout_batch``.
        state: the state to plan from.
        num_simulations: number of sequences.
        budget: maximum simulator calls, instead of ``num_simulations``: each sequence costs one
            call per random action, until its episode ends.
        max_depth: length of a sequence in units of ``dt``.
        rollout_dt: units for which each random action is held.
        discount: per unit of ``dt``, between 0 and 1.
        value_fn: values of the last states; default 0.
        legal_actions: for a discrete space: the key of an info with the mask ``[A]``, or a function
            of observations, states and infos; then each action is held for one unit.
        resample: draw new seeds for each row; the 8 best sequences are
            played again with the same 16 seeds, and the best mean wins.
        info: the info of ``state``, if the environment does not restore it.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the only source of randomness: equal generators give equal plans.

    Returns:
        The plan: the best sequence; ``action_weights`` is 1 for the chosen action of a discrete
        space, ``search`` is :class:`Shots`.

    Raises:
        ValueError: an option is out of range.
        TypeError: ``rng`` is not a generator.
    """
    counts = {"num_simulations": num_simulations, "max_depth": max_depth, "rollout_dt": rollout_dt}
    check_options(discount, counts)
    rollout_dt = 1 if legal_actions is not None else rollout_dt
    cost, kept = -(-max_depth // rollout_dt), 0
    if budget is not None:
        kept = reserve(budget, cost) if resample else 0
        num_simulations = (budget - kept) // cost
        if num_simulations < 1:
            raise ValueError(f"budget {budget} is too small for a sequence of {max_depth} steps")
    simulator = Simulator(env, rng, on_batch, resample=resample, legal_actions=legal_actions)
    options: Any = {"discount": discount, "value_fn": value_fn}
    if legal_actions is None:
        plans, returns, lengths = shoot(
            simulator, state, num_simulations, max_depth, rollout_dt, **options
        )
    else:
        masks: Any = simulator.look(state, info)[2]
        options["masks"] = masks.repeat(num_simulations, 0)
        states, lengths = [state] * num_simulations, np.full(num_simulations, max_depth)
        plans, returns, *_ = simulator.play_legally(states, lengths, **options)
        lengths = np.array([len(plan) for plan in plans])
    order = np.argsort(-returns, kind="stable")
    plan, value = plans[order[0]], float(returns[order[0]])
    if resample:
        best = by_first_action([plans[row] for row in order], itemgetter(0))
        plan, value = mean_best(
            simulator, state, best, discount, value_fn, calls=kept or None, held=rollout_dt
        )
    shots = Shots(plans, returns, lengths, simulator.calls, simulator.frames)
    weights = simulator.one_hot(plan[0])
    return PlanOutput(plan[0], plan, value, weights, shots, not resample, simulator.not_finite)


def shoot(
    simulator: Simulator,
    state: Any,
    size: int,
    max_depth: int,
    held: int,
    *,
    discount: float,
    value_fn: ValueFn | None,
) -> tuple[list[list[Any]], np.ndarray, np.ndarray]:
    """Play random sequences: their actions until the end, returns and lengths."""
    draws = [simulator.draw(size) for _ in range(-(-max_depth // held))]
    plans = [
        [actions[row] for actions in draws for _ in range(held)][:max_depth] for row in range(size)
    ]
    actions: Any = plans
    if not isinstance(simulator.env.action_space, (spaces.Dict, spaces.Tuple)):
        actions = np.array(plans)
    returns, out = simulator.play(actions, [state] * size, discount, value_fn, held=held)
    cut = [plan[: max(1, length)] for plan, length in zip(plans, out.lengths.tolist(), strict=True)]
    return cut, returns, out.lengths

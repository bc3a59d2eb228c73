"""Monte Carlo tree search: UCT, its leaves expanded in batches.

::

    select   walk down from the root, by value and curiosity, to an action not tried yet
    expand   one ``step_batch`` for all leaves of the batch; random play (or ``value_fn``) says
             what they are worth
    backward carry the values up to the root

While a batch is being gathered, the simulations on their way count as losses (virtual loss), so
that the next one goes elsewhere. Networks plug in as ``value_fn`` and ``policy_fn``; with the
latter an action is tried the earlier the more promising it is (PUCT). The size of a batch does
not depend on the number of workers: the same generator gives the same plan with any number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.output import PlanOutput
from plangym_lite.planners.simulator import (
    OnBatch,
    PolicyFn,
    Simulator,
    ValueFn,
    check_discrete,
    check_options,
    policies_at,
    values_after,
)
from plangym_lite.planners.tree import ROOT, Tree
from plangym_lite.planners.uct import Walks
from plangym_lite.states.archive import StateArchive
from plangym_lite.transitions import TransitionBatch

__all__ = ["mcts"]

Evaluate = Callable[[TransitionBatch, np.ndarray], np.ndarray]
"""Says what new leaves are worth, given how they were reached and their depths."""

Judge = Callable[[Any, Any], Any]
"""Says for each new leaf, by observations and states, how promising its actions are, or None."""


def mcts(
    env: PlanEnv,
    state: Any,
    *,
    num_simulations: int = 100,
    budget: int | None = None,
    max_depth: int = 20,
    batch_size: int = 8,
    rollout_dt: int = 4,
    discount: float = 0.99,
    exploration: float = 0.3,
    value_fn: ValueFn | None = None,
    policy_fn: PolicyFn | None = None,
    tree: Tree | None = None,
    archive: StateArchive | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput:
    """Plan one decision from ``state``; the environment's own current state stays put.

    Args:
        env: an environment with discrete actions.
        state: where to plan from.
        num_simulations: walks down the tree.
        budget: simulator calls at most, instead of ``num_simulations``. Walks to where an episode
            has ended cost none: after ``budget`` walks it is over anyway.
        max_depth: how many steps ahead a simulation looks, in the tree and by random play.
        batch_size: leaves that are expanded together; fewer where the tree is still narrow.
        rollout_dt: for how many steps random play holds an action.
        discount: of a reward one step later, between 0 and 1.
        exploration: weight of what was visited little; values are scaled to [0, 1] first, by the
            least and the greatest in the tree, so that the unit of reward does not matter.
        value_fn: says what a leaf is worth, instead of random play.
        policy_fn: says which actions of a state to try first, and how much.
        tree: ``search`` of the decision before: what it knows of ``state`` is kept.
        archive: where a new tree keeps its states, in little memory; ``None``: in an array.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the one source of randomness.

    Returns:
        The plan: the most visited action, and the most visited path below it; ``value`` is the
        mean return of that action, ``action_weights`` are the shares of the visits, ``search``
        is the :class:`Tree`.

    Raises:
        TypeError: the actions are not discrete, or ``rng`` is not a generator.
        ValueError: an option is out of range.
    """
    first, n_actions = check_discrete(env, "mcts")
    counts = {"num_simulations": num_simulations, "max_depth": max_depth}
    if budget is not None:
        num_simulations = counts["budget"] = budget
    check_options(discount, {**counts, "batch_size": batch_size, "rollout_dt": rollout_dt})
    cost = 1 if value_fn is not None else 1 + -(-(max_depth - 1) // rollout_dt)  # of a leaf
    if budget is not None and budget < cost:
        raise ValueError(f"budget {budget} is too small: a leaf costs up to {cost} calls")
    simulator = Simulator(env, rng, on_batch)

    def evaluate(out: TransitionBatch, depths: np.ndarray) -> np.ndarray:
        if value_fn is not None:
            return values_after(out, value_fn)
        lengths = np.where(out.terminateds | out.truncateds, 0, max_depth - depths)
        return simulator.roll_out(out.states, lengths, dt=rollout_dt, discount=discount)

    def judge(observs: Any, states: Any) -> Any:
        if policy_fn is None:
            return [None] * len(states)
        return policies_at(observs, states, policy_fn, n_actions)

    walks = Walks(
        n_actions,
        state,
        num_simulations,
        max_depth=max_depth,
        discount=discount,
        exploration=exploration,
        rng=rng,
        archive=archive,
        before=tree,
    )
    for node, priors in enumerate(walks.notes):
        if priors is not None:
            walks.judge(node, priors)
    if policy_fn is not None and walks.notes[ROOT] is None:
        walks.judge(ROOT, judge(simulator.look(state), walks.states[:1])[0])
    finished = 0
    while finished < num_simulations:
        size = min(batch_size, num_simulations - finished)
        if budget is not None:
            size = min(size, (budget - simulator.calls) // cost)
        if size == 0:
            break
        paths = walks.select(size)
        values = expand(walks, paths, simulator, evaluate, judge, first)
        for path, value in zip(paths, values, strict=True):
            walks.backward(path, value)
        finished += len(paths)
    return decide(walks.table(simulator.calls, simulator.frames), first, discount)


def expand(walks, paths, simulator, evaluate, judge, first) -> list[float]:
    """Step to the new leaves, all in one batch; return what every leaf is worth."""
    leaves = [path[-1] for path in paths]
    new = [leaf for leaf in leaves if not walks.visits[leaf]]
    values = {}
    if new:
        actions = [first + walks.actions[leaf] for leaf in new]
        out = simulator.step(np.array(actions), walks.states_before(new))
        ended = out.terminateds | out.truncateds
        walks.enter(new, out.states, out.rewards.tolist(), ended.tolist())
        for node, priors in zip(new, judge(out.observs, out.states), strict=True):
            if priors is not None:
                walks.judge(node, priors)
        depths = np.array([walks.depths[leaf] for leaf in new])
        values = dict(zip(new, evaluate(out, depths).tolist(), strict=True))
    return [values[leaf] if leaf in values else walks.values[leaf] for leaf in leaves]


def decide(tree: Tree, first: int, discount: float) -> PlanOutput:
    """The most visited action at the root, and the most visited path below it."""
    plan: list[int] = []
    node = ROOT
    while tree.action_visits(node).any():
        visits, values = tree.action_visits(node), tree.action_values(node, discount)
        plan.append(int(np.lexsort((values, visits))[-1]))  # of equal visits, the better value
        node = int(tree.children[node, plan[-1]])
    visits = tree.action_visits(ROOT)
    value = float(tree.action_values(ROOT, discount)[plan[0]])
    actions = [first + action for action in plan]
    return PlanOutput(actions[0], actions, value, visits / visits.sum(), tree)

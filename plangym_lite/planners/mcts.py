"""Monte Carlo tree search: UCT, its leaves expanded in batches, for one state or many.

::

    select   walk down from the root, by value and exploration bonus, to an untried action
    expand   one ``step_batch`` for all leaves of the batch; random rollouts (or ``value_fn``)
             estimate their values
    backward back up the values to the root

While a batch is selected, pending simulations count as losses (virtual loss), so that the next
one takes another path. Networks are given as ``value_fn`` and ``policy_fn``; with the latter,
actions with higher priors are tried earlier (PUCT). The size of a batch does not depend on the
number of workers: the same generator gives the same plan with any number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.chance import (
    ChanceWalks,
    resampled_walks,
    worst_if_not_finite,
)
from plangym_lite.planners.simulator import (
    LegalFn,
    OnBatch,
    PlanOutput,
    PolicyFn,
    Simulator,
    ValueFn,
    check_discrete,
    check_options,
    values_after,
)
from plangym_lite.planners.tree import ROOT, UNKNOWN, Start, Tree, count_costs, joined, parts_of
from plangym_lite.planners.uct import GameWalks, Rules, Walks, policies_at
from plangym_lite.states.archive import StateArchive
from plangym_lite.transitions import TransitionBatch

__all__ = ["mcts"]

SIMULATIONS = 100
NOISY = 3  # factor on exploration with ``resample`` or two players
WITHOUT_END = 10**9
Options = ParamSpec("Options")

Group = tuple[Any, list[int]]
"""A :class:`Search` and new leaves of its tree."""


class OneOrMany(Protocol[Options]):
    """A planner whose type does not depend on what a checker knows of ``state``."""

    def __call__(
        self, env: PlanEnv, state: Any, *args: Options.args, **kwargs: Options.kwargs
    ) -> PlanOutput[Tree]: ...

    many: Callable[Concatenate[PlanEnv, Any, Options], list[PlanOutput[Tree]]]


def one_or_many(plan: Callable[Concatenate[PlanEnv, Any, Options], Any]) -> OneOrMany[Options]:
    """``plan`` itself; it is its own ``many``, too."""
    typed: Any = plan
    typed.many = plan
    return typed


@one_or_many
def mcts(
    env: PlanEnv,
    state: Any,
    *,
    num_simulations: int | None = None,
    budget: int | None = None,
    seconds: float | None = None,
    max_depth: int = 20,
    batch_size: int = 8,
    rollout_dt: int = 4,
    discount: float = 0.99,
    exploration: float = 0.3,
    value_fn: ValueFn | None = None,
    policy_fn: PolicyFn | None = None,
    legal_actions: str | LegalFn | None = None,
    resample: bool = False,
    root_noise: float = 0.0,
    root_alpha: float = 0.3,
    temperature: float = 0.0,
    tree: Any = None,
    played: int | None = None,
    info: Any = None,
    archive: StateArchive | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> Any:
    """Plan one decision from ``state``; the environment's current state does not change.

    Args:
        env: an environment with discrete actions.
        state: where to plan from; or ``R`` of them, ``[R, S]`` or a list: then a tree is grown from
            each, the leaves of all in one batch, and a list of ``R`` plans comes back. For type
            checkers, ``mcts.many(env, states, ...)`` is the same with the type of such a list.
        num_simulations: walks down each tree; 100, if no limit is given.
        budget: maximum simulator calls per tree, and the default of ``num_simulations``, because
            walks to ended episodes cost no calls.
        seconds: of real time, after which no batch begins. The plan then depends on the machine.
        max_depth: horizon in steps, in the tree and by random play.
        batch_size: leaves of a tree that are expanded in one batch; fewer in a small tree.
        rollout_dt: steps for which random play holds an action; 1 with ``legal_actions`` or two
            players.
        discount: of a reward one step later, between 0 and 1; -1: two players in turn, each
            with the rewards of its own moves; wins, losses and draws are proven.
        exploration: weight of the exploration bonus; values are scaled to [0, 1] by the least and
            the greatest in the tree, so that the unit of reward does not matter. With
            ``resample`` or two players it counts three times as much: returns are noisy then.
        value_fn: values of leaves, instead of random play.
        policy_fn: priors of the actions.
        legal_actions: the key of an info with the mask ``[A]`` of the legal actions, or a function
            of observations, states and infos. Illegal actions are never stepped.
        resample: draw new seeds at each visit of an action, from ``rng``; no tree is
            kept then. ``False``: the plan knows the future draws.
        root_noise: share of Dirichlet noise in the priors of the root, with ``policy_fn``; drawn
            once for each search.
        root_alpha: concentration of that noise.
        temperature: if above 0 the action is drawn by ``visits ** (1 / temperature)``; the rest of
            the plan is the most visited path below it.
        tree: ``search`` of the last decision; the subtree of ``state`` is kept. ``R`` of them
            for ``R`` states.
        played: number of actions played since that decision; default 1.
        info: the info of ``state``, for the legal actions of the root, if the environment does not
            restore it with the state. ``R`` of them for ``R`` states.
        archive: stores the states of a new tree in little memory; ``None``: an array.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the only source of randomness.

    Returns:
        The plan: the most visited action, and the most visited path below it; ``value`` is the
        mean return of that action (exact where it is proven), ``action_weights`` are the shares of
        the visits (of a proven root the best actions), ``search`` is the :class:`Tree`.

    Raises:
        TypeError: the actions are not discrete, or ``rng`` is not a generator.
        ValueError: an option is out of range, or the legal actions of the root are not known.
    """
    first, n_actions = check_discrete(env, "mcts")
    counts = {"max_depth": max_depth, "batch_size": batch_size, "rollout_dt": rollout_dt}
    limits = {"num_simulations": num_simulations, "budget": budget, "played": played}
    check_options(discount, {**counts, **limits}, least=-1.0)
    check_root(root_noise, root_alpha, temperature, policy_fn)
    if legal_actions is not None or discount < 0:
        rollout_dt = 1
    simulator = Simulator(env, rng, on_batch, resample=resample, legal_actions=legal_actions)
    evaluator = LeafEvaluator(simulator, max_depth, rollout_dt, discount, value_fn, policy_fn)
    cost = max_depth if resample else evaluator.cost
    if budget is not None and budget < cost:
        raise ValueError(f"budget {budget} is too small: a leaf costs up to {cost} calls")
    walks_each = num_simulations or budget or (SIMULATIONS if seconds is None else WITHOUT_END)
    rules = Rules(
        max_depth, discount, exploration * (NOISY if resample or discount < 0 else 1), rng
    )
    many, searches = is_many(env, state), []
    for at, before, known in zip(*as_lists(many, state, tree, info), strict=True):
        start = Start(at, min(walks_each, 2**16), archive, before, played or 1)
        search = Search(new_walks(env, n_actions, start, rules, resample), evaluator, known)
        if root_noise:
            search.add_noise(root_noise, root_alpha)
        searches.append(search)
    until = None if seconds is None else time.monotonic() + seconds
    sizes = batch_size, walks_each, budget, cost
    while batch := [(search, paths) for search in searches if (paths := search.select(*sizes))]:
        if resample:
            resampled_walks(evaluator, batch)
        else:
            evaluator.expand(batch)
        if until is not None and time.monotonic() >= until:
            break
    plans = [search.decide(first, temperature, simulator) for search in searches]
    return plans if many else plans[0]


def check_root(noise: float, alpha: float, temperature: float, policy_fn: Any) -> None:
    """Raise ``ValueError`` if an option of the root is out of range."""
    if not (0.0 <= noise <= 1.0 and alpha > 0.0 and temperature >= 0.0):
        raise ValueError("root_noise must be in [0, 1], root_alpha above 0, temperature at least 0")
    if noise and policy_fn is None:
        raise ValueError("root_noise is noise in the priors: give policy_fn")


def new_walks(env: PlanEnv, n_actions: int, start: Start, rules: Rules, resample: bool) -> Walks:
    """The tree that suits the game."""
    if resample:
        return ChanceWalks(n_actions, start, rules, env.observation_space)
    return (GameWalks if rules.discount < 0 else Walks)(n_actions, start, rules)


class Search:
    """One tree and its cost."""

    def __init__(self, walks: Walks, evaluator: LeafEvaluator, info: Any) -> None:
        self.walks, self.finished, self.calls, self.frames = walks, 0, 0, 0
        if evaluator.needs_root and walks.notes[ROOT] is None:
            evaluator.evaluate_root(self, info)

    def add_noise(self, share: float, alpha: float) -> None:
        """Mix noise into the priors of the root."""
        priors, legal = self.walks.notes[ROOT]
        allowed = np.flatnonzero(np.ones(len(priors)) if legal is None else legal)
        noise = np.zeros(len(priors))
        noise[allowed] = self.walks.rng.dirichlet([alpha] * len(allowed))
        mixed = self.walks.exploration * ((1 - share) * priors + share * noise)
        before = np.array(self.walks.priors[ROOT])
        self.walks.set_root_weights(np.where(np.isnan(before), before, mixed))

    def select(self, size: int, limit: int, budget: int | None, cost: int) -> list[list[int]]:
        """The paths of the next batch; with ``resample`` only where they begin."""
        size = min(size, limit - self.finished)
        if budget is not None:
            size = min(size, (budget - self.calls) // cost)
        if size <= 0 or self.walks.is_solved():
            return []
        if isinstance(self.walks, ChanceWalks):
            self.walks.find_bounds()
            return [[ROOT] for _ in range(size)]
        return self.walks.select(size)

    def decide(self, first: int, temperature: float, simulator: Simulator) -> PlanOutput[Tree]:
        """The plan."""
        tree = self.walks.table(self.calls, self.frames)
        discount, rng = self.walks.discount, self.walks.rng
        best, weights = best_action(tree, ROOT, discount)
        if temperature:
            powers = (weights / weights.max()) ** (1 / temperature)
            best = int(rng.choice(len(weights), p=powers / powers.sum()))
        value = float(tree.action_values(ROOT, discount)[best])
        below = int(tree.children[ROOT, best])
        actions = [first + action for action in [best, *best_plan(self.walks, tree, below)]]
        known, bad = not simulator.resample, simulator.not_finite
        return PlanOutput(actions[0], actions, value, weights, tree, known, bad)


def best_plan(walks: Walks, tree: Tree, node: int) -> list[int]:
    """The actions to take from ``node`` on; none if it is ``UNKNOWN``."""
    plan: list[int] = []
    if tree.proven is not None or tree.drawn is not None:
        while node != UNKNOWN and tree.action_visits(node).any():
            plan.append(best_action(tree, node, walks.discount)[0])
            node = int(tree.children[node, plan[-1]])
        return plan
    visits, returns, actions = walks.visits, walks.returns, walks.actions  # the same, in lists
    while node != UNKNOWN and (below := walks.children[node]):
        node = max(below, key=lambda child: (visits[child], returns[child], actions[child]))
        plan.append(actions[node])
    return plan


def best_action(tree: Tree, node: int, discount: float) -> tuple[int, np.ndarray]:
    """The action to take, and ``[A]`` how much each is preferred.

    The most visited one, of equal ones the better; in a game proven values come first.
    """
    visits, values = tree.action_visits(node), tree.action_values(node, discount)
    best = int(np.lexsort((values, visits))[-1])
    if tree.proven is None:
        return best, visits / max(visits.sum(), 1)
    children = tree.children[node]
    sure = np.where(children == UNKNOWN, np.nan, tree.proven[children])
    gains = np.where(np.isnan(sure), -np.inf, tree.rewards[children] + discount * sure)
    if not np.isnan(tree.proven[node]):
        top = gains == gains.max()
        return int(np.flatnonzero(top)[visits[top].argmax()]), top / top.sum()
    open_visits = np.where(np.isnan(sure), visits, -1)
    best = int(np.lexsort((values, open_visits))[-1])
    if gains.max() >= values[best] or open_visits[best] < 1:
        best = int(gains.argmax())
    return best, visits / max(visits.sum(), 1)


@dataclass(eq=False)
class LeafEvaluator:
    """Steps to new leaves and estimates their values."""

    simulator: Simulator
    max_depth: int
    held: int
    discount: float
    value_fn: ValueFn | None
    policy_fn: PolicyFn | None

    def __post_init__(self) -> None:
        self.needs_root = self.simulator.legal_actions is not None or self.policy_fn is not None
        plays = -(-(self.max_depth - 1) // self.held)
        self.cost = 1 if self.value_fn is not None else 1 + plays  # maximum, of a leaf

    def expand(self, batch: list[tuple[Search, list[list[int]]]]) -> None:
        """Step to the new leaves of all trees in one batch, and back up the values of paths."""
        groups: list[Group] = []
        for search, paths in batch:
            visits = search.walks.visits
            leaves = [path[-1] for path in paths if not visits[path[-1]]]
            if leaves:
                groups.append((search, leaves))
        values = iter(self.grow(groups) if groups else ())
        for search, paths in batch:
            visits, known = search.walks.visits, search.walks.values
            for path in paths:
                leaf = path[-1]
                search.walks.backward(path, known[leaf] if visits[leaf] else next(values))
            search.finished += len(paths)

    def grow(self, groups: list[Group]) -> list[float]:
        """Step to the new leaves of trees and enter them; return their values."""
        states = [search.walks.states_before(leaves) for search, leaves in groups]
        first = self.simulator.first
        moves = [first + search.walks.actions[leaf] for search, leaves in groups for leaf in leaves]
        out = self.simulator.step(moves, joined(states))
        calls, frames = self.simulator.costs
        values = self.evaluate(groups, out, self.simulator.masks)
        gains = out.rewards
        if self.simulator.not_finite:
            gains = worst_if_not_finite(gains, self.discount * values, groups[0][0].walks.low)
        rewards, ended = gains.tolist(), (out.terminateds | out.truncateds).tolist()
        for search, leaves, part in parts_of(groups):
            search.walks.enter(leaves, out.states[part], rewards[part], ended[part])
            search.calls += sum(calls[part])
            search.frames += sum(frames[part])
            if gains is not out.rewards:
                wrong = ~np.isfinite(out.rewards[part])
                search.walks.bad += np.array(leaves)[wrong].tolist()
        return values.tolist()

    def evaluate(
        self, groups: list[Group], out: TransitionBatch, masks: np.ndarray | None
    ) -> np.ndarray:
        """``[B]`` the values of the leaves of ``groups``; enter priors and legal actions."""
        self.set_policies(groups, out.observs, out.states, masks)
        if self.value_fn is not None:
            return values_after(out, self.value_fn)
        depths = [search.walks.depths[leaf] for search, leaves in groups for leaf in leaves]
        ended = out.terminateds | out.truncateds
        lengths = np.where(ended, 0, self.max_depth - np.array(depths))
        options: Any = {"held": self.held, "discount": self.discount, "masks": masks}
        values, calls, frames = self.simulator.roll_out(out.states, lengths, **options)
        count_costs(groups, calls.tolist(), frames.tolist())
        return values

    def set_policies(
        self, groups: list[Group], observs: Any, states: Any, masks: np.ndarray | None
    ) -> None:
        """Enter the priors and the legal actions of leaves."""
        if masks is None and self.policy_fn is None:
            return
        priors: Any = None
        if self.policy_fn is not None:
            priors = policies_at(observs, states, self.policy_fn, self.simulator.n_actions)
            if masks is not None:
                priors = np.where(masks, priors, 0.0)
                priors = priors / np.maximum(priors.sum(1, keepdims=True), 1e-12)
        for search, leaves, part in parts_of(groups):
            search.walks.set_policy(
                leaves, *(rows if rows is None else rows[part] for rows in (priors, masks))
            )

    def evaluate_root(self, search: Search, info: Any) -> None:
        """Enter the priors and the legal actions of a root."""
        self.set_policies([(search, [ROOT])], *self.simulator.look(search.walks.states[ROOT], info))


def is_many(env: PlanEnv, state: Any) -> bool:
    """Whether ``state`` is a batch of states."""
    if env.batch_spec.state_shape is None:
        return isinstance(state, np.ndarray) and (state.dtype == object or state.ndim > 1)
    return isinstance(state, list) or np.ndim(state) > len(env.batch_spec.state_shape)


def as_lists(many: bool, states: Any, trees: Any, infos: Any) -> tuple[Any, list[Any], list[Any]]:
    """A state, a tree and an info for each search."""
    if not many:
        return [states], [trees], [infos]
    nothing = [None] * len(states)
    return states, list(trees or nothing), list(infos or nothing)

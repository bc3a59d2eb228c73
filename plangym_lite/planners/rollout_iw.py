"""Rollout IW(1): novelty-based rollouts (Bandres, Bonet and Geffner, AAAI 2018).

::

    walk     from the root, by random actions whose branches are not solved yet
    look     a node reached for the first time must have some feature at a smaller depth than
             all earlier nodes; a node reached again must still hold such a record
    prune    if that fails, or the episode ends, or at maximum depth, the branch is solved;
             so is a node whose children are all solved

The value of a node is that of the best branch below it: of branches with equal return the longest,
in which the agent survives longest. The search ends when the whole tree is solved or the simulator
calls are used up. The subtree of the last decision is kept: walks in it cost nothing.

``batch_size`` walks run concurrently, one batch per step; 1 is the algorithm as published.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import defaultdict
from math import frexp, inf
from operator import add
from typing import Any, ClassVar

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.chance import by_first_action, mean_best, reserve
from plangym_lite.planners.features import (
    Features,
    NodeData,
    NodeEvaluator,
    break_records,
    features_of,
    held_records,
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
)
from plangym_lite.planners.tree import (
    ROOT,
    UNKNOWN,
    WORST,
    GrowingTree,
    Start,
    Tree,
    goal_first,
    whole_numbers,
)
from plangym_lite.states.archive import StateArchive

__all__ = ["rollout_iw"]

NEVER = np.iinfo(np.int16).max
NO_REWARD = -10_000  # the key of branches without reward: less than any power of two


def rollout_iw(
    env: PlanEnv,
    state: Any,
    *,
    budget: int = 100,
    max_depth: int = 100,
    batch_size: int = 1,
    discount: float = 0.995,
    features: str | Features = "auto",
    risk_aversion: float = 1.0,
    subtables: bool = True,
    value_fn: ValueFn | None = None,
    policy_fn: PolicyFn | None = None,
    legal_actions: str | LegalFn | None = None,
    resample: bool = False,
    tree: Tree | None = None,
    played: int | None = None,
    info: Any = None,
    archive: StateArchive | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput[Tree]:
    """Plan one decision from ``state``; the environment's current state does not change.

    Args:
        env: an environment with discrete actions.
        state: the state to plan from.
        budget: maximum simulator calls for this decision.
        max_depth: maximum depth of a walk in steps.
        batch_size: number of concurrent walks.
        discount: of a reward one step later, between 0 and 1.
        features: see :func:`~plangym_lite.planners.features.features_of`.
        risk_aversion: factor on negative rewards, which changes choices, not ``value``; 1: none.
            If it is greater than 1, a lost life (``info["lost_life"]``) counts as ten lost points,
            and an untried action as 0 (without ``value_fn``). 50,000 is the published choice.
        subtables: whether there is a novelty table for each power of two of the reward since the
            root.
        value_fn: values of the ends of branches; default 0.
        policy_fn: probabilities of the actions of walks; default equal.
        legal_actions: the key of an info with the mask ``[A]`` of the legal actions, or a function
            of observations, states and infos.
        resample: draw new seeds for each row; the 8 best branches are played
            again with the same 16 seeds, and the best mean wins. No tree is kept then.
        tree: ``search`` of the last decision; the subtree of ``state`` is kept.
        played: number of actions played since that decision; default 1.
        info: the info of ``state``, if the environment does not restore it.
        archive: stores the states of a new tree in little memory; ``None``: an array.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the only source of randomness.

    Returns:
        The plan: the best branch, a random one of equals. A branch that terminated with a negative
        return is only replaced by one with a greater return that is at least as long or above 0.
        ``value`` is its return, without risk aversion; ``action_weights`` are equal among the best
        actions; ``search`` is the :class:`Tree`.

    Raises:
        TypeError: the actions are not discrete, the observations have no features, or ``rng``
            is not a generator.
        ValueError: an option is out of range.
    """
    first, n_actions = check_discrete(env, "rollout_iw")
    counts = {"budget": budget, "max_depth": max_depth, "batch_size": batch_size}
    check_options(discount, {**counts, "played": played})
    if risk_aversion < 1:
        raise ValueError(f"risk_aversion must be at least 1, got {risk_aversion}")
    known = features_of(env.observation_space, features)
    simulator = Simulator(env, rng, on_batch, resample=resample, legal_actions=legal_actions)
    evaluator = NodeEvaluator(simulator, known, policy_fn, value_fn, risk_aversion)
    start = Start(state, budget, archive, None if resample else tree, played or 1)
    search = NoveltySearch(
        n_actions, start, known.size, max_depth, discount, subtables=subtables, rng=rng
    )
    if search.notes[ROOT] is None:
        search.set_data(ROOT, evaluator.at_root(state, info))
    search.is_novel(ROOT)
    left = budget - (reserve(budget, max_depth) if resample else 0)
    while simulator.calls < left and not search.solved[ROOT]:
        leaves = search.walk(min(batch_size, left - simulator.calls))
        if leaves:
            evaluator.expand(search, leaves)
            search.check_novelty(leaves)
    evaluator.finish(search)
    path, weights = search.best_path()
    plan = [first + search.actions[node] for node in path]
    value = search.value_of(path)
    if resample:
        others = [[first + search.actions[node] for node in way] for way in search.best_paths()]
        plans = [plan, *others]
        plan, value = mean_best(simulator, state, plans, discount, value_fn, calls=budget - left)
        weights = simulator.one_hot(plan[0])  # type: ignore[assignment]
    found = search.table(simulator.calls, simulator.frames)
    return PlanOutput(plan[0], plan, value, weights, found, not resample, simulator.not_finite)


class NoveltySearch(GrowingTree):
    """The walks of one decision, and the novelty tables. ``A`` denotes the number of actions."""

    columns: ClassVar[dict[str, Any]] = {
        **GrowingTree.columns,
        "children": (),
        "adjusted": 0.0,
        "gains": 0.0,
        "solved": False,
        "_open": None,
        "_n_unsolved": 0,
        "_weights": None,
        "_tables": None,
        "_record_feature": 0,
        "_sums": 0.0,
    }
    children: list[Any]  # [A] by action, UNKNOWN where there is none; empty: no child
    adjusted: list[float]  # rewards, with risk aversion
    gains: list[float]  # their discounted sum from the root
    solved: list[bool]  # whether all branches are solved
    _open: list[list[int]]  # actions a walk may take
    _n_unsolved: list[int]  # number of unsolved branches
    _weights: list[Any]  # [A] probabilities of actions; None: equal
    _tables: list[Any]  # of the nodes visited in this decision
    _record_feature: list[int]  # a feature of which the node held a record
    _sums: list[float]  # sum of ``adjusted`` from the root

    def __init__(
        self,
        n_actions: int,
        start: Start,
        n_features: int,
        max_depth: int,
        discount: float,
        *,
        subtables: bool,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(n_actions, start)
        self.rng, self.n_features, self.max_depth = rng, n_features, max_depth
        self.draw = whole_numbers(rng)
        self.discount, self.subtables = discount, subtables
        unseen = array("h", [NEVER]) * n_features  # Python reads it faster than numpy
        self._records: dict[int, array] = defaultdict(lambda: unseen[:])  # by sums of rewards
        self._n_kept = self.size
        self._all = list(range(n_actions))
        self._fronts: list[int] = []  # current nodes of the active walks
        self.bad: list[int] = []  # nodes whose reward was not finite
        for node in range(self.size):
            if self.notes[node] is not None:
                self.set_data(node, self.notes[node])
            if node != ROOT:
                self._link(node)

    def set_data(self, node: int, note: NodeData) -> None:
        """Enter the data of a node besides its row."""
        self.notes[node], self._weights[node] = note, note.weights
        legal = note.legal
        actions = self._all.copy() if legal is None else np.flatnonzero(legal).tolist()
        self._open[node], self._n_unsolved[node] = actions, len(actions)
        if node == ROOT:
            return
        parent, adjusted = self.parents[node], note.adjusted
        if adjusted == -inf:  # the reward was not finite
            adjusted = WORST
            self.bad.append(node)
        self.adjusted[node] = adjusted
        self.gains[node] = self.gains[parent] + self.discount ** self.depths[parent] * adjusted

    def _link(self, node: int) -> None:
        parent = self.parents[node]
        below = self.children[parent]
        if not below:
            below = self.children[parent] = [UNKNOWN] * self.n_actions
        below[self.actions[node]] = node

    def add(self, parent: int, action: int) -> int:
        node = super().add(parent, action)
        self._open[parent].remove(action)  # until it arrives
        self._link(node)
        return node

    def walk(self, n_walks: int) -> list[int]:
        """Continue each walk to an untried action, or to its end; return the new rows."""
        leaves, draw = [], self.draw
        all_open, all_weights, children = self._open, self._weights, self.children
        tables, held, depths = self._tables, self._record_feature, self.depths
        fronts, self._fronts = self._fronts, []
        for node in [*fronts, *[ROOT] * (n_walks - len(fronts))][:n_walks]:
            while actions := all_open[node]:
                if all_weights[node] is not None:
                    action = self._pick(node)
                else:
                    action = actions[draw(len(actions))] if len(actions) > 1 else actions[0]
                below = children[node]
                child = below[action] if below else UNKNOWN
                if child == UNKNOWN:
                    leaves.append(self.add(node, action))
                    break
                records = tables[child]  # a record that is still held needs no second look
                holds = records is not None and records[held[child]] == depths[child]
                if not holds and not self._is_open(child):
                    break
                node = child
        return leaves

    def back_up(self, leaf: int, value: float) -> None:
        """Enter a new node: update the best branches above it."""
        parents, values, heights = self.parents, self.values, self.heights
        self.visits[leaf], values[leaf] = 1, value
        insort(self._open[parents[leaf]], self.actions[leaf])
        adjusted, discount, node, before = self.adjusted, self.discount, leaf, (-inf, 0)
        while (above := parents[node]) != UNKNOWN:  # ``before`` and ``new``: of the branch by node
            best = values[above], heights[above]
            new = adjusted[node] + discount * values[node], heights[node] + 1
            if new < best and before == best:
                _, value, height = self.best_branches(above)
                new = value, height + 1
            elif new <= best and heights[above]:
                break
            before = adjusted[above] + discount * best[0], best[1] + 1
            values[above], heights[above] = new
            node = above

    def best_branches(self, node: int) -> tuple[list[int], float, int]:
        """The children with the best branches, their return and their height."""
        adjusted, values, heights = self.adjusted, self.values, self.heights
        discount, best, top, high = self.discount, [], -np.inf, -1
        for child in self.children[node]:
            if child != UNKNOWN and self.visits[child]:
                value, height = adjusted[child] + discount * values[child], heights[child]
                if value > top or (value == top and height > high):
                    best, top, high = [child], value, height
                elif value == top and height == high:
                    best.append(child)
        return best, top, high

    def check_novelty(self, leaves: list[int]) -> None:
        """Check the novelty of new nodes; walks continue from novel ones."""
        self._fronts = [leaf for leaf in leaves if self._is_open(leaf)]

    def _pick(self, node: int) -> int:
        """An action whose branch is neither solved nor pending, by the policy."""
        actions = self._open[node]
        weights = self._weights[node][actions]
        if weights.any():
            return int(self.rng.choice(actions, p=weights / weights.sum()))
        return actions[self.draw(len(actions))] if len(actions) > 1 else actions[0]

    def _is_open(self, node: int) -> bool:
        """Whether a walk continues from here; if not, the branch is solved."""
        if self.ended[node] or self.depths[node] >= self.max_depth or not self.is_novel(node):
            self._close(node)
        return not self.solved[node]

    def is_novel(self, node: int) -> bool:
        """Whether a node holds a record; at its first visit it enters those that it breaks."""
        depth, records = self.depths[node], self._tables[node]
        features = self.notes[node].features
        if records is not None:  # visited before: does it still hold a record?
            held = held_records(records, features, depth)
        else:
            parent = max(self.parents[node], ROOT)
            self._sums[node] = total = self._sums[parent] + self.adjusted[node]
            key = frexp(total)[1] if self.subtables and total > 0 else NO_REWARD
            records = self._records[key]
            above = self.notes[parent].features if self._tables[parent] is records else None
            held, self._tables[node] = break_records(records, features, depth, above), records
        if not len(held):
            return False
        self._record_feature[node] = int(held[0])
        return True

    def _close(self, node: int) -> None:
        """Mark a branch as solved, and nodes above it whose branches are then all solved."""
        while not self.solved[node]:
            self.solved[node] = True
            parent = self.parents[node]
            if parent == UNKNOWN:
                break
            self._open[parent].remove(self.actions[node])
            self._n_unsolved[parent] -= 1
            if self._n_unsolved[parent]:
                break
            node = parent

    def table(self, simulator_calls: int, frames: int) -> Tree:
        tree = super().table(simulator_calls, frames)
        n_kept, new = self._n_kept, self.visits[: self.size]  # these are counted only now
        new[:n_kept] = [0] * n_kept
        for node in range(self.size - 1, ROOT, -1):
            new[self.parents[node]] += new[node]
        new[:n_kept] = map(add, new, self.visits[:n_kept])
        tree.visits = np.array(new)
        return tree

    def best_path(self) -> tuple[list[int], np.ndarray]:
        """The nodes of the best branch, a random one of equals, and ``[A]`` weights."""
        node, path, weights = ROOT, list[int](), np.zeros(self.n_actions)
        while self.heights[node]:
            best, _, _ = self.best_branches(node)
            if node == ROOT:
                weights[[self.actions[child] for child in best]] = 1 / len(best)
            node = best[self.rng.integers(len(best))]
            path.append(node)
        ends, gains = self._ends()
        terminated = {end: bool(self.notes[end].terminated) for end in ends}
        end: Any = goal_first(ends, node, gains, self.depths, terminated)  # type: ignore[arg-type]
        if end != node:
            path = self.path_to(end)
            weights = np.zeros(self.n_actions)
            weights[self.actions[path[0]]] = 1.0
        return path, weights

    def best_paths(self) -> list[list[int]]:
        """The paths to the ends, those with the greatest values first."""
        ends, gains = self._ends()
        order = sorted(ends, key=lambda end: (-gains[end], -self.depths[end]))
        return by_first_action(map(self.path_to, order), lambda path: self.actions[path[0]])

    def _ends(self) -> tuple[list[int], dict[int, float]]:
        """The leaves, and the return and value of their paths."""
        ends = [node for node in range(1, self.size) if not self.heights[node]]
        gains = {
            end: self.gains[end] + self.discount ** self.depths[end] * self.values[end]
            for end in ends
        }
        return ends, gains

    def value_of(self, path: list[int]) -> float:
        """The return of a path, plus the value of its end."""
        earned = [self.discount**k * self.rewards[node] for k, node in enumerate(path)]
        return float(sum(earned) + self.discount ** len(path) * self.values[path[-1]])

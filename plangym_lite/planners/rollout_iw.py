"""Rollout IW(1): go where something is new (Bandres, Bonet and Geffner, AAAI 2018).

::

    walk     from the root, by random actions whose branches are not worked off yet
    look     a node reached for the first time must make some feature true at a smaller depth
             than any node before; a node reached again must hold such a record still
    prune    where that fails, or the episode ends, or it gets too deep, the branch is worked off;
             so is a node all of whose children are

The value of a node is that of the best branch below it: of branches with equal return the longest,
for it has been survived the longest. The search ends when the whole tree is
worked off or the simulator calls are spent. What the decision before knew of the subtree is kept:
walking where it has been costs nothing.

``batch_size`` walks go on side by side and are stepped together; 1 is the algorithm as published.
The same generator gives the same plan with any number of workers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.planners.features import Features, features_of
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
from plangym_lite.planners.tree import ROOT, UNKNOWN, Tree, grow_from
from plangym_lite.states.archive import StateArchive
from plangym_lite.transitions import TransitionBatch

__all__ = ["rollout_iw"]

NEVER = np.iinfo(np.int16).max
NOTHING = -10_000  # the key of branches that earned nothing: less than any power of two
DEATHS = 10  # a life lost counts as so many lost points


class Note(NamedTuple):
    """What is known of a node besides its row."""

    features: np.ndarray
    weights: np.ndarray | None  # [A] how likely a walk takes each action; None: equally


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
    tree: Tree | None = None,
    archive: StateArchive | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput:
    """Plan one decision from ``state``; the environment's own current state stays put.

    Args:
        env: an environment with discrete actions.
        state: where to plan from.
        budget: simulator calls for this decision; fewer where the tree is worked off before.
        max_depth: how many steps ahead a walk goes.
        batch_size: walks that go on side by side.
        discount: of a reward one step later, between 0 and 1.
        features: see :func:`~plangym_lite.planners.features.features_of`.
        risk_aversion: factor on negative rewards, 1: none. If it is greater than 1, a life lost
            (``info["lost_life"]``) counts as ten lost points. 50,000 is the published choice.
        subtables: whether novelty is judged among branches with equally much reward only: by the
            power of two of their sums.
        value_fn: says what the end of a branch is worth; nothing, if left out.
        policy_fn: says how likely a walk takes each action; equally, if left out.
        tree: ``search`` of the decision before: what it knows of ``state`` is kept.
        archive: where a new tree keeps its states, in little memory; ``None``: in an array.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the one source of randomness.

    Returns:
        The plan: the best branch, one of them where several are as good; ``value`` is its
        discounted return, risk aversion included; ``action_weights`` are equal among the best
        actions; ``search`` is the :class:`Tree`.

    Raises:
        TypeError: the actions are not discrete, the observations have no features, or ``rng``
            is not a generator.
        ValueError: an option is out of range.
    """
    first, n_actions = check_discrete(env, "rollout_iw")
    check_options(discount, {"budget": budget, "max_depth": max_depth, "batch_size": batch_size})
    if risk_aversion < 1:
        raise ValueError(f"risk_aversion must be at least 1, got {risk_aversion}")
    looks, simulator = (
        features_of(env.observation_space, features),
        Simulator(env, rng, on_batch),
    )

    def note(observs: Any, states: Any) -> list[Note]:
        weights: Any = [None] * len(states)
        if policy_fn is not None:
            weights = policies_at(observs, states, policy_fn, n_actions)
        return [Note(*pair) for pair in zip(looks.of(observs), weights, strict=True)]

    tree = grow_from(tree, state, n_actions, budget, archive)
    if tree.notes[ROOT] is None:
        tree.notes[ROOT] = note(simulator.look(state), tree.states[:1])[0]
    search = Lookahead(tree, looks.size, max_depth, subtables, rng)
    while simulator.calls < budget and not search.solved[ROOT]:
        leaves = search.walk(min(batch_size, budget - simulator.calls))
        if leaves:
            out = expand(tree, leaves, simulator, risk_aversion)
            for leaf, known in zip(leaves, note(out.observs, out.states), strict=True):
                tree.notes[leaf] = known
            if value_fn is not None:
                tree.values[leaves] = values_after(out, value_fn)
            backward(tree, leaves, discount)
            search.arrive(leaves)
    tree.simulator_calls, tree.frames = simulator.calls, simulator.frames
    return decide(tree, first, discount, rng)


class Lookahead:
    """The walks of one decision, and what they found new.

    Args:
        tree: where they walk; each node with a :class:`Note`.
        n_features: how many features there are.
        max_depth: of a walk.
        subtables: whether novelty is judged among branches of similar reward.
        rng: decides which way they go.
    """

    def __init__(
        self, tree: Tree, n_features: int, max_depth: int, subtables: bool, rng: np.random.Generator
    ) -> None:
        self.tree, self.rng = tree, rng
        self.n_features, self.max_depth, self.subtables = n_features, max_depth, subtables
        self.solved = np.zeros(len(tree.filled), bool)  # nodes whose branches are worked off
        self._seen = np.zeros(len(tree.filled), bool)  # nodes walked to in this decision
        self._sums = np.zeros(len(tree.filled))  # rewards from the root to here
        self._records: dict[int, np.ndarray] = {}  # for each sum: least depth of each feature
        self._fronts: list[int] = []  # where the walks stand that go on
        self._is_novel(ROOT, 0)

    def walk(self, n_walks: int) -> list[int]:
        """Let each walk go on to an action not tried, or to its end; return the new rows."""
        leaves = []
        fronts, self._fronts = self._fronts, []
        for node in [*fronts, *[ROOT] * (n_walks - len(fronts))][:n_walks]:
            while (action := self._pick(node)) is not None:
                parent, node = node, int(self.tree.children[node, action])
                if node == UNKNOWN:
                    leaves.append(self.tree.add(parent, action))
                    break
                if not self._is_open(node):
                    break
        return leaves

    def arrive(self, leaves: list[int]) -> None:
        """Look at the new nodes: the walks that found something new go on from there."""
        self._fronts = [leaf for leaf in leaves if self._is_open(leaf)]

    def _pick(self, node: int) -> int | None:
        """An action whose branch is neither worked off nor on its way, if there is one."""
        children = self.tree.children[node]
        unknown = children == UNKNOWN
        ways = np.flatnonzero(unknown | (self.tree.filled[children] & ~self.solved[children]))
        weights = self.tree.notes[node].weights
        if ways.size and weights is not None and weights[ways].any():
            return int(self.rng.choice(ways, p=weights[ways] / weights[ways].sum()))
        return int(ways[self.rng.integers(ways.size)]) if ways.size else None

    def _is_open(self, node: int) -> bool:
        """Whether a walk goes on from here; if not, the branch is worked off."""
        tree, depth = self.tree, self.tree.depths[node]
        if tree.ended[node] or depth >= self.max_depth or not self._is_novel(node, depth):
            self._close(node)
        return not self.solved[node]

    def _is_novel(self, node: int, depth: int) -> bool:
        features = self.tree.notes[node].features
        if node != ROOT and not self._seen[node]:
            self._sums[node] = self._sums[self.tree.parents[node]] + self.tree.rewards[node]
        records = self._table(self._sums[node])
        if self._seen[node]:
            return bool((records[features] == depth).any())
        self._seen[node] = True
        features = features[records[features] > depth]
        records[features] = depth
        return features.size > 0

    def _table(self, reward: float) -> np.ndarray:
        """``[F]`` the least depth of each feature, where so much was earned on the way."""
        key = int(np.frexp(reward)[1]) if self.subtables and reward > 0 else NOTHING
        if key not in self._records:
            self._records[key] = np.full(self.n_features, NEVER, np.int16)
        return self._records[key]

    def _close(self, node: int) -> None:
        """Mark a branch as worked off, and those above it that are so by that."""
        tree = self.tree
        self.solved[node] = True
        while (node := int(tree.parents[node])) != UNKNOWN:
            children = tree.children[node]
            if not ((children != UNKNOWN) & self.solved[children]).all():
                break
            self.solved[node] = True


def expand(
    tree: Tree, leaves: list[int], simulator: Simulator, risk_aversion: float
) -> TransitionBatch:
    """Step to the new rows, all in one batch."""
    rows = np.array(leaves)
    first = int(simulator.env.action_space.start)  # type: ignore[attr-defined]
    out = simulator.step(first + tree.actions[rows], tree.states[tree.parents[rows]])
    rewards = out.rewards
    if risk_aversion > 1:
        deaths = np.array([info.get("lost_life", False) for info in out.infos])
        losses = np.minimum(rewards, 0) - DEATHS * deaths
        rewards = np.maximum(rewards, 0) + risk_aversion * losses
    tree.states[rows] = out.states
    tree.rewards[rows] = rewards
    tree.ended[rows] = out.terminateds | out.truncateds
    tree.filled[rows] = True
    return out


def backward(tree: Tree, leaves: list[int], discount: float) -> None:
    """Count each leaf above it; carry the best branch up as far as that changes anything."""
    for leaf in leaves:
        tree.visits[tree.path(leaf)] += 1
        node = int(tree.parents[leaf])
        while node != UNKNOWN:
            best, returns = best_branches(tree, node, discount)
            child = tree.children[node, best[0]]
            known = returns[best[0]], tree.heights[child] + 1
            if known == (tree.values[node], tree.heights[node]):
                break
            tree.values[node], tree.heights[node] = known
            node = int(tree.parents[node])


def best_branches(tree: Tree, node: int, discount: float) -> tuple[np.ndarray, np.ndarray]:
    """The actions with the best branches, and ``[A]`` their returns; -inf where not tried."""
    children = tree.children[node]
    returns = tree.rewards[children] + discount * tree.values[children]
    returns[children == UNKNOWN] = -np.inf
    ties = np.flatnonzero(returns == returns.max())
    heights = tree.heights[children[ties]]
    return ties[heights == heights.max()], returns


def decide(tree: Tree, first: int, discount: float, rng: np.random.Generator) -> PlanOutput:
    """The best branch; of branches that are equally good and long any."""
    plan: list[int] = []
    node, weights = ROOT, np.zeros(tree.children.shape[1])
    while (tree.children[node] != UNKNOWN).any():
        best, returns = best_branches(tree, node, discount)
        if node == ROOT:
            weights[best], value = 1 / best.size, float(returns.max())
        plan.append(int(best[rng.integers(best.size)]))
        node = int(tree.children[node, plan[-1]])
    return PlanOutput(first + plan[0], [first + action for action in plan], value, weights, tree)

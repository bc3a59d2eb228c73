"""Walks down one tree: UCT, or PUCT with priors. ``A`` denotes the number of actions."""

from __future__ import annotations

from array import array
from bisect import insort
from itertools import pairwise
from math import inf, log, nan, sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np

from plangym_lite.planners.simulator import PolicyFn
from plangym_lite.planners.tree import ROOT, UNKNOWN, WORST, GrowingTree, Start, Tree, whole_numbers

__all__ = ["GameWalks", "Rules", "Walks", "policies_at"]

LOGS = [0.0]  # of whole numbers; that of 0 counts as that of 1
UNTRIED = -2  # minus the action: an entry of ``slots``


class Rules(NamedTuple):
    """The parameters of walks."""

    max_depth: int  # of the tree
    discount: float  # of a reward one step later
    exploration: float  # weight of the exploration bonus
    rng: np.random.Generator  # breaks ties


class Walks(GrowingTree):
    """A tree grown by UCT.

    A pending simulation counts as a loss (virtual loss): it is in ``chosen``, not in ``visits``.
    """

    columns: ClassVar[dict[str, Any]] = {
        **GrowingTree.columns,
        "chosen": 0,
        "through": 0,
        "returns": 0.0,
        "untried": None,
        "children": (),
        "ready": None,
        "ranked": None,
        "weights": 0.0,
        "priors": None,
        "slots": None,
    }
    chosen: list[int]  # walks through the node, including pending ones
    through: list[int]  # those of them that continued below it
    returns: Any  # of the step to the node and all later ones
    untried: list[list[int] | None]  # None: all actions
    children: list[Any]  # lists, in the order of actions if all are tried
    ready: list[list[int] | None]  # visited children; None: some actions are untried
    ranked: list[list[int] | None]  # the same of nodes with priors
    weights: list[float]  # of the node among its siblings, with priors
    priors: list[list[float] | None]
    slots: list[list[int]]  # children by action, with priors

    def __init__(self, n_actions: int, start: Start, rules: Rules) -> None:
        super().__init__(n_actions, start)
        self.max_depth, self.discount, self.exploration, self.rng = rules
        self.draw = whole_numbers(self.rng)
        self._untried = list(range(UNTRIED, UNTRIED - n_actions, -1))  # slots without children
        self.low, self.span = 0.0, 1.0  # the bounds of returns in the tree
        self.bad: list[int] = []  # nodes whose reward was not finite
        self.chosen = list(self.visits)
        pairs = zip(self.rewards, self.values, strict=True)
        self.returns = array("d", [reward + self.discount * value for reward, value in pairs])
        known = self.notes[: self.size]
        self.notes[: self.size] = [None] * self.size
        for node, note in enumerate(known):
            if note is not None:
                self.set_policy([node], *(None if part is None else part[None] for part in note))
        for node in range(1, self.size):
            self.through[self.parents[node]] += self.visits[node]
            self._link(node)
            self._make_ready(node)

    def set_policy(
        self, nodes: list[int], priors: np.ndarray | None, legal: np.ndarray | None
    ) -> None:
        """Enter the priors of the actions of nodes, and which are legal: ``[B, A]`` each."""
        for row, node in enumerate(nodes):
            prior = None if priors is None else priors[row]
            self.notes[node] = prior, None if legal is None else legal[row]
        if legal is not None:
            ends = legal.sum(1).cumsum().tolist()
            actions = legal.nonzero()[1].tolist()
            for node, start, end in zip(nodes, [0, *ends], ends, strict=False):
                self.untried[node] = actions[start:end]
        if priors is not None:
            weights = self.exploration * priors
            if legal is not None:
                weights = np.where(legal, weights, nan)  # never the greatest
            for node, row in zip(nodes, weights.tolist(), strict=True):
                self.priors[node], self.slots[node] = row, self._untried.copy()
        for node in nodes:
            if self.children[node]:  # of a tree that was kept
                below, self.children[node], self.ready[node] = self.children[node], [], None
                if legal is None:
                    self.untried[node] = None
                for child in below:
                    self._link(child)

    def set_root_weights(self, priors: np.ndarray) -> None:
        """Replace the weights of the root's actions."""
        mixed = self.priors[ROOT] = priors.tolist()
        for child in self.children[ROOT]:
            self.weights[child] = mixed[self.actions[child]]

    def _link(self, node: int) -> None:
        """Add a node to its parent."""
        parent, action = self.parents[node], self.actions[node]
        untried, below = self.untried[parent], self.children[parent]
        if untried is None:
            untried = self.untried[parent] = list(range(self.n_actions))
        if not below:
            below = self.children[parent] = []
        untried.remove(action)
        below.append(node)
        priors = self.priors[parent]
        if priors is not None:
            self.slots[parent][action], self.weights[node] = node, priors[action]
        if not untried and self.depths[parent] < self.max_depth:
            below.sort(key=self.actions.__getitem__)
            ready = self.ready if priors is None else self.ranked
            ready[parent] = [child for child in below if self.visits[child]]

    def _make_ready(self, node: int) -> None:
        """Let walks choose a node that is visited for the first time."""
        parent = self.parents[node]
        ready = self.ready[parent]
        if ready is None:
            ready = self.ranked[parent]
        if node != ROOT and ready is not None and node not in ready:
            insort(ready, node, key=self.actions.__getitem__)

    def add(self, parent: int, action: int) -> int:
        node = super().add(parent, action)
        self._link(node)
        return node

    def select(self, size: int) -> list[list[int]]:
        """Up to ``size`` paths from the root to new nodes, or to old ones that cannot grow."""
        paths = []
        self.find_bounds()
        for _ in range(size):
            path = [ROOT]
            if not self.walk(path):  # everything below is pending: run this batch first
                for parent, node in pairwise(path):
                    self.through[parent] -= 1
                    self.chosen[node] -= 1
                break
            paths.append(path)
        return paths

    def find_bounds(self) -> None:
        """The least and the greatest mean return of any action in the tree."""
        if self.size > 1:
            # no add() while this exists
            returns = np.frombuffer(self.returns, count=self.size - 1, offset=self.returns.itemsize)
            for node in self.bad:  # walked again only where there is nothing else
                self.returns[node] = WORST
            if self.bad and not len(returns := returns[returns > WORST]):
                return
            self.low = float(returns.min())
            self.span = float(returns.max()) - self.low or 1.0

    def walk(self, path: list[int]) -> bool:
        """Append a walk from the last node of ``path``, and count it; the main cost of a search.

        ``False``: all nodes below the last one are pending.
        """
        while True:
            self.descend(path)
            node = path[-1]
            if self.ended[node] or self.depths[node] >= self.max_depth:
                return True
            child = self.grow(node)
            if child == UNKNOWN:
                return not self.children[node]
            path.append(child)
            self.through[node] += 1
            self.chosen[child] += 1
            if not self.visits[child]:
                return True

    def descend(self, path: list[int]) -> None:
        """Append the children with the best scores, as far as all actions are tried."""
        while True:
            if self.ready[path[-1]]:
                self._by_bonus(path)
            elif self.ranked[path[-1]]:
                self._by_priors(path)
            else:
                return

    def grow(self, node: int) -> int:
        """A new child, or one with a better score than that; ``UNKNOWN``: all are pending."""
        if self.priors[node] is not None:
            return self._puct(node)
        ways = self.untried[node]
        count = self.n_actions if ways is None else len(ways)
        if not count:
            return UNKNOWN
        pick = self.draw(count) if count > 1 else 0
        return self.add(node, pick if ways is None else ways[pick])

    def _by_bonus(self, path: list[int]) -> None:
        """``descend`` through nodes without priors (UCT)."""
        visits, chosen, returns = self.visits, self.chosen, self.returns
        low, span, weight, root, logs = self.low, self.span, self.exploration, sqrt, LOGS
        ready, through, node = self.ready, self.through, path[-1]
        while len(logs) <= through[node]:
            logs.append(log(len(logs)))
        while below := ready[node]:
            count = through[node]
            through[node] = count + 1
            curiosity, best, ties = logs[count], -inf, None
            for child in below:
                score, often, count = (returns[child] - low) / span, chosen[child], visits[child]
                if often > count:  # pending walks count as losses
                    score *= count / often
                score += weight * root(curiosity / often)
                if score > best:
                    best, node, ties = score, child, None
                elif score == best:
                    ties = [node, child] if ties is None else [*ties, child]
            if ties is not None:
                node = ties[self.draw(len(ties))]
            chosen[node] += 1
            path.append(node)

    def _by_priors(self, path: list[int]) -> None:
        """``descend`` through nodes with priors (PUCT)."""
        visits, chosen, returns, weights = self.visits, self.chosen, self.returns, self.weights
        low, span, ranked, through, root = self.low, self.span, self.ranked, self.through, sqrt
        node = path[-1]
        while below := ranked[node]:
            through[node] = count = through[node] + 1
            curiosity, best, ties = root(count), -inf, None
            for child in below:
                score, often, count = (returns[child] - low) / span, chosen[child], visits[child]
                if often > count:  # pending walks count as losses
                    score *= count / often
                score += weights[child] * curiosity / (1 + often)
                if score > best:
                    best, node, ties = score, child, None
                elif score == best:
                    ties = [node, child] if ties is None else [*ties, child]
            if ties is not None:
                node = ties[self.draw(len(ties))]
            chosen[node] += 1
            path.append(node)

    def _puct(self, node: int) -> int:
        """The child with the best score by priors, a new one for an untried action; else -1."""
        visits, chosen, returns = self.visits, self.chosen, self.returns
        low, span, priors = self.low, self.span, self.priors[node] or []
        curiosity = sqrt(self.through[node] + 1)
        best, winner, ties = -inf, UNKNOWN, None
        expected = (self.values[node] - low) / span
        for action, child in enumerate(self.slots[node]):
            if child < 0:
                score = expected + priors[action] * curiosity
            else:
                count = visits[child]
                if not count:
                    continue
                score, often = (returns[child] - low) / span, chosen[child]
                if often > count:
                    score *= count / often
                score += priors[action] * curiosity / (1 + often)
            if score > best:
                best, winner, ties = score, child, None
            elif score == best:
                ties = [winner, child] if ties is None else [*ties, child]
        if ties is not None:
            winner = ties[self.draw(len(ties))]
        return winner if winner > UNTRIED else self.add(node, UNTRIED - winner)

    def backward(self, path: list[int], value: float) -> None:
        """Back up a leaf's return to all nodes above it."""
        visits, values, rewards = self.visits, self.values, self.rewards
        returns, discount = self.returns, self.discount
        if not visits[path[-1]]:
            self._make_ready(path[-1])
        for node in reversed(path):
            visits[node] = count = visits[node] + 1
            mean = values[node]
            values[node] = mean = mean + (value - mean) / count
            reward = rewards[node]
            returns[node] = reward + discount * mean
            value = reward + discount * value

    def is_solved(self) -> bool:
        """Whether more walks would change nothing."""
        return False


class GameWalks(Walks):
    """A tree of two players in turn, each with the rewards of its own moves.

    Exact values are backed up: a position is proven when all its moves are; or, if only moves that
    end the game have rewards, as soon as one of them wins (has an exact return above 0). Proven
    moves are not walked again; the best of them is a lower bound of the position's value.
    """

    columns: ClassVar[dict[str, Any]] = {**Walks.columns, "proven": nan, "floor": -inf}
    proven: list[float]  # exact values; nan if unknown
    floor: list[float]  # the best of the proven moves

    def __init__(self, n_actions: int, start: Start, rules: Rules) -> None:
        super().__init__(n_actions, start, rules)
        self._has_scores = False  # whether moves that do not end the game have rewards
        self._look_for_scores(self.rewards[: self.size], self.ended)
        for node in range(self.size)[::-1]:
            if self.ended[node]:
                self.prove(node, 0.0)

    def enter(self, nodes: list[int], states: Any, rewards: list[float], ended: list[bool]) -> None:
        super().enter(nodes, states, rewards, ended)
        self._look_for_scores(rewards, ended)

    def _look_for_scores(self, rewards: list[float], ended: list[bool]) -> None:
        pairs = zip(rewards, ended, strict=False)
        self._has_scores = self._has_scores or any(reward and not end for reward, end in pairs)

    def prove(self, node: int, value: float) -> None:
        """Enter the exact value of a node, and the values above it that follow."""
        while self.proven[node] != self.proven[node]:
            self.proven[node] = self.values[node] = value
            self.returns[node] = gain = self.rewards[node] + self.discount * value
            parent = self.parents[node]
            if parent == UNKNOWN:
                return
            self.children[parent].remove(node)
            for ready in self.ready[parent], self.ranked[parent]:
                if ready is not None and node in ready:
                    ready.remove(node)
            priors = self.priors[parent]
            if priors is not None:
                priors[self.actions[node]] = nan
            self.floor[parent] = max(self.floor[parent], gain)
            is_open = self.untried[parent] or self.children[parent]
            if is_open and (gain <= 0 or self._has_scores):
                return
            node, value = parent, self.floor[parent]

    def backward(self, path: list[int], value: float) -> None:
        if not self.visits[path[-1]]:
            self._make_ready(path[-1])
        if self.ended[path[-1]]:
            self.prove(path[-1], 0.0)
        for node in reversed(path):
            self.visits[node] += 1
            if self.proven[node] == self.proven[node]:
                value = self.proven[node]
            else:
                value = max(value, self.floor[node])
                self.values[node] += (value - self.values[node]) / self.visits[node]
            reward = self.rewards[node]
            self.returns[node] = reward + self.discount * self.values[node]
            value = reward + self.discount * value

    def is_solved(self) -> bool:
        return self.proven[ROOT] == self.proven[ROOT]

    def table(self, simulator_calls: int, frames: int) -> Tree:
        tree = super().table(simulator_calls, frames)
        tree.proven = np.array(self.proven[: self.size])
        return tree


def policies_at(
    observs: Any, states: np.ndarray, policy_fn: PolicyFn, n_actions: int
) -> np.ndarray:
    """``[B, A]`` the result of ``policy_fn``, scaled to sum 1.

    Raises:
        ValueError: it is not one number of at least 0 per action, with a positive sum.
    """
    weights = np.asarray(policy_fn(observs, states), float)
    if weights.shape != (len(states), n_actions):
        raise ValueError(
            f"policy_fn must return shape {(len(states), n_actions)}, got {weights.shape}"
        )
    sums = weights.sum(1)
    totals = sums.tolist()
    if totals and not (weights.min() >= 0 and min(totals) > 0 and max(totals) < inf):
        raise ValueError("policy_fn must return weights of at least 0, one in each row above 0")
    return weights / sums[:, None]

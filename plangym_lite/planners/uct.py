"""Walks down one tree by value and curiosity: UCT, or PUCT where actions were judged.

Plain Python on lists: a walk on CartPole takes 15 to 30 microseconds of this. ``A`` denotes the
number of actions.
"""

from __future__ import annotations

from array import array
from math import inf, log, nan, sqrt
from typing import NamedTuple

import numpy as np

from plangym_lite.planners.tree import ROOT, UNKNOWN, Growth, Start, Tree

__all__ = ["GameWalks", "Rules", "Walks"]


class Rules(NamedTuple):
    """How walks go."""

    max_depth: int  # of the tree
    discount: float  # of a reward one step later
    exploration: float  # weight of what was visited little
    rng: np.random.Generator  # decides between equals


class Walks(Growth):
    """A tree as UCT grows it.

    A simulation on its way counts as a loss (virtual loss): it is in ``chosen``, not in ``visits``.
    """

    def __init__(self, n_actions: int, start: Start, rules: Rules) -> None:
        super().__init__(n_actions, start)
        self.max_depth, self.discount, self.exploration, self.rng = rules
        self.low, self.span = 0.0, 1.0  # the bounds of returns in the tree
        size = len(self.visits)
        self.chosen = list(self.visits)  # walks through the node, those on their way included
        self.through = [0] * size  # those of them that went on below it
        pairs = zip(self.rewards, self.values, strict=True)
        returns = (reward + self.discount * value for reward, value in pairs)
        self.returns = array("d", returns)  # of the step that leads to the node and what follows
        self.untried: list[list[int] | None] = [None] * size  # None: all actions
        self.children: list[list[int]] = [[] for _ in range(size)]
        self.priors: list[list[float] | None] = [None] * size
        self.slots: list[list[int]] = [[] for _ in range(size)]  # children by action, with priors
        known, self.notes = self.notes, [None] * size
        for node, note in enumerate(known):
            if note is not None:
                self.know(node, *note)
        for node in range(1, size):
            self.through[self.parents[node]] += self.visits[node]
            self._hang(node)

    def know(self, node: int, priors: np.ndarray | None, legal: np.ndarray | None) -> None:
        """Enter how promising the actions of a node are, and which are legal: ``[A]`` each."""
        if priors is None and legal is None:
            return
        self.notes[node] = priors, legal
        if legal is not None:
            self.untried[node] = np.flatnonzero(legal).tolist()
        if priors is not None:
            weights = self.exploration * priors
            if legal is not None:
                weights = np.where(legal, weights, nan)  # is never the greatest
            self.priors[node] = weights.tolist()
            self.slots[node] = [UNKNOWN] * self.n_actions

    def _hang(self, node: int) -> None:
        """Put a node below its parent."""
        parent, action = self.parents[node], self.actions[node]
        untried, below = self.untried[parent], self.children[parent]
        if untried is None:
            untried = self.untried[parent] = list(range(self.n_actions))
        untried.remove(action)
        below.append(node)
        if not untried:
            below.sort(key=self.actions.__getitem__)
        if self.priors[parent] is not None:
            self.slots[parent][action] = node

    def add(self, parent: int, action: int) -> int:
        node = super().add(parent, action)
        self.chosen.append(0)
        self.through.append(0)
        self.returns.append(0.0)
        self.untried.append(None)
        self.children.append([])
        self.priors.append(None)
        self.slots.append([])
        self._hang(node)
        return node

    def select(self, size: int) -> list[list[int]]:
        """Up to ``size`` paths from the root to new nodes, or to old ones that cannot grow."""
        paths = []
        self.find_bounds()
        for _ in range(size):
            path = self.walk(ROOT, self.max_depth)
            if path is None:  # everything below is on its way: work off this batch first
                break
            for node in path:
                self.chosen[node] += 1
                self.through[node] += 1
            self.through[path[-1]] -= 1
            paths.append(path)
        return paths

    def find_bounds(self) -> None:
        """The least and the greatest mean return of any action in the tree."""
        if len(self.returns) > 1:
            returns = np.frombuffer(self.returns)[1:]  # the array cannot grow while this lives
            self.low = float(returns.min())
            self.span = float(returns.max()) - self.low or 1.0

    def walk(self, node: int, max_depth: int) -> list[int] | None:
        """One way down from ``node``, which is most of what a search costs.

        ``None``: all below a node are on their way.
        """
        ended, depths, untried, priors = self.ended, self.depths, self.untried, self.priors
        visits, chosen, returns, through = self.visits, self.chosen, self.returns, self.through
        low, span, weight = self.low, self.span, self.exploration
        children, rng, path = self.children, self.rng, [node]
        while depths[node] < max_depth and not ended[node]:
            if priors[node] is not None:
                child = self._puct(node)
                if child < UNKNOWN:
                    path.append(self.add(node, -2 - child))
                    return path
            elif (ways := untried[node]) or ways is None:
                count = self.n_actions if ways is None else len(ways)
                pick = int(rng.integers(count)) if count > 1 else 0
                path.append(self.add(node, pick if ways is None else ways[pick]))
                return path
            else:
                curiosity, best, child, ties = log(through[node] or 1), -inf, UNKNOWN, None
                for other in children[node]:
                    count = visits[other]
                    if count:
                        often = chosen[other]
                        score = (returns[other] - low) / span * count / often
                        score += weight * sqrt(curiosity / often)
                        if score > best:
                            best, child, ties = score, other, None
                        elif score == best:
                            ties = [child, other] if ties is None else [*ties, other]
                if ties is not None:
                    child = ties[rng.integers(len(ties))]
            if child == UNKNOWN:
                return None
            node = child
            path.append(node)
        return path

    def _puct(self, node: int) -> int:
        """The child with the best score; ``-2 - action`` for one not tried yet; else -1."""
        visits, chosen, returns = self.visits, self.chosen, self.returns
        low, span, priors = self.low, self.span, self.priors[node] or []
        curiosity = sqrt(self.through[node] + 1)
        best, winner, ties = -inf, UNKNOWN, None
        expected = (self.values[node] - low) / span
        for action, child in enumerate(self.slots[node]):
            if child < 0:
                score, child = expected + priors[action] * curiosity, -2 - action
            else:
                count = visits[child]
                if not count:
                    continue
                often = chosen[child]
                score = (returns[child] - low) / span * count / often
                score += priors[action] * curiosity / (1 + often)
            if score > best:
                best, winner, ties = score, child, None
            elif score == best:
                ties = [winner, child] if ties is None else [*ties, child]
        return winner if ties is None else ties[self.rng.integers(len(ties))]

    def backward(self, path: list[int], value: float) -> None:
        """Average a leaf's return into all nodes above it."""
        visits, values, rewards = self.visits, self.values, self.rewards
        returns, discount = self.returns, self.discount
        for node in reversed(path):
            visits[node] = count = visits[node] + 1
            mean = values[node]
            values[node] = mean = mean + (value - mean) / count
            reward = rewards[node]
            returns[node] = reward + discount * mean
            value = reward + discount * value

    def is_solved(self) -> bool:
        """Whether more walks would tell nothing."""
        return False


class GameWalks(Walks):
    """A tree of two players in turn, each paid by the rewards of its own moves.

    What is known for certain is carried up: a position is proven as soon as a move wins from it
    (earns more than 0 with what follows), or all its moves are proven. Proven moves are not walked
    again; that one of them could be chosen is the least that a position is worth.
    """

    def __init__(self, n_actions: int, start: Start, rules: Rules) -> None:
        super().__init__(n_actions, start, rules)
        self.proven = [nan] * len(self.visits)  # exact values; nan where they are not known
        self.floor = [-inf] * len(self.visits)  # the best of the proven moves
        for node in range(len(self.visits))[::-1]:
            if self.ended[node]:
                self.prove(node, 0.0)

    def add(self, parent: int, action: int) -> int:
        self.proven.append(nan)
        self.floor.append(-inf)
        return super().add(parent, action)

    def prove(self, node: int, value: float) -> None:
        """Enter the exact value of a node, and what follows above it."""
        while self.proven[node] != self.proven[node]:
            self.proven[node] = self.values[node] = value
            self.returns[node] = gain = self.rewards[node] + self.discount * value
            parent = self.parents[node]
            if parent == UNKNOWN:
                return
            self.children[parent].remove(node)
            priors = self.priors[parent]
            if priors is not None:
                priors[self.actions[node]] = nan
            self.floor[parent] = max(self.floor[parent], gain)
            if gain <= 0 and (self.untried[parent] or self.children[parent]):
                return
            node, value = parent, self.floor[parent]

    def backward(self, path: list[int], value: float) -> None:
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
        tree.proven = np.array(self.proven)
        return tree

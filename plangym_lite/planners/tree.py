"""Tree: a search tree as a table of arrays, one row for each node.

``N`` denotes the number of rows, ``A`` the number of actions. Row 0 is the root. A row is taken
when a node is chosen for expansion and filled when the simulator has answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from plangym_lite.states.archive import StateArchive
from plangym_lite.states.column import StateColumn

__all__ = ["ROOT", "UNKNOWN", "Tree", "grow_from", "room_for"]

ROOT = 0
UNKNOWN = -1
KEPT = ("rewards", "ended", "filled", "visits", "values", "heights", "notes")
"""Columns that mean the same in a subtree."""


@dataclass(eq=False, repr=False)
class Tree:
    """A search tree, and what it cost."""

    states: np.ndarray | StateColumn
    """``[N, S]`` the state of each node; ``[N]`` of objects where states are opaque."""
    children: np.ndarray
    """``[N, A]`` rows of the children; ``UNKNOWN`` where an action was not tried."""
    parents: np.ndarray
    """``[N]`` row of the parent; ``UNKNOWN`` for the root."""
    actions: np.ndarray
    """``[N]`` index of the action that led here."""
    depths: np.ndarray
    """``[N]`` steps from the root."""
    rewards: np.ndarray
    """``[N]`` reward of the step that led here."""
    ended: np.ndarray
    """``[N]`` whether the episode is over here."""
    filled: np.ndarray
    """``[N]`` whether the simulator has answered: state, reward and end are known."""
    visits: np.ndarray
    """``[N]`` simulations that went through the node and are finished."""
    pending: np.ndarray
    """``[N]`` simulations that went through the node and are still running."""
    values: np.ndarray
    """``[N]`` mean discounted return from the node on."""
    heights: np.ndarray
    """``[N]`` steps of the best branch below the node; 0 where a planner does not count them."""
    notes: np.ndarray
    """``[N]`` of objects: what else a planner knows of each node; ``None`` where nothing."""
    size: int = 0
    """Rows taken."""
    simulator_calls: int = 0
    """Rows stepped by the simulator for this search, rollouts included."""
    frames: int = 0
    """Simulator steps run for this search."""

    def __repr__(self) -> str:
        return f"Tree(size={self.size}, visits={self.visits[ROOT]}, frames={self.frames})"

    @classmethod
    def empty(
        cls, capacity: int, n_actions: int, state: Any, archive: StateArchive | None = None
    ) -> Tree:
        """Room for ``capacity`` nodes whose states look like ``state``, kept in ``archive``."""
        return cls(
            states=room_for(capacity, state, archive),
            children=np.full((capacity, n_actions), UNKNOWN),
            parents=np.full(capacity, UNKNOWN),
            actions=np.full(capacity, UNKNOWN),
            depths=np.zeros(capacity, int),
            rewards=np.zeros(capacity),
            ended=np.zeros(capacity, bool),
            filled=np.zeros(capacity, bool),
            visits=np.zeros(capacity, int),
            pending=np.zeros(capacity, int),
            values=np.zeros(capacity),
            heights=np.zeros(capacity, int),
            notes=np.full(capacity, None),
        )

    def add(self, parent: int, action: int) -> int:
        """Take a row for the child of ``parent`` by ``action``."""
        node, self.size = self.size, self.size + 1
        self.parents[node], self.actions[node] = parent, action
        if parent != UNKNOWN:
            self.children[parent, action] = node
            self.depths[node] = self.depths[parent] + 1
        return node

    def path(self, node: int) -> list[int]:
        """The nodes from ``node`` up to the root."""
        path = [node]
        while (node := int(self.parents[node])) != UNKNOWN:
            path.append(node)
        return path

    def action_visits(self, node: int) -> np.ndarray:
        """``[A]`` finished simulations through each action of ``node``; 0 if not tried."""
        children = self.children[node]
        return np.where(children == UNKNOWN, 0, self.visits[children])

    def action_values(self, node: int, discount: float) -> np.ndarray:
        """``[A]`` mean return of each action of ``node``; 0 if not tried."""
        children = self.children[node]
        returns = self.rewards[children] + discount * self.values[children]
        return np.where(children == UNKNOWN, 0.0, returns)

    def bounds(self, discount: float) -> tuple[float, float]:
        """The least and the greatest mean return of any action in the tree."""
        below = slice(ROOT + 1, self.size)
        returns = self.rewards[below] + discount * self.values[below]
        return (float(returns.min()), float(returns.max())) if returns.size else (0.0, 0.0)

    def is_at(self, node: int, state: Any) -> bool:
        """Whether ``state`` is the state of ``node``."""
        known = self.states[node]
        if isinstance(known, np.ndarray):
            return np.array_equal(known, state)
        return bool(known == state)

    def subtree(self, top: int, capacity: int) -> Tree:
        """A tree of its own with ``top`` as root and room for ``capacity`` nodes more."""
        old = [top]
        for node in old:  # grows as it goes: breadth first, so parents come before children
            old += [int(child) for child in self.children[node] if child != UNKNOWN]
        archive = self.states.archive if isinstance(self.states, StateColumn) else None
        tree = Tree.empty(len(old) + capacity, self.children.shape[1], self.states[top], archive)
        new = {node: row for row, node in enumerate(old)}
        for node in old:
            parent = new.get(int(self.parents[node]), UNKNOWN)
            tree.add(parent, int(self.actions[node]))
        for name in KEPT:
            getattr(tree, name)[: len(old)] = getattr(self, name)[old]
        if isinstance(self.states, StateColumn) and isinstance(tree.states, StateColumn):
            tree.states.handles[: len(old)] = self.states.handles[old]
        else:
            tree.states[: len(old)] = self.states[old]
        return tree


def room_for(
    capacity: int, state: Any, archive: StateArchive | None = None
) -> np.ndarray | StateColumn:
    """A column for states like ``state``: an array, or their places in ``archive``.

    Raises:
        TypeError: an archive is given, but states are not arrays.
    """
    if not isinstance(state, np.ndarray):
        if archive is not None:
            raise TypeError(f"an archive keeps states that are arrays, not {type(state).__name__}")
        return np.empty(capacity, object)
    if archive is not None:
        return StateColumn(archive, capacity)
    return np.empty((capacity, *state.shape), state.dtype)


def grow_from(
    before: Tree | None,
    state: Any,
    n_actions: int,
    room: int,
    archive: StateArchive | None = None,
) -> Tree:
    """The subtree of ``before`` that begins at ``state``, or a new tree; with room for more."""
    if before is not None:
        for child in before.children[ROOT].tolist():
            if child != UNKNOWN and not before.ended[child] and before.is_at(child, state):
                return before.subtree(child, room)
    tree = Tree.empty(room + 1, n_actions, state, archive)
    tree.add(UNKNOWN, UNKNOWN)
    tree.states[ROOT], tree.filled[ROOT] = state, True
    return tree

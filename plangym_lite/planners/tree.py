"""Tree: a finished search, a table of arrays; GrowingTree: a running search, in lists.

``N`` denotes the number of nodes, ``A`` the number of actions. Row 0 is the root. A running
search uses lists, because numpy on arrays of four numbers is twenty times slower than Python on
lists of four; the table is made once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from plangym_lite.errors import InvalidStateError
from plangym_lite.states.archive import StateArchive, StateColumn

__all__ = [
    "ROOT",
    "UNKNOWN",
    "WORST",
    "GrowingTree",
    "Start",
    "Tree",
    "count_costs",
    "goal_first",
    "joined",
    "outgrown",
    "parts_of",
    "room_for",
    "stacked",
    "whole_numbers",
    "with_rows",
]

ROOT = 0
UNKNOWN = -1
WORST = -1e300  # less than any return: of rewards that are not finite
SPARE = 128  # rows
ARRAYS = ("parents", "actions", "depths", "rewards", "ended", "visits", "values", "heights")


@dataclass(eq=False, repr=False)
class Tree:
    """A search tree and its cost."""

    states: np.ndarray | StateColumn
    """``[N, S]`` the state of each node, with spare rows at the end; ``[N]`` objects if states are
    opaque."""
    children: np.ndarray
    """``[N, A]`` rows of the children; ``UNKNOWN`` for untried actions."""
    parents: np.ndarray
    """``[N]`` row of the parent; ``UNKNOWN`` for the root."""
    actions: np.ndarray
    """``[N]`` index of the action from the parent."""
    depths: np.ndarray
    """``[N]`` steps from the root."""
    rewards: np.ndarray
    """``[N]`` reward of the step from the parent."""
    ended: np.ndarray
    """``[N]`` whether the episode has ended."""
    visits: np.ndarray
    """``[N]`` simulations that went through the node."""
    values: np.ndarray
    """``[N]`` mean discounted return from the node."""
    heights: np.ndarray
    """``[N]`` steps of the best branch below the node; 0 if a planner does not count them."""
    notes: list[Any]
    """For each node further data of a planner, or ``None``."""
    simulator_calls: int = 0
    """Rows stepped by the simulator for this search, rollouts included."""
    frames: int = 0
    """Simulator steps run for this search."""
    proven: np.ndarray | None = None
    """``[N]`` exact values of two players' positions, nan if unknown; ``None``: not a game."""
    drawn: tuple[np.ndarray, np.ndarray] | None = None
    """With ``resample``: ``[N, A]`` visits and mean returns of each action. Then ``children`` are
    the most frequent outcomes, ``visits`` their counts, and ``parents`` has the other outcomes
    too."""

    def __repr__(self) -> str:
        return f"Tree(size={self.size}, visits={self.visits[ROOT]}, frames={self.frames})"

    @property
    def size(self) -> int:
        """``N``."""
        return len(self.parents)

    def action_visits(self, node: int) -> np.ndarray:
        """``[A]`` simulations through each action of ``node``; 0 if not tried."""
        if self.drawn is not None:
            return self.drawn[0][node]
        children = self.children[node]
        return np.where(children == UNKNOWN, 0, self.visits[children])

    def action_values(self, node: int, discount: float) -> np.ndarray:
        """``[A]`` mean return of each action of ``node``; 0 if not tried."""
        if self.drawn is not None:
            return self.drawn[1][node]
        children = self.children[node]
        returns = self.rewards[children] + discount * self.values[children]
        return np.where(children == UNKNOWN, 0.0, returns)

    def is_at(self, node: int, state: Any) -> bool:
        """Whether ``state`` is the state of ``node``."""
        known = self.states[node]
        if isinstance(known, np.ndarray):
            return np.array_equal(known, state)
        return bool(known == state)

    def find(self, state: Any, depth: int) -> int | None:
        """The most visited node ``depth`` steps from the root with this state and no end."""
        rows = np.flatnonzero((self.depths == depth) & ~self.ended)
        for node in rows[np.argsort(-self.visits[rows], kind="stable")].tolist():
            if self.is_at(node, state):
                return node
        return None

    def below(self, top: int) -> list[int]:
        """``top`` and all nodes below it, parents before their children."""
        rows, children = [top], self.children.tolist()
        for node in rows:  # grows as it goes
            rows += [child for child in children[node] if child != UNKNOWN]
        return rows


class Start(NamedTuple):
    """The root of a tree."""

    state: Any
    room: int  # initial number of spare rows
    archive: StateArchive | None = None  # stores the states; None: an array
    before: Tree | None = None  # an earlier search whose subtree of the state is kept
    played: int = 1  # number of actions played since its root


class GrowingTree:
    """A running search: lists with an entry for each node, in the order of their expansion.

    The lists have spare entries; ``size`` is the number of nodes. ``n_actions`` is ``A``.
    """

    columns: ClassVar[dict[str, Any]] = {  # the lists, and the entry of a new node
        "parents": UNKNOWN,
        "actions": UNKNOWN,
        "depths": 0,
        "rewards": 0.0,
        "ended": False,
        "visits": 0,
        "values": 0.0,
        "heights": 0,
        "notes": None,
    }
    parents: list[int]
    actions: list[int]
    depths: list[int]
    rewards: list[float]
    ended: list[bool]
    visits: list[int]
    values: list[float]
    heights: list[int]
    notes: list[Any]

    def __init__(self, n_actions: int, start: Start) -> None:
        self.n_actions, self.size, self._room = n_actions, 1, 0
        for name in self.columns:
            setattr(self, name, [])
        before = start.before
        top = None if before is None else before.find(start.state, start.played)
        if before is None or top is None:
            self._make_room(self.size)
            self.states: Any = room_for(start.room + 1, start.state, start.archive)
            self.states[ROOT] = start.state
        else:
            self._keep(before, top, start.room)

    def _make_room(self, n_nodes: int) -> None:
        """Append ``n_nodes`` entries, and as many spare ones, to all lists."""
        for name, value in self.columns.items():
            getattr(self, name).extend([value] * (n_nodes + SPARE))
        self._room += n_nodes + SPARE

    def _keep(self, before: Tree, top: int, room: int) -> None:
        """Take over ``top`` and the nodes below it."""
        rows = before.below(top)
        archive = before.states.archive if isinstance(before.states, StateColumn) else None
        states: Any = room_for(len(rows) + room, before.states[top], archive)
        if isinstance(before.states, StateColumn):
            states.handles[: len(rows)] = before.states.handles[rows]
        else:
            states[: len(rows)] = before.states[rows]
        self.states, self.size = states, len(rows)
        self._make_room(self.size)
        for name in ("actions", "rewards", "ended", "visits", "values", "heights"):
            getattr(self, name)[: self.size] = getattr(before, name)[rows].tolist()
        new = {row: node for node, row in enumerate(rows)}
        self.parents[1 : self.size] = [new[row] for row in before.parents[rows[1:]].tolist()]
        self.depths[: self.size] = (before.depths[rows] - before.depths[top]).tolist()
        self.notes[: self.size] = [before.notes[row] for row in rows]

    def add(self, parent: int, action: int) -> int:
        """A new node below ``parent``; ``enter`` adds the results of the simulator."""
        node = self.size
        if node == self._room:
            self._make_room(node)
        self.size = node + 1
        self.parents[node], self.actions[node] = parent, action
        self.depths[node] = self.depths[parent] + 1
        return node

    def path_to(self, node: int) -> list[int]:
        """The nodes from the root, exclusive, to ``node``."""
        path = []
        while node != ROOT:
            path.append(node)
            node = self.parents[node]
        return path[::-1]

    def states_before(self, nodes: list[int]) -> Any:
        """``[B, S]`` the states from which ``nodes`` are reached."""
        if len(nodes) == 1:
            row = self.parents[nodes[0]]
            return self.states[row : row + 1]
        rows = [self.parents[node] for node in nodes]
        is_array = isinstance(self.states, np.ndarray)
        return self.states.take(rows, 0) if is_array else self.states[rows]

    def enter(self, nodes: list[int], states: Any, rewards: list[float], ended: list[bool]) -> None:
        """Enter the simulator's results for new nodes."""
        start, stop = nodes[0], nodes[0] + len(nodes)
        rows: Any = slice(start, stop)
        if len(nodes) > 1 and nodes != list(range(start, stop)):
            rows, stop = nodes, max(nodes) + 1
        while stop > len(self.states):
            self.states = more_room(self.states)
        self.states = with_rows(self.states, rows, states)
        for node, reward, end in zip(nodes, rewards, ended, strict=True):
            self.rewards[node], self.ended[node] = reward, end

    def table(self, simulator_calls: int, frames: int) -> Tree:
        """The tree as it is now."""
        size = self.size
        arrays: Any = {name: np.array(getattr(self, name)[:size]) for name in ARRAYS}
        children = np.full((size, self.n_actions), UNKNOWN)
        children[arrays["parents"][1:], arrays["actions"][1:]] = np.arange(1, size)
        return Tree(
            states=self.states,
            children=children,
            notes=self.notes[:size],
            simulator_calls=simulator_calls,
            frames=frames,
            **arrays,
        )


def count_costs(groups: list[tuple[Any, list[int]]], calls: list[int], frames: list[int]) -> None:
    """Count the cost of rows for their trees."""
    for search, _, part in parts_of(groups):
        search.calls += sum(calls[part])
        search.frames += sum(frames[part])


def parts_of(groups: list[tuple[Any, list[int]]]) -> Iterator[tuple[Any, list[int], slice]]:
    """The groups of the rows of a batch, each with the place of its rows."""
    start = 0
    for search, members in groups:
        yield search, members, slice(start, start + len(members))
        start += len(members)


def goal_first(
    paths: Sequence[int] | range,
    chosen: int,
    gains: Sequence[float],
    depths: Sequence[int],
    terminated: Sequence[bool],
) -> int:
    """The path to take, if ``chosen`` has the greatest return.

    If the best terminated path has a negative return, it is only replaced by one with a greater
    return that is at least as long or above 0.
    """
    goals = [path for path in paths if terminated[path]]
    if not goals or terminated[chosen]:
        return chosen
    goal = max(goals, key=lambda path: (gains[path], -depths[path]))
    gain, depth = gains[goal], depths[goal]
    if gain >= 0 or gains[chosen] > 0 or (gains[chosen] > gain and depths[chosen] >= depth):
        return chosen
    better = [path for path in paths if gains[path] > gain and depths[path] >= depth]
    return max(better, key=lambda path: gains[path], default=goal)


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


def stacked(states: Any) -> np.ndarray:
    """``[B, S]`` states, or ``[B]`` objects if one of them is opaque."""
    if all(isinstance(state, np.ndarray) for state in states):
        return np.array(states)
    return _as_objects(states)


def joined(parts: list[Any]) -> np.ndarray:
    """The rows of several columns of states as one."""
    if len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts) if len(parts) > 1 else parts[0]
    return stacked([row for part in parts for row in part])


def _as_objects(states: Any) -> np.ndarray:
    rows = np.empty(len(states), object)
    for row, state in enumerate(states):
        rows[row] = state
    return rows


def with_rows(column: Any, rows: Any, states: np.ndarray) -> Any:
    """A column of states with ``states`` at ``rows``; of objects, once states are opaque.

    Raises:
        InvalidStateError: it is an archive, and they are opaque.
    """
    if states.dtype.hasobject:
        if isinstance(column, StateColumn):
            raise outgrown()
        if column.dtype != object:
            column = _as_objects(column)
    column[rows] = states
    return column


def outgrown() -> InvalidStateError:
    """The error of a search that keeps states in arrays only."""
    return InvalidStateError(
        "states have outgrown the arrays that this search keeps them in: make the environment with "
        "a larger state_capacity"
    )


def more_room(states: Any) -> Any:
    """A column twice as long, with the same states."""
    if isinstance(states, StateColumn):
        larger = StateColumn(states.archive, 2 * len(states))
        larger.handles[: len(states)] = states.handles
        return larger
    more = np.empty((2 * len(states), *states.shape[1:]), states.dtype)
    more[: len(states)] = states
    return more


def whole_numbers(rng: np.random.Generator) -> Callable[[int], int]:
    """``draw(n)``, which equals ``rng.integers(n)`` and leaves ``rng`` in the same state.

    It takes 0.5 microseconds instead of 1.6. Lemire's method, as in numpy; ``n`` is at least 2.
    """
    interface = rng.bit_generator.ctypes
    next_word, state = interface.next_uint32, interface.state

    def draw(n: int) -> int:
        product = next_word(state) * n
        if (product & 0xFFFFFFFF) < n:
            least = (2**32 - n) % n
            while (product & 0xFFFFFFFF) < least:
                product = next_word(state) * n
        return product >> 32

    return draw

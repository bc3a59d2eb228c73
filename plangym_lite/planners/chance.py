"""Chance: whether an environment draws, plans evaluated with other seeds, a tree with new draws.

A state holds its generators, so a planner that steps from it knows the future draws. With
``resample`` each row gets a new seed (``step_batch(..., seeds=)``), from ``rng``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from plangym_lite.planners.simulator import Simulator, ValueFn
from plangym_lite.planners.tree import ROOT, UNKNOWN, Start, Tree, count_costs, goal_first, stacked
from plangym_lite.planners.uct import Rules, Walks
from plangym_lite.transitions import TransitionBatch, map_columns

__all__ = [
    "ChanceWalks",
    "by_first_action",
    "draws",
    "mean_best",
    "reserve",
    "resampled_walks",
    "worst_if_not_finite",
]

PLANS, SEEDS = 8, 16  # plans played at the end, seeds of each; more if plans are short
PROBES = 4  # random actions


def draws(simulator: Simulator, state: Any, info: Any = None) -> bool:
    """Whether the environment draws from its generators, judged by 16 rows (counted).

    Random actions from ``state``, each for 1 and 4 units of ``dt`` (legal ones for 1) and with
    three seeds: results depend on the seed, or bytes of the seed in the state change with the
    duration. If all episodes end at once, only results can tell: then by up to 64 rows.
    """
    masks: Any = simulator.look(state, info)[2]
    masks, held = (None, 4) if masks is None else (masks.repeat(PROBES, 0), 1)
    simulator.resample, before = True, simulator.resample
    try:
        probes = (_probe(simulator, state, masks, held) for _ in range(PROBES))
        return next((found for found in probes if found is not None), False)
    finally:
        simulator.resample = before


def _probe(simulator: Simulator, state: Any, masks: Any, held: int) -> bool | None:
    """Whether 4 actions draw; ``None``: it was not seen, but all rows ended."""
    actions = [action for action in simulator.draw(PROBES, masks) for _ in range(4)]
    seeds = simulator.rng.integers(2**31, size=(PROBES, 3))[:, [0, 0, 1, 2]].ravel().tolist()
    out = simulator.step(actions, [state] * 16, [1, held, held, 1] * PROBES, seeds=seeds)
    keys = outcomes(simulator.env.observation_space, out)
    if any(keys[row] != keys[row + 3] or keys[row + 1] != keys[row + 2] for row in (0, 4, 8, 12)):
        return True
    ended = (out.terminateds | out.truncateds).reshape(PROBES, 4).any(1)
    if out.states.dtype == object or ended.all():
        return None if ended.all() else False
    saved = np.ascontiguousarray(out.states).view(np.uint8).reshape(PROBES, 4, -1)
    by_seed = ((saved[:, 0] != saved[:, 3]) & (saved[:, 1] != saved[:, 2])).all(0)
    return bool(((saved[:, 0] != saved[:, 1])[~ended] & by_seed).any())


def outcomes(space: spaces.Space, out: Any) -> list[tuple[Any, ...]]:
    """``[B]`` keys of outcomes: equal for equal observations, rewards and flags."""
    columns: list[Any] = [out.rewards, out.terminateds, out.truncateds]
    map_columns(columns.append, space, out.observs)
    return list(zip(*map(items_of, columns), strict=True))


def items_of(column: Any) -> list[Any]:
    """``[B]`` values to compare, of a column: the bytes of arrays, texts of objects."""
    if not isinstance(column, np.ndarray):
        return [repr(item) for item in column]
    data, size = column.tobytes(), column.nbytes // max(len(column), 1)
    return [data[row * size : (row + 1) * size] for row in range(len(column))]


def reserve(budget: int, length: int) -> int:
    """The number of calls of ``budget`` for :func:`mean_best`, for plans of ``length``.

    Raises:
        ValueError: ``budget`` is too small.
    """
    if budget < 2 * SEEDS:
        raise ValueError(f"budget must be at least {2 * SEEDS} with resample, got {budget}")
    return min(budget // 2, PLANS * SEEDS * length)


def by_first_action(paths: Iterable[Any], first: Callable[[Any], Any]) -> list[Any]:
    """Paths in the order given, but the first one of each first action before all others.

    Which first actions are compared is then not decided by the luck of single draws.
    """
    leaders: dict[Any, Any] = {}
    others = []
    for path in paths:
        if leaders.setdefault(_key(first(path)), path) is not path:
            others.append(path)
    return [*leaders.values(), *others]


def _key(action: Any) -> Any:
    if isinstance(action, (dict, tuple)):
        return tuple(map(_key, action.values() if isinstance(action, dict) else action))
    return np.asarray(action).tobytes()


def mean_best(
    simulator: Simulator,
    state: Any,
    plans: Iterable[list[Any]],
    discount: float,
    value_fn: ValueFn | None = None,
    *,
    calls: int | None = None,
    held: int = 1,
) -> tuple[list[Any], float]:
    """Play the first 8 different plans with the same 16 seeds; return the best mean's plan, and it.

    A plan that reached a goal in some of the draws is replaced as in :func:`goal_first`.

    ``calls``: maximum number. Plans are cut, and fewer than 8 played, to stay within it; if plans
    are short, all of it is used: the same, but more seeds.
    """
    different: dict[Any, list[Any]] = {}
    for plan in plans:
        different.setdefault(tuple(map(_key, plan)), plan)
        if len(different) == PLANS:
            break
    costs = [-(-len(plan) // held) for plan in different.values()]
    size = SEEDS if calls is None else max(SEEDS, calls // sum(costs))
    left = size * sum(costs) if calls is None else calls
    longest = max(1, left // size) * held
    seeds = simulator.rng.integers(2**31, size=size)
    options = {"discount": discount, "value_fn": value_fn}
    means: list[float] = []
    terminated: list[bool] = []
    for plan in different.values():
        plan = plan[:longest]
        left -= size * -(-len(plan) // held)
        if means and left < 0:
            break
        returns, ends = replay(simulator, state, plan, seeds, held, options)
        means.append(float(returns.mean()))
        terminated.append(bool(ends.any()))
    chosen = [plan[:longest] for plan in different.values()][: len(means)]
    depths = [len(plan) for plan in chosen]
    best = goal_first(range(len(means)), int(np.argmax(means)), means, depths, terminated)
    return chosen[best], means[best]


def replay(
    simulator: Simulator,
    state: Any,
    plan: list[Any],
    seeds: np.ndarray,
    held: int,
    options: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Play a plan with each seed, legal actions only: ``[B]`` returns, and which terminated."""
    states = [state] * len(seeds)
    if simulator.legal_actions is not None:
        lengths = np.full(len(seeds), len(plan))
        return simulator.play_legally(states, lengths, plan=plan, seeds=seeds, **options)[1:3]
    actions: Any = [plan] * len(seeds)
    if not isinstance(simulator.env.action_space, (spaces.Dict, spaces.Tuple)):
        actions = np.array(actions)
    returns, out = simulator.play(actions, states, held=held, seeds=seeds.tolist(), **options)
    return returns, out.terminateds


def is_continuous(space: spaces.Space) -> bool:
    """Whether observations of ``space`` have real numbers."""
    if isinstance(space, spaces.Dict):
        return any(is_continuous(part) for part in space.spaces.values())
    if isinstance(space, spaces.Tuple):
        return any(is_continuous(part) for part in space.spaces)
    return isinstance(space, spaces.Box) and space.dtype.kind == "f"


class ChanceWalks(Walks):
    """A tree in which each visit of an action draws again.

    The children of a node are its actions, the children of an action its outcomes; both have rows
    here, in the table only the outcomes. A walk continues from the state that it has drawn; equal
    outcomes are one child. With continuous observations the number of outcomes of an action is at
    most the square root of its visits; then a walk continues from an existing one, drawn by visits.
    """

    columns: ClassVar[dict[str, Any]] = {**Walks.columns, "seen": 0, "is_outcome": False}
    seen: list[int]  # how often each outcome was drawn
    is_outcome: list[bool]

    def __init__(self, n_actions: int, start: Start, rules: Rules, space: spaces.Space) -> None:
        super().__init__(n_actions, start._replace(before=None), rules)
        self._widens = is_continuous(space)  # of the observations
        self._found: dict[tuple[int, Any], int] = {}  # outcomes by action and key
        self._bounds = np.inf, -np.inf  # of the returns of single walks
        self.seen[ROOT], self.is_outcome[ROOT] = 1, True

    def find_bounds(self) -> None:
        if self.visits[ROOT]:
            self.low, high = self._bounds
            self.span = high - self.low or 1.0

    def choose(self, node: int) -> int | None:
        """The row of the next action of ``node``; ``None``: all are pending."""
        if self.ended[node] or self.depths[node] >= self.max_depth:
            return None
        path = [node]
        self.descend(path)
        if len(path) > 1:
            return path[1]
        action = self.grow(node)
        if action == UNKNOWN:
            return None
        self.chosen[action] += 1
        self.through[node] += 1
        return action

    def arrive(self, action: int, name: Any, reward: float, ended: bool) -> tuple[int, bool]:
        """The outcome of ``action`` for a draw, and whether it is that draw or an existing one.

        A new outcome has no state yet.
        """
        key = action, None if ended and self._widens else name
        node, is_drawn = self._found.get(key), True
        if node is None and self._widens and not ended:
            others = [child for child in self.children[action] if not self.ended[child]]
            if len(others) >= np.sqrt(self.chosen[action]):
                weights = np.array([self.seen[child] for child in others], float)
                node = others[self.rng.choice(len(others), p=weights / weights.sum())]
                is_drawn = False
        if node is None:
            node = self.add(action, self.actions[action])
            self.is_outcome[node] = True
            self.depths[node] = self.depths[action]
            self._found[key] = node
        self.seen[node] += 1
        self.chosen[node] += 1
        self.rewards[node] += (reward - self.rewards[node]) / self.seen[node]
        return node, is_drawn

    def _link(self, node: int) -> None:
        parent = self.parents[node]
        if self.is_outcome[parent]:
            super()._link(node)
        elif self.children[parent]:
            self.children[parent].append(node)
        else:
            self.children[parent] = [node]

    def back_up(self, steps: list[tuple[int, int, float]], value: float) -> None:
        """Back up the return of a walk, ``(action, outcome, reward)`` for each step."""
        for action, outcome, reward in reversed(steps):
            self._average(outcome, value)
            self.returns[outcome] = self.rewards[outcome] + self.discount * self.values[outcome]
            value = reward + self.discount * value
            self._bounds = min(self._bounds[0], value), max(self._bounds[1], value)
            self._average(action, value)
            self.returns[action] = self.values[action]
        self._average(ROOT, value)

    def _average(self, node: int, value: float) -> None:
        if not self.visits[node]:
            self._make_ready(node)
        self.visits[node] += 1
        self.values[node] += (value - self.values[node]) / self.visits[node]

    def table(self, simulator_calls: int, frames: int) -> Tree:
        tree = super().table(simulator_calls, frames)
        is_outcome = np.array(self.is_outcome[: self.size])
        rows = np.flatnonzero(is_outcome)
        new = np.full(tree.size, UNKNOWN)
        new[rows] = np.arange(len(rows))
        above = tree.parents[rows]  # the rows of actions
        parents = np.where(above == UNKNOWN, UNKNOWN, new[tree.parents[above]])
        visits, returns = np.zeros((2, len(rows), self.n_actions))
        of = np.flatnonzero(~is_outcome)
        visits[new[tree.parents[of]], tree.actions[of]] = tree.visits[of]
        returns[new[tree.parents[of]], tree.actions[of]] = tree.values[of]
        children = np.full((len(rows), self.n_actions), UNKNOWN)
        for node in np.argsort(tree.visits[rows], kind="stable").tolist():
            if node != ROOT:
                children[parents[node], tree.actions[rows[node]]] = node
        for name in ("actions", "depths", "rewards", "ended", "visits", "values", "heights"):
            setattr(tree, name, getattr(tree, name)[rows])
        tree.states, tree.notes = tree.states[rows], [tree.notes[row] for row in rows]
        tree.parents, tree.children = parents, children
        tree.drawn = visits.astype(int), returns
        return tree


@dataclass(eq=False, slots=True)
class Walk:
    """A walk with new draws, and where it is."""

    search: Any  # its ``Search`` of mcts
    node: int
    state: Any
    steps: list[tuple[int, int, float]]  # (action, outcome, reward)


def resampled_walks(evaluator: Any, batch: list[tuple[Any, list[list[int]]]]) -> None:
    """Walk trees with new draws: all walks concurrently, one ``step_batch`` per step.

    Args:
        evaluator: the ``LeafEvaluator`` of mcts.
        batch: its searches, each with as many paths as there are walks.
    """
    walks = [
        Walk(search, ROOT, search.walks.states[ROOT], []) for search, paths in batch for _ in paths
    ]
    while walks:
        moves: list[tuple[Walk, int]] = []
        for walk in walks:
            action = walk.search.walks.choose(walk.node)
            if action is not None:
                moves.append((walk, action))
            elif walk.steps:  # at maximum depth, or all below is pending
                finish(walk, walk.search.walks.values[walk.node])
        if not moves:
            return
        walks = resampled_step(evaluator, moves)


def resampled_step(evaluator: Any, moves: list[tuple[Walk, int]]) -> list[Walk]:
    """One step of each walk; return the walks that continue."""
    walks = [walk for walk, _ in moves]
    actions = [
        evaluator.simulator.first + walk.search.walks.actions[action] for walk, action in moves
    ]
    states = stacked([walk.state for walk in walks])
    simulator = evaluator.simulator
    out, space = simulator.step(np.array(actions), states), simulator.env.observation_space
    count_costs(by_tree(walks, range(len(walks))), *simulator.costs)
    rewards = worst_if_not_finite(out.rewards, 0.0, walks[0].search.walks.low).tolist()
    ended, names = (out.terminateds | out.truncateds).tolist(), outcomes(space, out)
    on, new = [], []
    for row, (walk, action) in enumerate(moves):
        tree = walk.search.walks
        walk.node, is_drawn = tree.arrive(action, names[row], rewards[row], ended[row])
        walk.steps.append((action, walk.node, rewards[row]))
        if tree.visits[walk.node]:
            walk.state = out.states[row] if is_drawn else tree.states[walk.node]
            on.append(walk)
        else:
            new.append(row)
    if new:
        groups = []
        for search, rows in by_tree(walks, new):
            nodes = [walks[row].node for row in rows]
            gains = [search.walks.rewards[node] for node in nodes]
            search.walks.enter(nodes, out.states[rows], gains, [ended[row] for row in rows])
            groups.append((search, nodes))
        masks = simulator.masks if simulator.masks is None else simulator.masks[new]
        values = evaluator.evaluate(groups, rows_of(space, out, new), masks).tolist()
        for row, value in zip(new, values, strict=True):
            finish(walks[row], value)
    return on


def by_tree(walks: list[Walk], rows: Iterable[int]) -> list[tuple[Any, list[int]]]:
    """The searches of rows, each with its rows."""
    groups = (list(group) for _, group in groupby(rows, lambda row: id(walks[row].search)))
    return [(walks[group[0]].search, group) for group in groups]


def finish(walk: Walk, value: float) -> None:
    """Back up a finished walk."""
    walk.search.walks.back_up(walk.steps, value)
    walk.search.finished += 1


def rows_of(space: spaces.Space, out: TransitionBatch, rows: list[int]) -> TransitionBatch:
    """Some rows of a batch."""

    def of(column: Any) -> Any:
        some = isinstance(column, np.ndarray)
        return column[rows] if some else [column[row] for row in rows]

    observs = map_columns(of, space, out.observs)
    parts = {name: of(part) for name, part in out._asdict().items() if name != "observs"}
    return TransitionBatch(observs=observs, **parts)


def worst_if_not_finite(rewards: np.ndarray, after: Any, low: float) -> np.ndarray:
    """Rewards; those that are not finite become just less than the least return seen."""
    if isfinite(rewards.sum()):
        return rewards
    good = np.isfinite(rewards)
    returns = (rewards + after)[good]
    return np.where(good, rewards, np.nextafter(min([low, *returns.tolist()]), -np.inf))

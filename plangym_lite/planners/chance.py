"""Chance: whether an environment draws, plans tried with other dice, a tree that draws anew.

A state holds its generators, so a planner that steps from it sees what *will* be drawn. With
``resample`` each row is seeded anew instead (``step_batch(..., seeds=)``), from ``rng``.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.planners.simulator import Simulator, ValueFn
from plangym_lite.planners.tree import ROOT, UNKNOWN, Start, Tree
from plangym_lite.planners.uct import Rules, Walks
from plangym_lite.transitions import TransitionBatch, map_leaves

__all__ = [
    "PLANS",
    "ChanceWalks",
    "charge",
    "draws",
    "mean_best",
    "reserve",
    "walk_anew",
    "worst_if_not_finite",
]

PLANS, SEEDS = 8, 16  # that are tried at the end, each plan with the same seeds
PROBES = 4  # random actions; each with two seeds, each of them for two times


def draws(simulator: Simulator, state: Any) -> bool:
    """Whether the environment draws from its generators, as far as 16 rows tell (counted).

    Random actions from ``state``, each for 1 and for 4 units of ``dt``, each with two seeds: what
    happens depends on the seed, or what the seed puts into the state depends on how long it ran.
    """
    simulator.resample, before = True, simulator.resample
    actions = simulator.draw(PROBES)
    rows = [row for row in range(PROBES) for _ in range(4)]
    seeds = simulator.rng.integers(2**31, size=2).tolist()
    states = np.empty(16, object)
    states[:] = [state] * 16
    if isinstance(state, np.ndarray):
        states = np.array([state] * 16)
    dts = np.tile([1, 4, 1, 4], PROBES)
    where = [seeds[0], seeds[0], seeds[1], seeds[1]] * PROBES
    try:
        out = simulator.step([actions[row] for row in rows], states, dts, seeds=where)
    finally:
        simulator.resample = before
    keys = outcomes(out)
    if any(keys[row] != keys[row + 2] for row in range(16) if row % 4 < 2):
        return True
    if not isinstance(state, np.ndarray):
        return False
    saved = np.ascontiguousarray(out.states).view(np.uint8).reshape(PROBES, 2, 2, -1)
    by_seed = (saved[:, 0] != saved[:, 1]).all((0, 1))  # bytes that are the seed's alone
    ended = (out.terminateds | out.truncateds).reshape(PROBES, 4).any(1)
    moved = (saved[:, :, 0] != saved[:, :, 1])[~ended]
    return bool((moved & by_seed).any())


def outcomes(out: Any) -> list[bytes]:
    """``[B]`` names of what happened: equal ones for equal observations, rewards and flags."""
    leaves: list[Any] = []
    map_leaves(leaves.append, out.observs)
    numbers = np.stack([out.rewards, out.terminateds, out.truncateds], 1)
    return [
        numbers[row].tobytes()
        + b"|".join(
            leaf[row].tobytes() if isinstance(leaf, np.ndarray) else repr(leaf[row]).encode()
            for leaf in leaves
        )
        for row in range(len(numbers))
    ]


def reserve(budget: int, length: int) -> int:
    """How many calls of ``budget`` are kept for :func:`mean_best`, plans being ``length`` long.

    Raises:
        ValueError: they are too few.
    """
    if budget < 2 * SEEDS:
        raise ValueError(f"budget must be at least {2 * SEEDS} with resample, got {budget}")
    return min(budget // 2, PLANS * SEEDS * length)


def mean_best(
    simulator: Simulator,
    state: Any,
    plans: list[list[Any]],
    discount: float,
    value_fn: ValueFn | None = None,
    *,
    calls: int | None = None,
    held: int = 1,
) -> tuple[list[Any], float]:
    """Play the first plans, each with the same 16 seeds: the one with the best mean, that mean.

    ``calls``: so many at most. Longer plans are cut, and fewer than 8 are played.
    """
    seeds = simulator.rng.integers(2**31, size=SEEDS).tolist()
    left = PLANS * SEEDS * max(map(len, plans)) if calls is None else calls
    longest, best, value = max(1, left // SEEDS) * held, plans[0], -np.inf
    options: Any = {"held": held, "seeds": seeds}
    for played, plan in enumerate(plans[:PLANS]):
        plan = plan[:longest]
        left -= SEEDS * -(-len(plan) // held)
        if played and left < 0:
            break
        actions: Any = [plan] * SEEDS
        if not isinstance(simulator.env.action_space, (spaces.Dict, spaces.Tuple)):
            actions = np.array(actions)
        returns, _ = simulator.play(actions, [state] * SEEDS, discount, value_fn, **options)
        if returns.mean() > value:
            best, value = plan, float(returns.mean())
    return best, value


def is_continuous(space: spaces.Space) -> bool:
    """Whether observations of ``space`` have numbers with fractions."""
    if isinstance(space, spaces.Dict):
        return any(is_continuous(part) for part in space.spaces.values())
    if isinstance(space, spaces.Tuple):
        return any(is_continuous(part) for part in space.spaces)
    return isinstance(space, spaces.Box) and space.dtype.kind == "f"


class ChanceWalks(Walks):
    """A tree in which each visit of an action draws anew.

    Below a node lie its actions, below an action its outcomes; both have rows here, in the table
    only the outcomes. A walk goes on from the state that it has drawn itself, outcomes that look
    alike are one. Where observations are continuous an action has at most the square root of its
    visits of them: then a walk goes on from one that it has, the likelier the more often seen.
    """

    def __init__(self, n_actions: int, start: Start, rules: Rules, space: spaces.Space) -> None:
        super().__init__(n_actions, start._replace(before=None), rules)
        self._widens = is_continuous(space)  # of the observations
        self._found: dict[tuple[int, bytes], int] = {}  # outcomes by action and name
        self._bounds = np.inf, -np.inf  # of the returns of single walks, not of means
        self.seen = [1]  # how often each outcome was drawn
        self.is_outcome = [True]

    def add(self, parent: int, action: int) -> int:
        self.seen.append(0)
        self.is_outcome.append(False)
        return super().add(parent, action)

    def find_bounds(self) -> None:
        if self.visits[ROOT]:
            self.low, high = self._bounds
            self.span = high - self.low or 1.0

    def choose(self, node: int) -> int | None:
        """The row of the next action of ``node``; ``None``: all are on their way."""
        if self.ended[node] or self.depths[node] >= self.max_depth:
            return None
        path = self.walk(node, self.depths[node] + 1)
        if path is None:
            return None
        self.chosen[path[1]] += 1
        self.through[node] += 1
        return path[1]

    def arrive(self, action: int, name: bytes, reward: float, ended: bool) -> tuple[int, bool]:
        """The outcome of ``action`` that was drawn; whether it is the very one, or stands for it.

        A new one has no state yet.
        """
        key = action, b"" if ended and self._widens else name
        node, is_it = self._found.get(key), True
        if node is None and self._widens and not ended:
            others = [child for child in self.children[action] if not self.ended[child]]
            if len(others) >= np.sqrt(self.chosen[action]):
                weights = np.array([self.seen[child] for child in others], float)
                node = others[self.rng.choice(len(others), p=weights / weights.sum())]
                is_it = False
        if node is None:
            node = super().add(action, self.actions[action])
            self.seen.append(0)
            self.is_outcome.append(True)
            self.depths[node] = self.depths[action]
            self._found[key] = node
        self.seen[node] += 1
        self.chosen[node] += 1
        self.rewards[node] += (reward - self.rewards[node]) / self.seen[node]
        return node, is_it

    def _hang(self, node: int) -> None:
        if self.is_outcome[self.parents[node]]:
            super()._hang(node)
        else:
            self.children[self.parents[node]].append(node)

    def carry(self, steps: list[tuple[int, int, float]], value: float) -> None:
        """Average what one walk earned, ``(action, outcome, reward)`` for each step, from below."""
        for action, outcome, reward in reversed(steps):
            self._average(outcome, value)
            self.returns[outcome] = self.rewards[outcome] + self.discount * self.values[outcome]
            value = reward + self.discount * value
            self._bounds = min(self._bounds[0], value), max(self._bounds[1], value)
            self._average(action, value)
            self.returns[action] = self.values[action]
        self._average(ROOT, value)

    def _average(self, node: int, value: float) -> None:
        self.visits[node] += 1
        self.values[node] += (value - self.values[node]) / self.visits[node]

    def table(self, simulator_calls: int, frames: int) -> Tree:
        tree = super().table(simulator_calls, frames)
        rows = np.flatnonzero(self.is_outcome)
        new = np.full(tree.size, UNKNOWN)
        new[rows] = np.arange(len(rows))
        above = tree.parents[rows]  # the rows of actions
        parents = np.where(above == UNKNOWN, UNKNOWN, new[tree.parents[above]])
        visits, returns = np.zeros((2, len(rows), self.n_actions))
        of = np.flatnonzero(~np.array(self.is_outcome))
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


def walk_anew(judge: Any, jobs: list[Any]) -> None:
    """Walks in trees that draw anew: all go on side by side, one ``step_batch`` for each step.

    Args:
        judge: the ``Judge`` of mcts.
        jobs: its jobs, from the roots.
    """
    for job in jobs:
        job.state = job.search.walks.states[ROOT]
    while jobs:
        moves: list[tuple[Any, int]] = []
        for job in jobs:
            action = job.search.walks.choose(job.path[-1])
            if action is not None:
                moves.append((job, action))
            elif job.steps:  # too deep, or all below is on its way
                finish(job, job.search.walks.values[job.path[-1]])
        if not moves:
            return
        jobs = step_anew(judge, moves)


def step_anew(judge: Any, moves: list[tuple[Any, int]]) -> list[Any]:
    """One step of each walk; return those that go on."""
    jobs = [job for job, _ in moves]
    actions = [judge.first + job.search.walks.actions[action] for job, action in moves]
    states: Any = [job.state for job in jobs]
    if isinstance(jobs[0].state, np.ndarray):
        states = np.array(states)
    out = judge.simulator.step(np.array(actions), states)
    charge(jobs, *judge.simulator.costs)
    rewards = worst_if_not_finite(out.rewards, 0.0, jobs[0].search.walks.low).tolist()
    ended, names = (out.terminateds | out.truncateds).tolist(), outcomes(out)
    on, new = [], []
    for row, (job, action) in enumerate(moves):
        walks = job.search.walks
        node, is_it = walks.arrive(action, names[row], rewards[row], ended[row])
        job.steps.append((action, node, rewards[row]))
        job.path.append(node)
        job.state = out.states[row]
        if walks.visits[node]:
            job.state = job.state if is_it else walks.states[node]
            on.append(job)
        else:
            new.append(row)
    if new:
        leaves = [jobs[row] for row in new]
        for walks, rows in by_tree(jobs, new):
            nodes = [jobs[row].path[-1] for row in rows]
            gains = [walks.rewards[node] for node in nodes]
            walks.enter(nodes, out.states[rows], gains, [ended[row] for row in rows])
        for job, value in zip(leaves, judge.evaluate(leaves, take(out, new)), strict=True):
            finish(job, float(value))
    return on


def by_tree(jobs: list[Any], rows: list[int]) -> list[tuple[Any, list[int]]]:
    """The trees of some rows, each with its own."""
    groups = groupby(rows, lambda row: id(jobs[row].search))
    return [(jobs[part[0]].search.walks, part) for _, group in groups if (part := list(group))]


def finish(job: Any, value: float) -> None:
    """Carry up a walk that drew anew."""
    job.search.walks.carry(job.steps, value)
    job.search.finished += 1


def take(out: TransitionBatch, rows: list[int]) -> TransitionBatch:
    """Some rows of a batch."""

    def of(leaf: Any) -> Any:
        return leaf[rows] if isinstance(leaf, np.ndarray) else [leaf[row] for row in rows]

    return TransitionBatch(
        states=out.states[rows],
        observs=map_leaves(of, out.observs),
        rewards=out.rewards[rows],
        terminateds=out.terminateds[rows],
        truncateds=out.truncateds[rows],
        infos=[out.infos[row] for row in rows],
    )


def charge(jobs: list[Any], calls: Any, frames: Any) -> None:
    """Count what rows have cost for the tree of each."""
    for job, n_calls, n_frames in zip(jobs, calls, frames, strict=True):
        job.search.calls += int(n_calls)
        job.search.frames += int(n_frames)


def worst_if_not_finite(rewards: np.ndarray, after: Any, low: float) -> np.ndarray:
    """Rewards, of rows that went wrong as low as the least return seen."""
    good = np.isfinite(rewards)
    if good.all():
        return rewards
    returns = (rewards + after)[good]
    return np.where(good, rewards, min([low, *returns.tolist()]))

"""Go-Explore, phase 1: keep visited states, return to them, explore from there.

After Ecoffet et al. (2021)::

    select   cells of the archive, rarely chosen ones more often
    return   to their states, which are restored
    explore  by random actions, each repeated more often than not; every cell that is new, or
             reached with a better score or in fewer steps, enters the archive

A cell is a set of states with similar observations, defined by ``cell_fn``. For any action space.
The rows of all selected cells are one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv
from plangym_lite.planners.chance import by_first_action, mean_best, reserve
from plangym_lite.planners.features import as_array, features_of
from plangym_lite.planners.simulator import (
    LegalFn,
    OnBatch,
    PlanOutput,
    Simulator,
    ValueFn,
    check_options,
    values_after,
)
from plangym_lite.planners.tree import goal_first, room_for, with_rows
from plangym_lite.states.archive import StateArchive

__all__ = ["CellFn", "Cells", "go_explore"]

CellFn = Callable[[Any], list[Hashable]]
"""``cell_fn(observs [B, ...])``: for each row the key of its cell."""
SHAPE = 11, 8  # pixels of reduced images, and the number of shades, as published
SHADES = 8
BINS = 32  # for entries of other observations


class Cells:
    """The archive: visited places, and the best place of each cell."""

    def __init__(self, state: Any, budget: int, archive: StateArchive | None) -> None:
        self.states = room_for(budget + 1, state, archive)
        """For each place its state; place 0 is the root."""
        self.states[0] = state
        self.parents = [-1]
        """For each place the place before; -1 for the root."""
        self.actions: list[Any] = [None]
        """For each place the action that led there."""
        self.returns = [0.0]
        """For each place the discounted rewards on the way there."""
        self.depths = [0]
        """For each place the steps on the way there."""
        self.ended = [False]
        """For each place whether the episode is over there."""
        self.terminated = [False]
        """For each place whether it terminated there."""
        self.worths = [-np.inf]
        """For each place the return plus its discounted value by ``value_fn``."""
        self.legal: list[Any] = [None]
        """For each place ``[A]`` the legal actions; ``None``: all."""
        self.best: dict[Hashable, int] = {}
        """The place of each cell."""
        self.chosen: dict[Hashable, int] = {}
        """How often each cell was selected since it was last improved."""
        self.simulator_calls = 0
        self.frames = 0

    def add(self, parent: int, action: Any, gain: float, ended: bool, terminated: bool) -> int:
        """Add a place without its state; ``gain`` is the return of its path."""
        self.parents.append(parent)
        self.actions.append(action)
        self.returns.append(gain)
        self.depths.append(self.depths[parent] + 1)
        self.ended.append(ended)
        self.terminated.append(terminated)
        return len(self.parents) - 1

    def rank(self, place: int) -> tuple[float, int]:
        """The order of places of a cell: greater score, then fewer steps."""
        return self.returns[place], -self.depths[place]

    def offer(self, cell: Hashable, place: int) -> None:
        """Make ``place`` the place of its cell, if it is the first or the best."""
        if cell not in self.best or self.rank(place) > self.rank(self.best[cell]):
            self.best[cell], self.chosen[cell] = place, 0

    def select(self, size: int, rng: np.random.Generator) -> list[int]:
        """Places to explore from."""
        cells = [cell for cell, place in self.best.items() if not self.ended[place]]
        if not cells:
            return [0] * size
        weights = 1 / np.sqrt([self.chosen[cell] + 1 for cell in cells])
        picks = rng.choice(len(cells), size, p=weights / weights.sum())
        for pick in picks:
            self.chosen[cells[pick]] += 1
        return [self.best[cells[pick]] for pick in picks]

    def make_finite(self, simulator: Simulator) -> None:
        """Returns and worths that are not finite become just less than the least."""
        self.returns = simulator.finite(np.array(self.returns)).tolist()
        self.worths[1:] = simulator.finite(np.array(self.worths[1:])).tolist()

    def roots(self) -> list[Any]:
        """For each place the first action of its path."""
        first = [None]
        for parent, action in zip(self.parents[1:], self.actions[1:], strict=True):
            first.append(first[parent] if parent else action)
        return first

    def path(self, place: int) -> list[Any]:
        """The actions from the root to ``place``."""
        actions = []
        while place > 0:
            actions.append(self.actions[place])
            place = self.parents[place]
        return actions[::-1]


def go_explore(
    env: PlanEnv,
    state: Any,
    *,
    budget: int = 1000,
    batch_size: int = 8,
    explore_steps: int = 10,
    repeat: float = 0.8,
    discount: float = 1.0,
    cell_fn: CellFn | None = None,
    value_fn: ValueFn | None = None,
    legal_actions: str | LegalFn | None = None,
    resample: bool = False,
    info: Any = None,
    archive: StateArchive | None = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput[Cells]:
    """Plan from ``state``; the environment's current state does not change.

    Args:
        env: any environment.
        state: the state to plan from.
        budget: maximum simulator calls.
        batch_size: number of cells explored in one batch.
        explore_steps: random steps from each.
        repeat: probability of repeating the last action.
        discount: of a reward one step later, between 0 and 1.
        cell_fn: the cell of an observation; ``None``: images are reduced to 11 by 8 pixels of 8
            shades, numbers of a ``Box`` to 32 bins.
        value_fn: values of the places at the ends of paths; default 0.
        legal_actions: for a discrete space: the key of an info with the mask ``[A]``, or a function
            of observations, states and infos.
        resample: draw new seeds for each row; the 8 best paths are played
            again with the same 16 seeds, and the best mean wins.
        info: the info of ``state``, if the environment does not restore it.
        archive: stores the states in little memory; ``None``: an array.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the only source of randomness.

    Returns:
        The plan: the path to the place with the greatest return, of equal ones to the farthest
        (if there was no reward) or nearest. A path that terminated with a negative return is only
        replaced by one with a greater return that is at least as long or above 0.
        ``action_weights`` is 1 for the chosen action of a discrete space, ``search`` are the
        :class:`Cells`.

    Raises:
        ValueError: an option is out of range.
        TypeError: ``rng`` is not a generator, or the observations need a ``cell_fn``.
    """
    counts = {"budget": budget, "batch_size": batch_size, "explore_steps": explore_steps}
    check_options(discount, counts)
    if not 0.0 <= repeat < 1.0:
        raise ValueError(f"repeat must be in [0, 1), got {repeat}")
    simulator = Simulator(env, rng, on_batch, resample=resample, legal_actions=legal_actions)
    cells = Cells(state, budget, archive)
    observs, _, masks = simulator.look(state, info)
    cells.legal[0] = None if masks is None else masks[0]
    look = cell_fn or cells_of(env.observation_space)
    cells.offer(look(observs)[0], 0)
    kept = reserve(budget, budget) if resample else 0
    left = budget - kept
    while simulator.calls < left:
        places = cells.select(min(batch_size, left - simulator.calls), rng)
        actions = simulator.draw(len(places), masks_of(cells, places))
        for _ in range(explore_steps):
            places = places[: left - simulator.calls]
            if not places:
                break
            legal = masks_of(cells, places)
            fresh = simulator.draw(len(places), legal)
            again = rng.random(len(places)) < repeat
            if legal is not None:
                old = np.array(actions[: len(places)]) - simulator.first
                again &= legal[np.arange(len(places)), old]
            actions = [a if same else b for a, b, same in zip(actions, fresh, again, strict=False)]
            places, actions = explore(
                cells, places, actions, simulator, look, discount=discount, value_fn=value_fn
            )
    cells.make_finite(simulator)
    end = farthest_or_nearest(cells)
    plan, value = cells.path(end), cells.worths[end]
    if resample:
        order = np.argsort(-np.array(cells.worths[1:]), kind="stable") + 1
        places = by_first_action([end, *order.tolist()], cells.roots().__getitem__)
        plans = map(cells.path, places)
        plan, value = mean_best(simulator, state, plans, discount, value_fn, calls=kept)
    cells.simulator_calls, cells.frames = simulator.calls, simulator.frames
    weights = simulator.one_hot(plan[0])
    return PlanOutput(plan[0], plan, value, weights, cells, not resample, simulator.not_finite)


def farthest_or_nearest(cells: Cells) -> int:
    """The place with the greatest return; see ``go_explore`` for equal ones."""
    top = max(cells.worths[1:])
    best = [place for place, worth in enumerate(cells.worths) if place and worth == top]
    end = (min if top > 0 else max)(best, key=lambda place: cells.depths[place])
    places = range(1, len(cells.worths))
    return goal_first(places, end, cells.worths, cells.depths, cells.terminated)


def masks_of(cells: Cells, places: list[int]) -> np.ndarray | None:
    """``[B, A]`` the legal actions of places; ``None``: all."""
    return None if cells.legal[0] is None else np.array([cells.legal[place] for place in places])


def explore(
    cells: Cells,
    places: list[int],
    actions: list[Any],
    simulator: Simulator,
    look: CellFn,
    *,
    discount: float,
    value_fn: ValueFn | None,
) -> tuple[list[int], list[Any]]:
    """One step from each place; return the new places and actions, without ended episodes."""
    out = simulator.step(actions, cells.states[places])
    size = len(cells.parents)
    new = slice(size, size + len(places))
    cells.states = with_rows(cells.states, new, out.states)
    ended = out.terminateds | out.truncateds
    factors = discount ** np.array([cells.depths[place] for place in places], float)
    gains = np.array([cells.returns[place] for place in places]) + factors * out.rewards
    worths, good = gains, np.isfinite(gains)
    if value_fn is not None:
        worths = gains + discount * factors * values_after(out, value_fn)
    cells.worths += worths.tolist()
    masks = simulator.masks
    cells.legal += [None] * len(places) if masks is None else list(masks)
    reached, by = [], []
    for row, cell in enumerate(look(out.observs)):
        flags = bool(ended[row]), bool(out.terminateds[row] and good[row])
        place = cells.add(places[row], actions[row], float(gains[row]), *flags)
        cells.offer(cell, place)
        if not ended[row]:
            reached.append(place)
            by.append(actions[row])
    return reached, by


def cells_of(space: spaces.Space) -> CellFn:
    """The cells of observations of ``space``."""
    shape = space.shape or ()
    if space.dtype == np.uint8 and len(shape) >= 2 and shape[0] >= SHAPE[0]:
        return lambda observs: [shrink(image) for image in observs]
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        return lambda observs: [np.asarray(obs).tobytes() for obs in observs]
    values = features_of(space, "values")
    shades = 256 // BINS
    return lambda observs: [(as_array(row) // shades).tobytes() for row in values.of(observs)]


def shrink(image: np.ndarray) -> bytes:
    """An image reduced to few pixels and shades, so that similar images are equal."""
    grey = image if image.ndim == 2 else image.mean(-1)
    down = np.arange(SHAPE[0]) * grey.shape[0] // SHAPE[0]
    across = np.arange(SHAPE[1]) * grey.shape[1] // SHAPE[1]
    sums = np.add.reduceat(np.add.reduceat(grey, down, 0, float), across, 1)
    sizes = np.outer(np.diff(down, append=grey.shape[0]), np.diff(across, append=grey.shape[1]))
    return (sums / sizes * SHADES / 256).astype(np.uint8).tobytes()

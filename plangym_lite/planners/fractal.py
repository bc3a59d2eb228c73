"""Fractal Monte Carlo: walkers that clone better ones (Hernandez and Duran, 2018).

::

    perturb  every walker takes a random action, all in one batch
    compare  virtual reward = reward so far x distance to another walker, both normalized
    clone    a walker becomes a copy of another one, with a probability that increases with that
             one's virtual reward; a walker whose episode has ended always does

The walkers spread over reachable states, with more of them where rewards are greater. The plan is
the first action of most walkers. ``N`` denotes the number of walkers.
"""

from __future__ import annotations

from itertools import repeat
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv
from plangym_lite.planners.chance import by_first_action, mean_best, reserve
from plangym_lite.planners.features import flatten
from plangym_lite.planners.simulator import (
    LegalFn,
    OnBatch,
    PlanOutput,
    Simulator,
    check_options,
)

__all__ = ["Swarm", "fractal"]

Finish: TypeAlias = tuple[float, int, int]
"""The end of an episode: its return, the step, the walker."""


class Swarm:
    """The walkers, and every step that they took."""

    def __init__(self, size: int) -> None:
        self.returns = np.zeros(size)
        """``[N]`` discounted rewards from the root to here."""
        self.roots = np.arange(size)
        """``[N]`` the walker whose first action each of them descends from."""
        self.actions: list[Any] = []
        """For each step ``N`` actions."""
        self.origins: list[np.ndarray] = []
        """For each step ``[N]``: where each walker continued after cloning."""
        self.lengths: list[np.ndarray] = []
        """For each step ``[N]``: for how long each action was held."""
        self._ends: dict[int, Finish] = {}
        """By root the best end of an episode."""
        self.simulator_calls = 0
        self.frames = 0

    def finish(self, returns: np.ndarray, finished: np.ndarray, step: int) -> None:
        """Keep the best ends of episodes, of equal ones the first."""
        for walker in np.flatnonzero(finished).tolist():
            end = float(returns[walker]), step, walker
            root = int(self.roots[walker])
            self._ends[root] = max(self._ends.get(root, end), end, key=itemgetter(0))

    def path(self, step: int, walker: int) -> list[Any]:
        """The actions that brought ``walker`` to where it was in ``step``, before cloning."""
        actions = [self.actions[step][walker]] * max(1, int(self.lengths[step][walker]))
        while step > 0:
            step -= 1
            walker = int(self.origins[step][walker])
            actions += [self.actions[step][walker]] * int(self.lengths[step][walker])
        return actions[::-1]


def fractal(
    env: PlanEnv,
    state: Any,
    *,
    budget: int = 1000,
    walkers: int = 50,
    rollout_dt: int = 1,
    discount: float = 1.0,
    reward_weight: float = 1.0,
    distance_weight: float = 1.0,
    legal_actions: str | LegalFn | None = None,
    resample: bool = False,
    info: Any = None,
    on_batch: OnBatch | None = None,
    rng: np.random.Generator,
) -> PlanOutput[Swarm]:
    """Plan one decision from ``state``; the environment's current state does not change.

    Args:
        env: any environment.
        state: the state to plan from.
        budget: maximum simulator calls: the horizon is ``budget // walkers`` steps.
        walkers: number of walkers, at least two.
        rollout_dt: units of ``dt`` for which each action is held.
        discount: of a reward one step later, between 0 and 1.
        reward_weight: exponent of the reward in the virtual reward.
        distance_weight: exponent of the distance between observations.
        legal_actions: for a discrete space: the key of an info with the mask ``[A]``, or a function
            of observations, states and infos; then each action is held for one unit.
        resample: draw new seeds for each row; the 8 best paths are played
            again with the same 16 seeds, and the best mean wins.
        info: the info of ``state``, if the environment does not restore it.
        on_batch: called as ``on_batch(rows, frames)`` after every batch.
        rng: the only source of randomness.

    Returns:
        The plan: the first action that most walkers descend from, and the path of the best of
        those; but if an episode ended with a greater return than any walker has, the path
        there. ``action_weights`` are the shares of the walkers,
        ``search`` is the :class:`Swarm`.

    Raises:
        ValueError: an option is out of range.
        TypeError: ``rng`` is not a generator.
    """
    check_options(discount, {"budget": budget, "walkers": walkers, "rollout_dt": rollout_dt})
    if not 2 <= walkers <= budget:
        raise ValueError(f"walkers must be from 2 to budget {budget}, got {walkers}")
    simulator = Simulator(env, rng, on_batch, resample=resample, legal_actions=legal_actions)
    swarm = Swarm(walkers)
    kept = reserve(budget, budget // walkers) if resample else 0
    if budget - kept < walkers:
        raise ValueError(f"budget {budget} is too small for {walkers} walkers and resample")
    rollout_dt = 1 if legal_actions is not None else rollout_dt
    masks: Any = None
    if legal_actions is not None:
        masks = simulator.look(state, info)[2].repeat(walkers, 0)  # type: ignore[union-attr]
    states: Any = [state] * walkers
    finished = np.zeros(walkers, bool)
    for step in range((budget - kept) // walkers):
        swarm.actions.append(simulator.draw(walkers, masks))
        gains, lengths, out = hold(simulator, swarm.actions[-1], states, rollout_dt, discount)
        swarm.lengths.append(lengths)
        returns = swarm.returns + discount ** (step * rollout_dt) * gains
        swarm.returns, finished = simulator.finite(returns), out.terminateds | out.truncateds
        swarm.finish(returns, finished, step)
        if finished.all():
            break
        distances = distances_to_others(flatten(env.observation_space, out.observs), rng)
        weighed = relative(swarm.returns) ** reward_weight * relative(distances) ** distance_weight
        origins = clone(weighed, finished, rng)
        swarm.origins.append(origins)
        states = out.states[origins]
        swarm.returns, swarm.roots = swarm.returns[origins], swarm.roots[origins]
        finished = finished[origins]
        if legal_actions is not None:
            masks = simulator.masks[origins]
    found = decide(simulator, swarm, bool(finished.all()))
    if resample:
        plans = others(swarm, bool(finished.all()), found.actions, rollout_dt)
        plan, value = mean_best(simulator, state, plans, discount, calls=kept, held=rollout_dt)
        weights = simulator.one_hot(plan[0])
        found = found._replace(action=plan[0], actions=plan, value=value, action_weights=weights)
    swarm.simulator_calls, swarm.frames = simulator.calls, simulator.frames
    return found._replace(knew_the_dice=not resample, not_finite=simulator.not_finite)


def hold(
    simulator: Simulator, actions: Any, states: Any, held: int, discount: float
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Step every walker: ``[N]`` discounted rewards, for how long, and the batch.

    Rewards that are not finite give ``-inf``.
    """
    if held == 1:
        out: Any = simulator.step(actions, states)
        return out.rewards, np.ones(len(out.rewards), int), out
    rows: Any = [[action] * held for action in actions]
    if not isinstance(simulator.env.action_space, (spaces.Dict, spaces.Tuple)):
        rows = np.array(rows)
    gains, out = simulator.play(rows, states, discount, held=held, observs="last")
    gains = np.where(np.isfinite(out.rewards).all(1), gains, -np.inf)
    return gains, out.lengths, out


def others(swarm: Swarm, all_finished: bool, plan: list[Any], held: int) -> list[Any]:
    """The plan, and others with the greatest returns; see :func:`by_first_action`.

    First actions that have no walkers left are followed by the rest of the plan.
    """
    last, ways = len(swarm.actions) - 1, list(swarm._ends.values())
    if not all_finished:
        ways += zip(swarm.returns, repeat(last), swarm.origins[last], strict=False)
    ways.sort(key=lambda way: -way[0])
    plans = [plan, *(swarm.path(step, int(walker)) for _, step, walker in ways)]
    plans += [[first] * held + plan[held:] for first in swarm.actions[0]]
    return by_first_action(plans, itemgetter(0))


def distances_to_others(observs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``[N]`` the distance of each row to a random one."""
    return np.linalg.norm(observs - observs[rng.permutation(len(observs))], axis=1)


def relative(values: np.ndarray) -> np.ndarray:
    """Positive values, normalized: 1 for the mean."""
    spread = values.std()
    if spread < 1e-12:
        return np.ones(len(values))
    scaled = (values - values.mean()) / spread
    return np.where(scaled > 0, 1 + np.log1p(np.maximum(scaled, 0)), np.exp(np.minimum(scaled, 0)))


def clone(
    virtual_rewards: np.ndarray, finished: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """``[N]`` the walker that each continues from: itself, or one that has not ended."""
    walkers, living = np.arange(len(finished)), np.flatnonzero(~finished)
    others = living[rng.integers(living.size, size=len(finished))]
    gains = virtual_rewards[others] / np.maximum(virtual_rewards, 1e-12) - 1
    goes = finished | (gains > rng.random(len(finished)))
    return np.where(goes, others, walkers)


def decide(simulator: Simulator, swarm: Swarm, all_finished: bool) -> PlanOutput[Swarm]:
    """The first action of most walkers; or the path to an end of an episode, if better."""
    firsts = swarm.actions[0]
    groups = np.asarray(firsts)[swarm.roots] if simulator.n_actions else swarm.roots
    kinds, counts = np.unique(groups, return_counts=True)
    weights = None
    if simulator.n_actions:
        weights = np.zeros(simulator.n_actions)
        weights[kinds - simulator.first] = counts / counts.sum()
    ends = [(value, -step, -walker) for value, step, walker in swarm._ends.values()]
    finish = max(ends, default=(-np.inf, 0, 0))
    if all_finished or finish[0] > swarm.returns.max():
        value, step, walker = float(simulator.finite(np.array(finish[0]))), -finish[1], -finish[2]
    else:
        best = np.flatnonzero(groups == kinds[np.argmax(counts)])
        slot = int(best[np.argmax(swarm.returns[best])])
        value, step, walker = float(swarm.returns[slot]), len(swarm.actions) - 1, slot
        walker = int(swarm.origins[step][slot])
    path = swarm.path(step, walker)
    if weights is not None and path[0] != kinds[np.argmax(counts)]:
        weights = simulator.one_hot(path[0])
    return PlanOutput(path[0], path, value, weights, swarm)

"""The shared parts of planners: counted steps, random actions, and the output.

``B`` denotes the number of rows, ``S`` the length of a state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import isfinite
from typing import Any, Generic

import numpy as np
from gymnasium import spaces
from typing_extensions import NamedTuple, TypeVar

from plangym_lite.core import PlanEnv
from plangym_lite.transitions import RolloutBatch, TransitionBatch, map_leaves

__all__ = [
    "LegalFn",
    "OnBatch",
    "PlanOutput",
    "PolicyFn",
    "Simulator",
    "ValueFn",
    "check_discrete",
    "check_options",
    "values_after",
]


Search = TypeVar("Search", default=Any)


class PlanOutput(NamedTuple, Generic[Search]):
    """One decision and its search.

    ``A`` denotes the number of actions of a discrete space, ``L`` the length of the plan.
    """

    action: Any
    """What to do now: the first of ``actions``, an element of the action space."""
    actions: list[Any]
    """The ``L`` best actions found, in order, each for one unit of ``dt``; ``L`` is at least 1."""
    value: float
    """The discounted return of replaying ``actions``, plus ``value_fn`` of the last state.

    With ``resample`` its mean over draws; for ``mcts`` the mean return of ``action``.
    """
    action_weights: np.ndarray | None
    """``[A]`` how much each action is preferred, sum 1; ``None`` where actions are not discrete."""
    search: Search
    """The search, with at least ``simulator_calls`` (rows) and ``frames``."""
    knew_the_dice: bool = True
    """Whether steps used the state's own generators (``resample=False``), so that the plan knows
    the future draws; relevant only if :func:`~plangym_lite.planners.chance.draws`."""
    not_finite: int = 0
    """Rows whose reward was not finite: they end there, with less than any other return, and are
    no goals."""


OnBatch = Callable[[int, int], None]
"""``on_batch(rows, frames)`` is called after every batch, with its counts."""

ValueFn = Callable[[Any, np.ndarray], np.ndarray]
"""``value_fn(observs [B, ...], states [B, S]) -> [B]``: the discounted return from each state."""

PolicyFn = Callable[[Any, np.ndarray], np.ndarray]
"""``policy_fn(observs [B, ...], states [B, S]) -> [B, A]``: the prior of each action."""


LegalFn = Callable[[Any, np.ndarray, list[dict[str, Any]]], np.ndarray]
"""``legal_fn(observs [B, ...], states [B, S], infos) -> [B, A]`` bool: which actions are legal."""


class Simulator:
    """An environment for a planner: counts all rows, draws from ``rng``.

    A row whose reward is not finite ends there, with ``-inf``; ``not_finite`` counts them. A row
    whose state has no legal action is truncated there.

    Args:
        env: the environment; its current state does not change.
        rng: the only source of randomness.
        on_batch: hook for progress.
        resample: draw a new seed for each row, from ``rng``.
        legal_actions: the key of an info with a mask ``[A]``, or a function; ``None``: all actions.

    Raises:
        TypeError: ``rng`` is not a ``numpy.random.Generator``.
    """

    def __init__(
        self,
        env: PlanEnv,
        rng: np.random.Generator,
        on_batch: OnBatch | None = None,
        *,
        resample: bool = False,
        legal_actions: str | LegalFn | None = None,
    ) -> None:
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")
        self.env, self.rng, self.on_batch = env, rng, on_batch
        self.resample, self.legal_actions = resample, legal_actions
        self.calls = self.frames = 0  # rows stepped; simulator steps run
        self.costs: Any = None  # of the last batch: [B, 2] calls and frames
        self.masks: Any = None  # [B, A] the legal actions after the last step; None: all
        self.not_finite = 0  # rows whose reward was not finite
        self._least = np.inf  # of the finite returns so far
        self._space: spaces.Space | None = None
        space: Any = env.action_space
        self.first, self.n_actions = 0, 0  # of a discrete space
        if isinstance(space, spaces.Discrete):
            self.first, self.n_actions = int(space.start), int(space.n)

    def step(
        self, actions: Any, states: Any, dt: Any = 1, seeds: list[int] | None = None
    ) -> TransitionBatch:
        """``env.step_batch`` with states out, counted."""
        options = self._seeds_of(len(actions), seeds)
        out: Any = self.env.step_batch(actions, states, dt, return_state=True, **options)
        if not isfinite(out.rewards.sum()):
            bad = ~np.isfinite(out.rewards)
            self.not_finite += int(bad.sum())
            rewards = np.where(bad, -np.inf, out.rewards)
            out = out._replace(rewards=rewards, terminateds=out.terminateds | bad)
        self.masks = self.legal(out.observs, out.states, out.infos)
        if self.masks is not None:
            stuck = ~(self.masks.any(1) | out.terminateds)
            out = out._replace(truncateds=out.truncateds | stuck)
        self._count([1] * len(out.rewards), out.infos)
        return out

    def play(
        self,
        actions: Any,
        states: Any,
        discount: float,
        value_fn: ValueFn | None = None,
        *,
        lengths: np.ndarray | None = None,
        held: int = 1,
        seeds: list[int] | None = None,
        observs: str | None = None,
    ) -> tuple[np.ndarray, RolloutBatch]:
        """``env.rollout_batch``, counted.

        Args:
            actions: ``[B, T, ...]``, for one unit of ``dt`` each.
            states: where each row starts.
            discount: of a reward one unit later.
            value_fn: values of the last states.
            lengths: ``[B]``: rewards after this number of actions do not count.
            held: number of consecutive equal actions, which are one call.
            seeds: of the rows, with ``resample``; ``None``: drawn.
            observs: ``"last"``: return the last observations also without ``value_fn``.

        Returns:
            ``[B]`` the discounted returns, all finite, and the batch; a row of it ends at a reward
            that is not finite.
        """
        observs = observs if value_fn is None else "last"
        options = self._seeds_of(len(actions), seeds)
        out = self.env.rollout_batch(actions, states, return_observs=observs, **options)
        self._count((-(-out.lengths // held)).tolist(), out.infos)
        rewards, steps = out.rewards, np.arange(out.rewards.shape[1])
        if lengths is not None and lengths.min() < len(steps):
            rewards = np.where(steps < lengths[:, None], rewards, 0.0)
        if not isfinite(rewards.sum()):
            bad = ~np.isfinite(rewards)
            wrong = bad.any(1)
            self.not_finite += int(wrong.sum())
            ends = np.where(wrong, bad.argmax(1) + 1, out.lengths)
            out = out._replace(terminateds=out.terminateds | wrong, lengths=ends)
            returns = np.where(wrong, -np.inf, np.where(bad, 0.0, rewards) @ discount**steps)
        else:
            returns = rewards @ discount**steps
        if value_fn is not None:
            returns += discount**out.lengths * values_after(out, value_fn)
        return self.finite(returns), out

    def finite(self, returns: np.ndarray) -> np.ndarray:
        """Returns of rows; those that are not finite become just less than the least seen."""
        good = np.isfinite(returns)
        self._least = min(self._least, float(returns.min(where=good, initial=np.inf)))
        worst = np.nextafter(self._least, -np.inf) if isfinite(self._least) else 0.0
        return np.where(good, returns, worst)

    def look(self, state: Any, info: Any = None) -> tuple[Any, Any, np.ndarray | None]:
        """``[1, ...]`` the observation of ``state``, the state, its legal actions (``None``: all).

        ``info``: of the state, if the environment does not restore it.

        Raises:
            ValueError: no action is legal, or they are not known.
        """
        env = self.env
        home = env.get_state()
        env.set_state(state)
        observs = map_leaves(lambda leaf: np.asarray(leaf)[None], env.observe())
        info = dict(info or env.info())
        env.set_state(home)
        states = state[None] if isinstance(state, np.ndarray) else np.empty(1, object)
        states[0] = state
        masks = self.legal(observs, states, [info])
        if masks is not None and not masks.any():
            raise ValueError("the state to plan from has no legal action")
        return observs, states, masks

    def legal(self, observs: Any, states: Any, infos: list[dict[str, Any]]) -> np.ndarray | None:
        """``[B, A]`` which actions are legal; ``None``: all. Undefined after an end.

        Raises:
            ValueError: an info has no mask, or the masks have another shape.
        """
        legal = self.legal_actions
        if legal is None:
            return None
        if callable(legal):
            masks = np.asarray(legal(observs, states, infos)).astype(bool)
        else:
            missing = [info for info in infos if legal not in info and info.get("n_step") != 0]
            if missing:
                raise ValueError(
                    f"an info has no {legal!r}, only {sorted(missing[0])}: where the environment "
                    "does not restore the info of a state, pass that of the root as info="
                )
            any_of_them = [True] * self.n_actions
            masks = np.array([info.get(legal, any_of_them) for info in infos]).astype(bool)
        shape = len(states), self.n_actions
        if masks.shape != shape:
            raise ValueError(f"legal_actions must give shape {shape}, got {masks.shape}")
        return masks

    def _seeds_of(self, size: int, seeds: list[int] | None) -> dict[str, Any]:
        if not self.resample:
            return {}
        return {"seeds": self.rng.integers(2**31, size=size) if seeds is None else seeds}

    def _count(self, calls: list[int], infos: list[dict[str, Any]]) -> None:
        frames = [info["n_step"] for info in infos]
        self.costs = calls, frames
        rows, total = sum(calls), int(sum(frames))
        self.calls += rows
        self.frames += total
        if self.on_batch is not None:
            self.on_batch(rows, total)

    def draw(self, size: int, masks: np.ndarray | None = None) -> Any:
        """``[B]`` random actions of any space; does not use the environment's generator.

        ``masks``: ``[B, A]`` of the legal actions.
        """
        if self.n_actions:
            if masks is None:
                return self.first + self.rng.integers(self.n_actions, size=size)
            return self.first + np.where(masks, self.rng.random(masks.shape), -1.0).argmax(1)
        if self._space is None:
            self._space = copy.deepcopy(self.env.action_space)
            self._space.seed(int(self.rng.integers(2**31)))
        return [self._space.sample() for _ in range(size)]

    def play_legally(
        self,
        states: Any,
        lengths: np.ndarray,
        discount: float,
        value_fn: ValueFn | None = None,
        *,
        masks: np.ndarray | None = None,
        plan: list[Any] | None = None,
        seeds: np.ndarray | None = None,
    ) -> tuple[list[list[Any]], np.ndarray, np.ndarray, np.ndarray]:
        """Step rows by random legal actions, the first of ``masks``, or by legal ones of ``plan``.

        A row ends after ``lengths`` actions, with its episode, or where ``plan`` is not legal.

        Returns:
            The actions of each row; ``[B]`` discounted returns, with the value of the last state,
            all finite; whether it terminated; its frames.
        """
        actions: list[list[Any]] = [[] for _ in lengths]
        returns, frames, rows, depth = np.zeros(len(lengths)), 0 * lengths, lengths.nonzero()[0], 0
        terminated = lengths < 0
        while rows.size:
            chosen = self.draw(rows.size, masks) if plan is None else [plan[depth]] * rows.size
            own = None if seeds is None else (seeds[rows] + depth).tolist()
            out = self.step(chosen, states, seeds=own)
            returns[rows] += discount**depth * out.rewards
            frames[rows], terminated[rows] = frames[rows] + self.costs[1], out.terminateds
            for row, action in zip(rows.tolist(), chosen, strict=True):
                actions[row].append(action)
            depth += 1
            lives = ~(out.terminateds | out.truncateds)
            on = lives & (lengths[rows] > depth)
            if plan is not None and depth < len(plan):
                on &= self.masks[:, plan[depth] - self.first]
            if value_fn is not None and (last := lives & ~on).any():
                returns[rows[last]] += discount**depth * values_after(out, value_fn)[last]
            rows, states, masks = rows[on], out.states[on], self.masks[on]
        return actions, self.finite(returns), terminated, frames

    def one_hot(self, action: Any) -> np.ndarray | None:
        """``[A]`` 1 for an action of a discrete space; ``None`` for other spaces."""
        actions = self.first + np.arange(self.n_actions)
        return (actions == action).astype(float) if self.n_actions else None

    def roll_out(
        self,
        states: Any,
        lengths: np.ndarray,
        *,
        held: int,
        discount: float,
        masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The discounted returns of random play.

        Args:
            states: ``[B, S]`` or ``[B]`` of objects; where each row starts.
            lengths: ``[B]`` number of actions, 0 or more; less if the episode ends.
            held: number of consecutive equal actions, without masks.
            discount: of a reward one action later.
            masks: ``[B, A]`` of the legal actions; then only legal actions are drawn.

        Returns:
            ``[B]`` float64; and calls and frames of each row.
        """
        returns, (calls, frames) = np.zeros(len(lengths)), np.zeros((2, len(lengths)), int)
        rows = np.flatnonzero(lengths)
        if masks is not None:
            options: Any = {"masks": masks[rows]}
            played, returns, _, frames = self.play_legally(
                states[rows], lengths, discount, **options
            )
            calls = np.array(list(map(len, played)))
        elif rows.size:
            draws = self.draw(rows.size * -(-int(lengths.max()) // held)).reshape(rows.size, -1)
            ends = sorted(set(lengths[rows].tolist()))
            if self.env.batch_spec.is_batched:  # one batch; surplus steps are ignored
                ends = ends[-1:]
            for last, length in zip([0, *ends], ends, strict=False):
                part = (lengths[rows] > last) & (lengths[rows] <= length)
                actions, chosen = np.repeat(draws[part], held, axis=1)[:, :length], rows[part]
                options = {"lengths": lengths[chosen], "held": held}
                returns[chosen], _ = self.play(actions, states[chosen], discount, **options)
                calls[chosen], frames[chosen] = self.costs
        return returns, calls, frames


def values_after(out: TransitionBatch | RolloutBatch, value_fn: ValueFn) -> np.ndarray:
    """``[B]`` the values of the last states by ``value_fn``; 0 if the episode has ended.

    Raises:
        ValueError: ``value_fn`` does not return one number per row.
    """
    values = np.asarray(value_fn(out.observs, out.states), float)
    if values.shape != out.terminateds.shape:
        raise ValueError(f"value_fn must return shape {out.terminateds.shape}, got {values.shape}")
    ended = out.terminateds | out.truncateds
    return np.where(ended, 0.0, values) if np.count_nonzero(ended) else values


def check_discrete(env: PlanEnv, planner: str) -> tuple[int, int]:
    """The first action and the number of actions; ``TypeError`` if they are not discrete."""
    space = env.action_space
    if not isinstance(space, spaces.Discrete):
        raise TypeError(
            f"{planner} needs a Discrete action space, {env!r} has {space}: use cem or mppi for "
            "numbers within bounds; random_shooting, fractal and go_explore for any space"
        )
    return int(space.start), int(space.n)


def check_options(discount: float, counts: dict[str, Any], least: float = 0.0) -> None:
    """Raise ``ValueError`` unless ``discount`` is in [least, 1], each count at least 1 or None."""
    if not least <= discount <= 1.0:
        players = ", or down to -1 for two players" if least < 0 else ""
        raise ValueError(f"discount must be between 0 and 1{players}, got {discount}")
    for name, count in counts.items():
        if count is not None and (int(count) != count or count < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {count}")

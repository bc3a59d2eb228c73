"""What all planners do with an environment: step rows and count them, draw actions, roll out.

``B`` denotes the number of rows, ``S`` the length of a state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv
from plangym_lite.errors import InvalidStateError
from plangym_lite.transitions import RolloutBatch, TransitionBatch, map_leaves

__all__ = [
    "OnBatch",
    "PolicyFn",
    "Simulator",
    "ValueFn",
    "check_discrete",
    "check_options",
    "flatten",
    "one_hot",
    "policies_at",
    "values_after",
]

OnBatch = Callable[[int, int], None]
"""``on_batch(rows, frames)`` is called after every batch, with what that batch has run."""

ValueFn = Callable[[Any, np.ndarray], np.ndarray]
"""``value_fn(observs [B, ...], states [B, S]) -> [B]``: the discounted return from each state."""

PolicyFn = Callable[[Any, np.ndarray], np.ndarray]
"""``policy_fn(observs [B, ...], states [B, S]) -> [B, A]``: how promising each action is."""


class Simulator:
    """One environment as a planner uses it: every row counted, every draw from ``rng``.

    Args:
        env: the environment; its own current state stays where it is.
        rng: the one source of randomness.
        on_batch: hook for progress.

    Raises:
        TypeError: ``rng`` is not a ``numpy.random.Generator``.
    """

    def __init__(
        self, env: PlanEnv, rng: np.random.Generator, on_batch: OnBatch | None = None
    ) -> None:
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")
        self.env, self.rng, self.on_batch = env, rng, on_batch
        self.calls = 0  # rows stepped
        self.frames = 0  # simulator steps run
        self._space: spaces.Space | None = None
        self._has_arrays = env.batch_spec.state_shape is not None  # of states, in tables

    def step(self, actions: Any, states: Any, dt: Any = 1) -> TransitionBatch:
        """``env.step_batch`` with states out, counted."""
        out = self.env.step_batch(actions, states, dt, return_state=True)
        self._count(len(out.rewards), out.infos)
        return out  # type: ignore[return-value]

    def play(
        self, actions: Any, states: Any, discount: float, value_fn: ValueFn | None = None
    ) -> tuple[np.ndarray, RolloutBatch]:
        """``env.rollout_batch``, counted: an action run is a call.

        Returns ``[B]`` the discounted returns, with what ``value_fn`` says of the last states,
        and the batch.
        """
        observs = None if value_fn is None else "last"
        out = self.env.rollout_batch(actions, states, return_observs=observs)
        self._count(int(out.lengths.sum()), out.infos)
        returns = out.rewards @ discount ** np.arange(out.rewards.shape[1])
        if value_fn is not None:
            returns += discount**out.lengths * values_after(out, value_fn)
        return returns, out

    def look(self, state: Any) -> Any:
        """``[1, ...]`` the observation of ``state``."""
        home = self.env.get_state()
        self.env.set_state(state)
        obs = self.env.observe()
        self.env.set_state(home)
        return map_leaves(lambda leaf: np.asarray(leaf)[None], obs)

    def _count(self, rows: int, infos: list[dict[str, Any]]) -> None:
        if self._has_arrays and not self.env.STATE_IS_ARRAY:
            raise InvalidStateError(
                f"states of {self.env!r} have outgrown the arrays that this search keeps them in: "
                "make the environment with array_state=False, or a larger state_capacity"
            )
        frames = sum(int(info["n_step"]) for info in infos)
        self.calls += rows
        self.frames += frames
        if self.on_batch is not None:
            self.on_batch(rows, frames)

    def draw(self, size: int) -> Any:
        """``[B]`` random actions of any space; the environment's own generator is not touched."""
        space = self.env.action_space
        if isinstance(space, spaces.Discrete):
            return space.start + self.rng.integers(space.n, size=size)
        if self._space is None:
            self._space = copy.deepcopy(space)
            self._space.seed(int(self.rng.integers(2**31)))
        return [self._space.sample() for _ in range(size)]

    def roll_out(
        self, states: np.ndarray, lengths: np.ndarray, *, dt: int, discount: float
    ) -> np.ndarray:
        """The discounted returns of random play.

        Args:
            states: ``[B, S]`` or ``[B]`` of objects; where each row starts.
            lengths: ``[B]`` units of ``dt`` to play, 0 or more; less if the episode ends.
            dt: for how long each random action is held.
            discount: per unit of ``dt``.

        Returns:
            ``[B]`` float64.
        """
        states, left = states.copy(), lengths.copy()
        returns, factors = np.zeros(len(left)), np.ones(len(left))
        while (rows := np.flatnonzero(left)).size:
            held = np.minimum(left[rows], dt)
            out = self.step(self.draw(rows.size), states[rows], held)
            returns[rows] += factors[rows] * out.rewards
            factors[rows] *= discount**held
            left[rows] = np.where(out.terminateds | out.truncateds, 0, left[rows] - held)
            states[rows] = out.states
        return returns


def values_after(out: TransitionBatch | RolloutBatch, value_fn: ValueFn) -> np.ndarray:
    """``[B]`` what ``value_fn`` says of the states reached; 0 where the episode is over.

    Raises:
        ValueError: it does not say one number for each row.
    """
    values = np.asarray(value_fn(out.observs, out.states), float)
    if values.shape != out.terminateds.shape:
        raise ValueError(f"value_fn must return shape {out.terminateds.shape}, got {values.shape}")
    return np.where(out.terminateds | out.truncateds, 0.0, values)


def policies_at(
    observs: Any, states: np.ndarray, policy_fn: PolicyFn, n_actions: int
) -> np.ndarray:
    """``[B, A]`` what ``policy_fn`` says of the states, scaled to sum 1.

    Raises:
        ValueError: it does not say a number of at least 0 for each action, one of them above 0.
    """
    weights = np.asarray(policy_fn(observs, states), float)
    if weights.shape != (len(states), n_actions):
        raise ValueError(
            f"policy_fn must return shape {(len(states), n_actions)}, got {weights.shape}"
        )
    sums = weights.sum(1, keepdims=True)
    if not ((weights >= 0).all() and np.isfinite(sums).all() and (sums > 0).all()):
        raise ValueError("policy_fn must return weights of at least 0, one in each row above 0")
    return weights / sums


def flatten(space: spaces.Space, observs: Any) -> np.ndarray:
    """``[B, F]`` a batch of observations as rows of numbers; a discrete one is 1 in its place.

    Raises:
        TypeError: they have no fixed number of numbers.
    """
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        keys: list[Any] = list(space) if isinstance(space, spaces.Dict) else [*range(len(space))]
        return np.hstack([flatten(space[key], observs[key]) for key in keys])
    rows = np.asarray(observs, np.float32)
    if isinstance(space, spaces.Discrete):
        return np.equal.outer(rows, np.arange(space.start, space.start + space.n)).astype(
            np.float32
        )
    if not isinstance(space, (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)):
        raise TypeError(f"observations {space} cannot be compared")
    return rows.reshape(len(rows), -1)


def one_hot(space: spaces.Space, action: Any) -> np.ndarray | None:
    """``[A]`` 1 for an action of a discrete space; ``None`` for other spaces."""
    if not isinstance(space, spaces.Discrete):
        return None
    weights = np.zeros(int(space.n))
    weights[int(action) - int(space.start)] = 1.0
    return weights


def check_discrete(env: PlanEnv, planner: str) -> tuple[int, int]:
    """The first action and the number of actions; ``TypeError`` if they are not discrete."""
    space = env.action_space
    if not isinstance(space, spaces.Discrete):
        raise TypeError(
            f"{planner} needs a Discrete action space, {env!r} has {space}: use cem or mppi for "
            "numbers within bounds; random_shooting, fractal and go_explore for any space"
        )
    return int(space.start), int(space.n)


def check_options(discount: float, counts: dict[str, int]) -> None:
    """Raise ``ValueError`` unless ``discount`` is in [0, 1] and each count is at least 1."""
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount must be between 0 and 1, got {discount}")
    for name, count in counts.items():
        if int(count) != count or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count}")

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
from plangym_lite.transitions import TransitionBatch

__all__ = ["OnBatch", "Simulator", "ValueFn", "check_knobs", "values_after"]

OnBatch = Callable[[int, int], None]
"""``on_batch(rows, frames)`` is called after every batch, with what that batch has run."""

ValueFn = Callable[[Any, np.ndarray], np.ndarray]
"""``value_fn(observs [B, ...], states [B, S]) -> [B]``: the discounted return from each state."""


class Simulator:
    """One environment as a planner uses it: every row counted, every draw from ``rng``.

    Args:
        env: the environment; only ``step_batch`` and ``action_space`` are used.
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

    def step(self, actions: Any, states: Any, dt: Any = 1) -> TransitionBatch:
        """``env.step_batch`` with states out, counted."""
        out = self.env.step_batch(actions, states, dt, return_state=True)
        rows, frames = len(out.rewards), sum(int(info["n_step"]) for info in out.infos)
        self.calls += rows
        self.frames += frames
        if self.on_batch is not None:
            self.on_batch(rows, frames)
        return out  # type: ignore[return-value]

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


def values_after(out: TransitionBatch, value_fn: ValueFn) -> np.ndarray:
    """``[B]`` what ``value_fn`` says of the states reached; 0 where the episode is over.

    Raises:
        ValueError: it does not say one number for each row.
    """
    values = np.asarray(value_fn(out.observs, out.states), float)
    if values.shape != out.rewards.shape:
        raise ValueError(f"value_fn must return shape {out.rewards.shape}, got {values.shape}")
    return np.where(out.terminateds | out.truncateds, 0.0, values)


def check_knobs(discount: float, counts: dict[str, int]) -> None:
    """Raise ``ValueError`` unless ``discount`` is in [0, 1] and each count is at least 1."""
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount must be between 0 and 1, got {discount}")
    for name, count in counts.items():
        if int(count) != count or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count}")

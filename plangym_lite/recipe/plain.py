"""The episode of a plain environment in a worker, until its states are saved by an adapter.

The adapter is made when a state is first requested, and gets the episode until then. The registry
chooses it; it is on a higher floor, and registers its function with :func:`provide_states`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random

__all__ = ["PlainEpisode", "provide_states", "states_of"]

MOST_ACTIONS = 100_000  # of an episode that can be repeated
_provided: list[Callable[..., Any]] = []


class PlainEpisode:
    """How an episode of a plain environment began, and its actions: enough to repeat it.

    It is made just before ``env`` is reset with ``seed`` and ``options``.
    """

    def __init__(self, env: Any, seed: int | None, options: dict[str, Any] | None) -> None:
        self.seed, self.options = seed, options
        self._drawn_from = _generator_of(env) if seed is None else None
        self.actions: list[Any] = []
        self.is_whole = True  # whether all actions are in it
        self.obs: Any = None  # the last observation
        self.rewards = 0.0  # their sum
        self.flags = (False, False)  # terminated, truncated
        self.attributes: list[str] = []  # that were set from outside, in this episode or before

    def add(self, action: Any) -> None:
        """Note an action, before it is taken: an environment may change it."""
        if len(self.actions) >= MOST_ACTIONS:
            self.is_whole, self.actions = False, []
        if self.is_whole:
            is_number = isinstance(action, np.generic)  # which nobody can change
            self.actions.append(action if is_number else copy.deepcopy(action))

    def put_generator(self, env: Any) -> int | None:
        """Prepare another environment for the reset; return the seed that it takes.

        A generator that nothing was drawn from is the same as the seed that it was made of.
        """
        if self._drawn_from is None:
            return self.seed
        kind, state, seed = self._drawn_from
        if isinstance(seed, int) and seed >= 0:
            fresh = np_random(seed)[0].bit_generator
            if type(fresh) is kind and fresh.state == state:
                return seed
        bits = kind()
        bits.state = state
        env.unwrapped.np_random = np.random.Generator(bits)
        return None


def _generator_of(env: Any) -> Any:
    """The generator that an unseeded reset will draw from: class, state and seed."""
    base = getattr(env, "unwrapped", env)
    generator = base.np_random if isinstance(base, gym.Env) else None
    if not isinstance(generator, np.random.Generator):
        return None
    bits = generator.bit_generator
    return type(bits), bits.state, base.np_random_seed


def provide_states(function: Callable[..., Any]) -> None:
    """Let ``function`` be :func:`states_of`."""
    _provided[:] = [function]


def states_of(factory: Callable[[], Any], env: Any, episode: PlainEpisode) -> Any:
    """What saves and restores a plain environment from now on, or ``NotCloneableError``."""
    return _provided[0](factory, env, episode)

"""The states of environments that no class of ours wraps, where they run.

Which adapter saves them is known further up. The registry says so with :func:`provide_states` when
it is imported; a worker asks with :func:`states_of`.
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

    Args:
        env: the environment, just before it is reset.
        seed: what it is reset with.
        options: likewise.
    """

    def __init__(self, env: Any, seed: int | None, options: dict[str, Any] | None) -> None:
        self.seed, self.options = seed, options
        self.generator = _generator_of(env) if seed is None else None
        if self.generator is not None and _is_fresh(self.generator, env):
            self.seed = env.unwrapped.np_random_seed  # the same as if it was reset with it
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
            self.actions.append(copy.deepcopy(action))


def _generator_of(env: Any) -> Any:
    """The generator that an unseeded reset will draw from, as it is now."""
    base = getattr(env, "unwrapped", env)
    generator = base.np_random if isinstance(base, gym.Env) else None
    return copy.deepcopy(generator) if isinstance(generator, np.random.Generator) else None


def _is_fresh(generator: np.random.Generator, env: Any) -> bool:
    """Whether nothing was drawn from it since it was seeded."""
    seed = env.unwrapped.np_random_seed
    if not isinstance(seed, int) or seed < 0:
        return False
    return np_random(seed)[0].bit_generator.state == generator.bit_generator.state


def provide_states(function: Callable[..., Any]) -> None:
    """Let ``function(factory, env, episode)`` give what saves and restores a plain environment."""
    _provided[:] = [function]


def states_of(factory: Callable[[], Any], env: Any, episode: PlainEpisode | None) -> Any:
    """What saves and restores ``env``, one of those that ``factory`` makes.

    Raises:
        NotCloneableError: its state cannot be saved exactly, or not that of this episode.
    """
    return _provided[0](factory, env, episode)

"""Plain environments in workers: stepped as they are, their states saved by an adapter.

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

__all__ = ["PlainEpisode", "RunningPlain", "provide_states"]

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
    """Let ``function(factory, env, episode)`` give what saves and restores a plain environment."""
    _provided[:] = [function]


class RunningPlain:
    """A plain environment, its last observation, info and flags, and its states.

    Whoever steps ``env`` calls ``begin`` before a reset and ``note`` before a step, sets ``obs``,
    ``info`` and ``flags`` after them, and calls ``add_reward``.

    Args:
        env: the environment.
        factory: makes another one, on which saving is verified.
        reset: begins an episode, if a state is requested before the first one.
    """

    def __init__(self, env: Any, factory: Callable[[], Any], reset: Callable[[], Any]) -> None:
        self.env = env  # the first request for a state may replace it
        self.obs: Any = None  # the last one
        self.info: dict[str, Any] = {}  # likewise
        self.flags = (False, False)  # terminated, truncated
        self.attributes: list[str] = []  # attributes that were set from outside
        self._factory, self._reset = factory, reset
        self._episode: PlainEpisode | None = None  # until states are requested
        self._states: Any = None  # from then on: a RunningStates

    @property
    def layers(self) -> Any:
        """The environment that holds the attributes."""
        return self.env if self._states is None else self._states.layers

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> None:
        if self._states is None:
            self._episode = PlainEpisode(self.env, seed, options)
        self.flags = False, False

    def note(self, action: Any) -> None:
        if self._episode is not None:
            self._episode.add(action)

    def add_reward(self, reward: float) -> None:
        if self._episode is not None:
            self._episode.rewards += reward

    @property
    def states(self) -> Any:
        """What saves and restores states: a ``RunningStates``.

        Raises:
            NotCloneableError: the state cannot be saved exactly, or not that of this episode.
        """
        if self._states is None:
            if self._episode is None:
                self._reset()
            episode = self._episode
            assert episode is not None
            episode.obs, episode.flags = self.obs, self.flags
            episode.attributes = self.attributes
            self._states = _provided[0](self._factory, self.env, episode)
            self.env, self._episode = self._states.env, None
        return self._states

    def save(self) -> Any:
        return self.states.save(self.obs, self.info, *self.flags)

    def load(self, state: Any) -> bool:
        """Restore a state; whether it is the end of an episode."""
        self.obs, self.info, terminated, truncated = self.states.load(state)
        self.flags = terminated, truncated
        return any(self.flags)

    def close(self) -> None:
        (self.env if self._states is None else self._states).close()

"""PlainEnv: a plain Gymnasium environment in a worker, with the methods of a ``PlanEnv``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym

from plangym_lite.core import PlanEnv
from plangym_lite.nested import (
    as_info,
    as_reward,
    fit_element,
    no_step,
    own_info,
    run_frames,
    split_reset,
)
from plangym_lite.recipe.plain import PlainEpisode, states_of
from plangym_lite.transitions import Columns, Step, Transition, write_row

__all__ = ["PlainEnv", "hosted"]

VERBS = frozenset(
    [
        *("action_space", "close", "get_state", "info", "observation_space", "reset"),
        *("rollout_batch", "set_state", "step", "step_batch"),
    ]
)
"""Names that a caller finds here and not in the environment."""


def hosted(constructor: Callable[[], Any]) -> Any:
    """The result of ``constructor``; a plain Gymnasium environment as a :class:`PlainEnv`."""
    env = constructor()
    if isinstance(env, gym.Env) and not isinstance(env, PlanEnv):
        return PlainEnv(env, constructor)
    return env


class PlainEnv:
    """A plain environment with its own ``reset`` and ``step``.

    States are saved by the adapter that ``make(factory)`` would use, made at the first request.
    """

    def __init__(self, env: Any, factory: Callable[[], Any]) -> None:
        self.env = env  # the first request for a state may replace it
        self.obs: Any = None  # the last one, as returned
        self.attributes: list[str] = []  # attributes that were set from outside
        self.begin: Callable[[], Any] = self.reset  # if a state is requested before any episode
        self._factory = factory
        self._info: dict[str, Any] = {}  # the last one
        self._flags = (False, False)  # terminated, truncated
        self._episode: PlainEpisode | None = None  # until states are requested
        self._states: Any = None  # from then on: a RunningStates

    @property
    def observation_space(self) -> Any:
        return self.env.observation_space

    @property
    def action_space(self) -> Any:
        return self.env.action_space

    @property
    def layers(self) -> Any:
        """The environment that holds the attributes."""
        return self.env if self._states is None else self._states.layers

    def reset(
        self,
        return_state: bool = False,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> Any:
        """Gymnasium's ``(obs, info)``; with ``return_state``, ``(state, obs, info)``."""
        self._note_reset(seed, options)
        given = {"seed": seed, "options": options}
        answer = self.env.reset(**{name: v for name, v in given.items() if v is not None})
        self.obs, self._info = answer if isinstance(answer, tuple) else (answer, {})
        return (self.get_state(), *answer) if return_state else answer

    def step(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        return_state: bool | None = None,
        *,
        seed: int | None = None,
    ) -> Any:
        """``PlanEnv.step``; without state and seed, the step of plain Gymnasium."""
        if state is not None:
            has_ended = self.set_state(state)
            if has_ended or seed is not None:
                return self._step_as_row(action, dt, return_state is not False, seed)
            return_state = True if return_state is None else return_state
        if seed is not None:
            return self._step_as_row(action, dt, bool(return_state), seed)
        answer = self._step(action) if dt == 1 else run_frames(self._step, action, dt, self.env)
        if not isinstance(answer, tuple) or len(answer) != 5:
            return answer
        return Transition(self.get_state(), *answer) if return_state else Step(*answer)

    def _step(self, action: Any) -> Any:
        self._note(action)
        answer = self.env.step(action)
        if isinstance(answer, tuple) and len(answer) == 5:
            self.obs, reward, *flags, self._info = answer
            self._came_to(flags, float(reward))
        return answer

    def _step_as_row(self, action: Any, dt: int, return_state: bool, seed: int | None) -> Any:
        """A step from an ended state, which changes nothing, or a seeded one."""
        batch = self.step_batch([action], None, dt, True, seeds=seed)
        row = tuple(column[0] for column in batch)
        self.set_state(row[0])
        return Transition(*row) if return_state else Step(*row[1:])

    # ---- as a row of a vector environment -----------------------------------------------------

    def reset_here(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, Any]:
        """``reset``, checked: the observation in the dtypes of its space, a copy of the info."""
        self._note_reset(seed, options)
        self.obs, self._info = split_reset(self.env.reset(seed=seed, options=options), self.env)
        return self.observe(), own_info(self._info)

    def step_here(self, action: Any, out: Columns, row: int) -> dict[str, Any]:
        """``step``, checked: write one row, return a copy of the info."""
        env = self.env
        self._note(action)
        answer = env.step(action)
        try:
            self.obs, reward, *flags, info = answer
            terminated, truncated = flags
        except (TypeError, ValueError):
            raise no_step(answer, env) from None
        write_row(out.observs, row, self.observe())
        out.rewards[row] = reward = as_reward(reward, env)
        out.terminateds[row], out.truncateds[row] = terminated, truncated
        self._came_to(flags, reward)
        self._info = info if info.__class__ is dict else dict(as_info(info, env))
        return own_info(self._info)

    @property
    def has_ended(self) -> bool:
        return any(self._flags)

    def observe(self) -> Any:
        """The last observation in the dtypes of its space; ``None`` before the first reset."""
        return None if self.obs is None else fit_element(self.observation_space, self.obs)

    # ---- states -------------------------------------------------------------------------------

    def _note_reset(self, seed: int | None, options: dict[str, Any] | None) -> None:
        if self._states is None:
            self._episode = PlainEpisode(self.env, seed, options)
        self._flags = False, False

    def _note(self, action: Any) -> None:
        if self._episode is not None:
            self._episode.add(action)

    def _came_to(self, flags: list[Any], reward: float) -> None:
        self._flags = bool(flags[0]), bool(flags[1])
        if self._episode is not None:
            self._episode.rewards += reward

    @property
    def states(self) -> Any:
        """What saves and restores states; see :func:`states_of`."""
        if self._states is None:
            if self._episode is None:
                self.begin()
            episode = self._episode
            assert episode is not None
            episode.obs, episode.flags = self.obs, self._flags
            episode.attributes = self.attributes
            self._states = states_of(self._factory, self.env, episode)
            self.env, self._episode = self._states.env, None
        return self._states

    def get_state(self) -> Any:
        return self.states.save(self.obs, self._info, *self._flags)

    def set_state(self, state: Any) -> bool:
        self.obs, self._info, terminated, truncated = self.states.load(state)
        self._flags = terminated, truncated
        return self.has_ended

    def info(self) -> dict[str, Any]:
        return self._info

    def step_batch(self, actions: Any, states: Any = None, *others: Any, **kwargs: Any) -> Any:
        self.get_state()
        return self.states.run("step_batch", actions, states, *others, **kwargs)

    def rollout_batch(self, actions: Any, states: Any = None, *others: Any, **kwargs: Any) -> Any:
        self.get_state()
        return self.states.run("rollout_batch", actions, states, *others, **kwargs)

    # ---- everything else ----------------------------------------------------------------------

    def find(self, name: str) -> Any:
        """One of ``VERBS``, or an attribute of the environment."""
        if name in VERBS:
            return getattr(self, name)
        if name == "set_wrapper_attr":
            self.attributes.append(name)
        env = self.layers
        return getattr(env, name) if hasattr(env, name) else env.get_wrapper_attr(name)

    def close(self) -> None:
        (self.env if self._states is None else self._states).close()

"""PlainEnv: a plain Gymnasium environment in a worker, with the methods of a ``PlanEnv``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym

from plangym_lite.core import PlanEnv
from plangym_lite.nested import run_frames
from plangym_lite.recipe.plain import RunningPlain
from plangym_lite.transitions import Step, Transition

__all__ = ["PlainEnv", "hosted"]


def hosted(constructor: Callable[[], Any]) -> Any:
    """The result of ``constructor``; a plain Gymnasium environment as a :class:`PlainEnv`."""
    env = constructor()
    if isinstance(env, gym.Env) and not isinstance(env, PlanEnv):
        return PlainEnv(env, constructor)
    return env


class PlainEnv:
    """A plain environment with its own ``reset`` and ``step``.

    States are saved by the adapter that ``make(factory)`` would use, made at the first request.

    Args:
        env: the environment.
        factory: makes another one.
    """

    def __init__(self, env: Any, factory: Callable[[], Any]) -> None:
        self._plain = RunningPlain(env, factory, self.reset)

    @property
    def observation_space(self) -> Any:
        return self._plain.env.observation_space

    @property
    def action_space(self) -> Any:
        return self._plain.env.action_space

    def reset(
        self,
        return_state: bool = False,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> Any:
        """Gymnasium's ``(obs, info)``; with ``return_state``, ``(state, obs, info)``."""
        self._plain.begin(seed, options)
        given = {"seed": seed, "options": options}
        answer = self._plain.env.reset(**{name: v for name, v in given.items() if v is not None})
        self._plain.obs, self._plain.info = answer if isinstance(answer, tuple) else (answer, {})
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
        env = self._plain.env
        answer = self._step(action) if dt == 1 else run_frames(self._step, action, dt, env)
        if not isinstance(answer, tuple) or len(answer) != 5:
            return answer
        return Transition(self.get_state(), *answer) if return_state else Step(*answer)

    def _step(self, action: Any) -> Any:
        plain = self._plain
        plain.note(action)
        answer = plain.env.step(action)
        if isinstance(answer, tuple) and len(answer) == 5:
            plain.obs, reward, *flags, plain.info = answer
            plain.flags = bool(flags[0]), bool(flags[1])
            plain.add_reward(float(reward))
        return answer

    def _step_as_row(self, action: Any, dt: int, return_state: bool, seed: int | None) -> Any:
        """A step from an ended state, which changes nothing, or a seeded one."""
        batch = self.step_batch([action], None, dt, True, seeds=seed)
        row = tuple(column[0] for column in batch)
        self.set_state(row[0])
        return Transition(*row) if return_state else Step(*row[1:])

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> Any:
        return self._plain.save()

    def set_state(self, state: Any) -> bool:
        """Set the state; whether it is the end of an episode."""
        return self._plain.load(state)

    def info(self) -> dict[str, Any]:
        return self._plain.info

    def step_batch(
        self,
        actions: Any,
        states: Any = None,
        dt: Any = 1,
        return_state: bool | None = None,
        *,
        seeds: Any = None,
    ) -> Any:
        self.get_state()
        rows = actions, states, dt, return_state
        return self._plain.states.run("step_batch", *rows, seeds=seeds)

    def rollout_batch(
        self,
        actions: Any,
        states: Any = None,
        dt: Any = 1,
        return_observs: str | None = "last",
        *,
        seeds: Any = None,
    ) -> Any:
        self.get_state()
        rows = actions, states, dt, return_observs
        return self._plain.states.run("rollout_batch", *rows, seeds=seeds)

    # ---- everything else ----------------------------------------------------------------------

    def find(self, name: str) -> Any:
        """An attribute of this object or, failing that, of the environment."""
        if name in vars(PlainEnv):
            return getattr(self, name)
        if name == "set_wrapper_attr":
            self._plain.attributes.append(name)
        env = self._plain.layers
        return getattr(env, name) if hasattr(env, name) else env.get_wrapper_attr(name)

    def close(self) -> None:
        self._plain.close()

"""WorkerEnv: one environment of a vector environment, on the worker's side.

It speaks the worker's own messages: a step of a vector environment is the worker's call to run
rows, with one row, where the seat stands for the environment. Unlike a row of a batch, the step
starts where the one before ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from plangym_lite.core import PlanEnv
from plangym_lite.errors import NotCloneableError
from plangym_lite.nested import (
    as_info,
    as_reward,
    copy_element,
    fit_element,
    no_step,
    own_info,
    split_reset,
)
from plangym_lite.recipe.recipe import Recipe
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.transitions import BatchSpec, Columns, Rows, write_row

__all__ = ["Factory", "WorkerEnv", "seat_recipes"]

Factory = Callable[[], Any] | str | EnvSpec
"""Makes an environment; or, where all are such, the id or spec of one, for ``gymnasium.make``."""


def seat_recipes(factories: Iterable[Factory], mode: AutoresetMode) -> list[Recipe]:
    """What each worker calls to make its environment and put it on a seat.

    Raises:
        TypeError: a factory cannot be called, and they are not all ids or specs.
        ValueError: there is none.
    """
    factories = [factories] if isinstance(factories, str) else list(factories)
    if all(isinstance(factory, (str, EnvSpec)) for factory in factories):
        factories = [Recipe(gym.make, (name,)) for name in factories]
    for index, factory in enumerate(factories):
        if not callable(factory):
            raise TypeError(f"env factory {index} must be callable, got {factory!r}")
    if not factories:
        raise ValueError("give at least one env factory")
    return [Recipe(_make_seat, (factory, mode)) for factory in factories]


def _make_seat(factory: Callable[[], Any], mode: AutoresetMode) -> WorkerEnv:
    return WorkerEnv(factory(), mode)


class WorkerEnv:
    """One environment, a ``PlanEnv`` or a plain Gymnasium one, and when it starts anew.

    Args:
        env: the environment.
        mode: when an episode that has ended is followed by the next.
    """

    def __init__(self, env: Any, mode: AutoresetMode) -> None:
        self.env = env
        self._mode = mode
        self._plan_env: SimulatorEnv | None = env.unwrapped if isinstance(env, PlanEnv) else None
        self._obs: Any = None  # the last one of a plain environment
        self._ended = False
        self._seeds: Sequence[int | None] = (None,)
        self._episode = 0
        self._last_rewards: Any = None  # of the actors, before the last automatic reset

    @property
    def observation_space(self) -> gym.Space:
        """The environment's."""
        return self.batch_spec.observation_space

    @property
    def action_space(self) -> gym.Space:
        """The environment's."""
        return self.batch_spec.action_space

    @property
    def batch_spec(self) -> BatchSpec:
        """The environment's; a plain environment has no states."""
        if self._plan_env is not None:
            return self._plan_env.batch_spec
        return BatchSpec(self.env.observation_space, self.env.action_space, None, None)

    def describe(self) -> tuple[dict[str, Any], str | None]:
        """The environment's metadata and render mode."""
        inner = self.env if self._plan_env is None else getattr(self._plan_env, "gym_env", self.env)
        mode = getattr(self.env, "render_mode", getattr(inner, "render_mode", None))
        return dict(getattr(inner, "metadata", None) or {}), mode

    # ---- episodes -----------------------------------------------------------------------------

    def make_transitions(self, rows: Rows, out: Columns) -> list[dict[str, Any]]:
        """Run the one row that is given from where the environment stands."""
        self._last_rewards = None
        if not self._ended:
            return [self._step(rows.actions[0], out)]
        if self._mode is AutoresetMode.DISABLED:
            raise RuntimeError(
                "its episode has ended: reset it first, with options={'reset_mask': ...}"
            )
        obs, info = self._begin_episode(None, None)
        write_row(out.observs, 0, obs)
        out.rewards[0], out.terminateds[0], out.truncateds[0] = 0.0, False, False
        return [info]

    def _step(self, action: Any, out: Columns) -> dict[str, Any]:
        action = action.copy() if hasattr(action, "copy") else action  # an engine may keep it
        if self._plan_env is not None:
            info = self._plan_env.step_here(action, out, 0)
            self._ended = self._plan_env.has_ended
        else:
            info = self._step_plain(self.env, action, out)
        if not self._ended or self._mode is not AutoresetMode.SAME_STEP:
            return info
        self._last_rewards = self.ask("get_actor_rewards")
        last = copy_element(self.observation_space, self.observe())
        obs, reset_info = self._begin_episode(None, None)
        write_row(out.observs, 0, obs)
        return {"final_info": info, "final_obs": last, **reset_info}

    def _step_plain(self, env: Any, action: Any, out: Columns) -> dict[str, Any]:
        """Step an environment that is no ``PlanEnv``."""
        answer = env.step(action)
        try:
            obs, reward, terminated, truncated, info = answer
        except (TypeError, ValueError):
            raise no_step(answer, env) from None
        self._obs = fit_element(self.observation_space, obs)
        self._ended = bool(terminated or truncated)
        write_row(out.observs, 0, self._obs)
        out.rewards[0] = as_reward(reward, env)
        out.terminateds[0], out.truncateds[0] = terminated, truncated
        return own_info(info if info.__class__ is dict else dict(as_info(info, env)))

    def _begin_episode(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, Any]:
        if seed is None:
            seed = self._seeds[self._episode % len(self._seeds)]
        self._episode += 1
        self._ended = False
        if self._plan_env is not None:
            return self.env.reset(return_state=False, seed=seed, options=options)
        obs, info = split_reset(self.env.reset(seed=seed, options=options), self.env)
        self._obs = fit_element(self.observation_space, obs)
        return self._obs, own_info(info)

    def reset(self, seed: int | None, options: dict[str, Any] | None, anew: bool) -> Any:
        """Begin an episode; ``anew``: with the first of the seeds. Return ``(obs, info)``."""
        if anew:
            self._episode = 0
        self._last_rewards = None
        return self._begin_episode(seed, options)

    def keep_seeds(self, seeds: Sequence[int | None]) -> None:
        """Seeds for the episodes to come, one after another and over again."""
        self._seeds, self._episode = tuple(seeds), 0

    def observe(self) -> Any:
        """The current observation."""
        return self._obs if self._plan_env is None else self._plan_env.observe()

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> Any:
        """The environment's state."""
        return self._cloneable().get_state()

    def set_state(self, state: Any) -> bool:
        """Put the environment into ``state``; whether that is the end of an episode."""
        env = self._cloneable()
        env.set_state(state)
        self._ended = env.unwrapped.has_ended
        return self._ended

    def state_info(self, state: Any, action: Any) -> tuple[float, bool]:
        """Reward and end of a step from ``state``; the environment stays where it is."""
        batch = self._cloneable().step_batch([action], [state], return_state=False)
        return float(batch.rewards[0]), bool(batch.terminateds[0] or batch.truncateds[0])

    def _cloneable(self) -> PlanEnv:
        if self._plan_env is None:
            raise NotCloneableError(
                f"a plain {type(self.env.unwrapped).__name__} has no states that could be saved: "
                "let its factory return plangym_lite.make(...) of it"
            )
        return self.env

    # ---- everything else ----------------------------------------------------------------------

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of the environment; the value of what is no method."""
        found = self.find(name)
        return found(*args, **kwargs) if callable(found) else found

    def find(self, name: str) -> Any:
        """An attribute of the environment or of what it wraps.

        Raises:
            AttributeError: there is none, or it is private.
        """
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is private: only public names cross the border")
        env = self._holder(name)
        return getattr(env, name) if isinstance(env, PlanEnv) else env.get_wrapper_attr(name)

    def set_env_attr(self, name: str, value: Any) -> None:
        """Set an attribute where it is found, else on the innermost environment."""
        env = self._holder(name)
        if isinstance(env, PlanEnv):
            setattr(env, name, value)
        else:
            env.set_wrapper_attr(name, value)

    def _holder(self, name: str) -> Any:
        if self._plan_env is None or hasattr(self.env, name):
            return self.env
        return getattr(self._plan_env, "gym_env", self.env)

    def ask(self, name: str) -> Any:
        """What a method without arguments says; ``None`` where the environment has none."""
        try:
            found = self.find(name)
        except AttributeError:
            return None
        return found() if callable(found) else found

    def actor_rewards(self) -> Any:
        """What each actor earned in the last step, even if the next episode has begun."""
        return self.ask("get_actor_rewards") if self._last_rewards is None else self._last_rewards

    def is_wrapped(self, wrapper_class: type) -> bool:
        """Whether one of the environment's layers is of that class."""
        layer = self._holder("env") if self._plan_env is not None else self.env
        while layer is not None:
            if isinstance(layer, wrapper_class):
                return True
            layer = getattr(layer, "env", None)
        return False

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

"""WorkerEnv: one environment of a vector environment, on the worker's side.

A step of a vector environment is a CALL to run one row, and this class takes the place of the
``PlanEnv``. Unlike a row of a batch, the step starts from the current state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from plangym_lite.core import PlanEnv
from plangym_lite.nested import copy_element, own_copy
from plangym_lite.recipe.recipe import Recipe
from plangym_lite.transitions import BatchSpec, Columns, Rows, write_row
from plangym_lite.vectorization.worker.plain import PlainEnv

__all__ = ["Factory", "WorkerEnv", "worker_recipes"]

Factory = Callable[[], Any] | str | EnvSpec
"""Makes an environment; or an id or spec for ``gymnasium.make`` (then all must be)."""


def worker_recipes(factories: Iterable[Factory], mode: AutoresetMode) -> list[Recipe]:
    """The recipe of the :class:`WorkerEnv` of each factory, or of each id or spec."""
    factories = [factories] if isinstance(factories, str) else list(factories)
    if all(isinstance(factory, (str, EnvSpec)) for factory in factories):
        factories = [Recipe(gym.make, (name,)) for name in factories]
    for index, factory in enumerate(factories):
        if not callable(factory):
            raise TypeError(f"env factory {index} must be callable, got {factory!r}")
    if not factories:
        raise ValueError("give at least one env factory")
    return [Recipe(WorkerEnv, (factory, mode)) for factory in factories]


class WorkerEnv:
    """A ``PlanEnv`` or plain environment, made by ``factory``, with automatic resets."""

    def __init__(self, factory: Callable[[], Any], mode: AutoresetMode) -> None:
        env, self._mode = factory(), mode
        self._is_plain = not isinstance(env, PlanEnv)
        self._env: Any = PlainEnv(env, factory) if self._is_plain else env
        self._local: Any = self._env if self._is_plain else env.unwrapped  # that is stepped
        if self._is_plain:
            self._env.begin = partial(self._begin_episode, None, None)
        self._ended = False
        self._seeds: Sequence[int | None] = (None,)
        self._episode = 0
        self._last_rewards: Any = None  # of the actors, before the last automatic reset

    @property
    def env(self) -> Any:
        """The environment itself."""
        return self._env.env if self._is_plain else self._env

    @property
    def observation_space(self) -> gym.Space:
        return self.batch_spec.observation_space

    @property
    def action_space(self) -> gym.Space:
        return self.batch_spec.action_space

    @property
    def batch_spec(self) -> BatchSpec:
        """The environment's; without states for a plain environment."""
        if self._is_plain:
            return BatchSpec(self._env.observation_space, self._env.action_space, None, None)
        return self._local.batch_spec

    @property
    def gym_env(self) -> Any:
        """The Gymnasium environment in it, or the ``PlanEnv``."""
        return self._env.layers if self._is_plain else getattr(self._local, "gym_env", self._env)

    def describe(self) -> tuple[dict[str, Any], str | None]:
        inner = self.gym_env
        mode = getattr(self.env, "render_mode", getattr(inner, "render_mode", None))
        return dict(getattr(inner, "metadata", None) or {}), mode

    # ---- episodes -----------------------------------------------------------------------------

    def make_transitions(self, rows: Rows, out: Columns) -> list[dict[str, Any]]:
        """Run the only row, from the current state."""
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
        info = self._local.step_here(action, out, 0)
        self._ended = self._local.has_ended
        if not self._ended or self._mode is not AutoresetMode.SAME_STEP:
            return info
        rewards = self.ask("get_actor_rewards")
        self._last_rewards = None if rewards is None else np.array(rewards)
        last = self._own_obs()
        obs, reset_info = self._begin_episode(None, None)
        write_row(out.observs, 0, obs)
        return {"final_info": info, "final_obs": last, **reset_info}

    def _begin_episode(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, Any]:
        if seed is None:
            seed = self._seeds[self._episode % len(self._seeds)]
        self._episode += 1
        self._ended = False
        if self._is_plain:
            return self._env.reset_here(seed, options)
        return self._env.reset(return_state=False, seed=seed, options=options)

    def reset(self, seed: int | None, options: dict[str, Any] | None, anew: bool) -> Any:
        """Begin an episode; ``anew``: from the first of the seeds. Returns ``(obs, info)``."""
        if anew:
            self._episode = 0
        self._last_rewards = None
        return self._begin_episode(seed, options)

    def keep_seeds(self, seeds: Sequence[int | None]) -> None:
        """Set the seeds of later episodes, used in order and then again from the first."""
        self._seeds, self._episode = tuple(seeds), 0

    def _own_obs(self) -> Any:
        """A copy of the current observation; of a plain environment as returned."""
        if self._is_plain:
            return own_copy(self._env.obs)
        return copy_element(self.observation_space, self._local.observe())

    def observe(self) -> Any:
        return self._local.observe()

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> Any:
        return self._env.get_state()

    def check_state(self, state: Any) -> None:
        """Raise ``InvalidStateError`` unless ``state`` looks like one of this environment."""
        if self._is_plain:
            self._env.states.check(state)

    def set_state(self, state: Any) -> bool:
        """Set the state; whether it is the end of an episode."""
        self._env.set_state(state)
        self._ended = self._local.has_ended
        return self._ended

    def state_info(self, state: Any, action: Any) -> tuple[float, bool]:
        """Reward and end of a step from ``state``; the current state does not change."""
        batch = self._env.step_batch([action], [state], return_state=False)
        return float(batch.rewards[0]), bool(batch.terminateds[0] or batch.truncateds[0])

    # ---- everything else ----------------------------------------------------------------------

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = self.find(name)
        return found(*args, **kwargs) if callable(found) else found

    def find(self, name: str) -> Any:
        """A public attribute of the environment or of a layer inside it, or ``AttributeError``."""
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is private: only public names may be used in a worker")
        env = self._holder(name)
        return getattr(env, name) if isinstance(env, PlanEnv) else env.get_wrapper_attr(name)

    def has(self, name: str) -> bool:
        try:
            self.find(name)
        except AttributeError:
            return False
        return True

    def set_env_attr(self, name: str, value: Any) -> None:
        """Set an attribute where it is found, else on the innermost environment."""
        env = self._holder(name)
        if self._is_plain:
            self._env.attributes.append(name)
        if isinstance(env, PlanEnv):
            setattr(env, name, value)
        else:
            env.set_wrapper_attr(name, value)

    def _holder(self, name: str) -> Any:
        return self.gym_env if self._is_plain or not hasattr(self._env, name) else self._env

    def ask(self, name: str) -> Any:
        """The result of a method without arguments; ``None`` if it does not exist."""
        try:
            found = self.find(name)
        except AttributeError:
            return None
        return found() if callable(found) else found

    def actor_rewards(self) -> Any:
        """Rewards of each actor in the last step, also after an automatic reset."""
        return self.ask("get_actor_rewards") if self._last_rewards is None else self._last_rewards

    def is_wrapped(self, wrapper_class: type) -> bool:
        layer = self.gym_env
        while layer is not None:
            if isinstance(layer, wrapper_class):
                return True
            layer = getattr(layer, "env", None)
        return False

    def close(self) -> None:
        self._env.close()

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
from plangym_lite.nested import (
    as_info,
    as_reward,
    copy_element,
    fit_element,
    no_step,
    own_copy,
    own_info,
    split_reset,
)
from plangym_lite.recipe.plain import RunningPlain
from plangym_lite.recipe.recipe import Recipe
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.transitions import BatchSpec, Columns, Rows, write_row

__all__ = ["Factory", "WorkerEnv", "worker_recipes"]

Factory = Callable[[], Any] | str | EnvSpec
"""Makes an environment; or an id or spec for ``gymnasium.make`` (then all must be)."""


def worker_recipes(factories: Iterable[Factory], mode: AutoresetMode) -> list[Recipe]:
    """The recipe of the :class:`WorkerEnv` of each worker.

    Raises:
        TypeError: a factory is not callable, and they are not all ids or specs.
        ValueError: there are no factories.
    """
    factories = [factories] if isinstance(factories, str) else list(factories)
    if all(isinstance(factory, (str, EnvSpec)) for factory in factories):
        factories = [Recipe(gym.make, (name,)) for name in factories]
    for index, factory in enumerate(factories):
        if not callable(factory):
            raise TypeError(f"env factory {index} must be callable, got {factory!r}")
    if not factories:
        raise ValueError("give at least one env factory")
    return [Recipe(_make_worker_env, (factory, mode)) for factory in factories]


def _make_worker_env(factory: Callable[[], Any], mode: AutoresetMode) -> WorkerEnv:
    return WorkerEnv(factory(), mode, factory)


class WorkerEnv:
    """One environment, a ``PlanEnv`` or a plain Gymnasium one, with automatic resets.

    Args:
        env: the environment.
        mode: when an ended episode is reset.
        factory: makes another environment, on which saving states of a plain one is verified.
    """

    def __init__(self, env: Any, mode: AutoresetMode, factory: Callable[[], Any]) -> None:
        self._env, self._mode = env, mode
        self._plan_env: SimulatorEnv | None = env.unwrapped if isinstance(env, PlanEnv) else None
        begin = partial(self._begin_episode, None, None)
        self._plain = RunningPlain(env, factory, begin)  # not used for a PlanEnv
        self._raw_obs: Any = None  # the last one of a plain environment, as returned
        self._ended = False
        self._seeds: Sequence[int | None] = (None,)
        self._episode = 0
        self._last_rewards: Any = None  # of the actors, before the last automatic reset

    @property
    def env(self) -> Any:
        return self._env if self._plan_env is not None else self._plain.env

    @property
    def observation_space(self) -> gym.Space:
        return self.batch_spec.observation_space

    @property
    def action_space(self) -> gym.Space:
        return self.batch_spec.action_space

    @property
    def batch_spec(self) -> BatchSpec:
        """The environment's; without states for a plain environment."""
        if self._plan_env is not None:
            return self._plan_env.batch_spec
        return BatchSpec(self.env.observation_space, self.env.action_space, None, None)

    @property
    def gym_env(self) -> Any:
        """The Gymnasium environment in it, or the ``PlanEnv``."""
        if self._plan_env is not None:
            return getattr(self._plan_env, "gym_env", self.env)
        return self._plain.layers

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
        if self._plan_env is not None:
            info = self._plan_env.step_here(action, out, 0)
            self._ended = self._plan_env.has_ended
        else:
            info = self._step_plain(self.env, action, out)
        if not self._ended or self._mode is not AutoresetMode.SAME_STEP:
            return info
        rewards = self.ask("get_actor_rewards")
        self._last_rewards = None if rewards is None else np.array(rewards)
        last = self._own_obs()
        obs, reset_info = self._begin_episode(None, None)
        write_row(out.observs, 0, obs)
        return {"final_info": info, "final_obs": last, **reset_info}

    def _step_plain(self, env: Any, action: Any, out: Columns) -> dict[str, Any]:
        self._plain.note(action)
        answer = env.step(action)
        try:
            obs, reward, terminated, truncated, info = answer
        except (TypeError, ValueError):
            raise no_step(answer, env) from None
        self._raw_obs = obs
        self._plain.obs = fit_element(self.observation_space, obs)
        self._plain.flags = bool(terminated), bool(truncated)
        self._ended = any(self._plain.flags)
        write_row(out.observs, 0, self._plain.obs)
        out.rewards[0] = reward = as_reward(reward, env)
        self._plain.add_reward(reward)
        out.terminateds[0], out.truncateds[0] = terminated, truncated
        self._plain.info = info if info.__class__ is dict else dict(as_info(info, env))
        return own_info(self._plain.info)

    def _begin_episode(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, Any]:
        if seed is None:
            seed = self._seeds[self._episode % len(self._seeds)]
        self._episode += 1
        self._ended = False
        if self._plan_env is not None:
            return self.env.reset(return_state=False, seed=seed, options=options)
        self._plain.begin(seed, options)
        obs, info = split_reset(self.env.reset(seed=seed, options=options), self.env)
        self._plain.obs, self._plain.info = fit_element(self.observation_space, obs), info
        return self._plain.obs, own_info(info)

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
        if self._plan_env is None:
            return own_copy(self._raw_obs)
        return copy_element(self.observation_space, self._plan_env.observe())

    def observe(self) -> Any:
        return self._plain.obs if self._plan_env is None else self._plan_env.observe()

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> Any:
        if self._plan_env is not None:
            return self.env.get_state()
        return self._plain.save()

    def check_state(self, state: Any) -> None:
        """Raise ``InvalidStateError`` unless ``state`` looks like one of this environment."""
        if self._plan_env is None:
            self._plain.states.check(state)

    def set_state(self, state: Any) -> bool:
        """Set the state; whether it is the end of an episode."""
        if self._plan_env is not None:
            self.env.set_state(state)
            self._ended = self._plan_env.has_ended
        else:
            self._ended = self._plain.load(state)
        return self._ended

    def state_info(self, state: Any, action: Any) -> tuple[float, bool]:
        """Reward and end of a step from ``state``; the current state does not change."""
        if self._plan_env is not None:
            batch = self.env.step_batch([action], [state], return_state=False)
            return float(batch.rewards[0]), bool(batch.terminateds[0] or batch.truncateds[0])
        here = self.get_state()
        try:
            if self.set_state(state):
                return 0.0, True
            _, reward, terminated, truncated, _ = self.env.step(action)
            return as_reward(reward, self.env), bool(terminated or truncated)
        finally:
            self.set_state(here)

    # ---- everything else ----------------------------------------------------------------------

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of the environment, or return the value of an attribute."""
        found = self.find(name)
        return found(*args, **kwargs) if callable(found) else found

    def find(self, name: str) -> Any:
        """An attribute of the environment or of a layer inside it.

        Raises:
            AttributeError: it does not exist, or is private.
        """
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
        self._plain.attributes.append(name)
        if isinstance(env, PlanEnv):
            setattr(env, name, value)
        else:
            env.set_wrapper_attr(name, value)

    def _holder(self, name: str) -> Any:
        if self._plan_env is not None and hasattr(self.env, name):
            return self.env
        return self.gym_env

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
        (self._env if self._plan_env is not None else self._plain).close()

"""make(): one front door. What Gymnasium would build decides the adapter, not the name.

An adapter is found along the base classes of the environment, so that a subclass of an engine's
environment is saved by that engine's adapter. Whatever has no adapter of its own is saved by the
generic snapshot of :class:`~plangym_lite.envs.gym.PlangymEnv`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from plangym_lite.core import PlanEnv
from plangym_lite.envs.gym import PlangymEnv
from plangym_lite.errors import UnknownEnvironmentError

__all__ = ["PROVIDERS", "adapter_for", "find_spec", "make", "register_adapter", "usable_cores"]

PROVIDERS = ("ale_py", "minigrid", "shimmy")
"""Packages that add ids to Gymnasium when they are imported."""

_CLASSIC = "gymnasium.envs.classic_control."
_TOY_TEXT = "gymnasium.envs.toy_text."
_ADAPTERS = {
    "ale_py.env:AtariEnv": "plangym_lite.envs.atari:AtariEnv",
    "gymnasium.envs.mujoco.mujoco_env:MujocoEnv": "plangym_lite.envs.mujoco:MujocoEnv",
    **{
        _CLASSIC + engine: "plangym_lite.envs.classic_control:ClassicControl"
        for engine in (
            "cartpole:CartPoleEnv",
            "acrobot:AcrobotEnv",
            "mountain_car:MountainCarEnv",
            "continuous_mountain_car:Continuous_MountainCarEnv",
            "pendulum:PendulumEnv",
        )
    },
    **{
        _TOY_TEXT + engine: "plangym_lite.envs.toy_text:ToyText"
        for engine in (
            "taxi:TaxiEnv",
            "frozen_lake:FrozenLakeEnv",
            "cliffwalking:CliffWalkingEnv",
            "blackjack:BlackjackEnv",
        )
    },
}


def make(
    name: str | Callable[..., Any],
    n_workers: int | str | None = None,
    ray: bool = False,
    **engine_kwargs: Any,
) -> PlanEnv:
    """Make an environment that can be stepped from any saved state.

    Args:
        name: a Gymnasium id; a ``PlanEnv`` or ``gymnasium.Env`` class; or a callable that returns
            such an environment.
        n_workers: ``None``: no workers. A number: that many processes share every ``step_batch``.
            ``"auto"``: as many as there are usable cores.
        ray: run the workers on a Ray cluster.
        engine_kwargs: what the adapter takes (see its class) and, beyond that, the engine.

    Raises:
        UnknownEnvironmentError: nothing has that name; the message gives the nearest names.
        NotCloneableError: the environment's state cannot be saved exactly.
    """
    if ray:
        raise NotImplementedError("ray=True: Ray workers are not built yet; use n_workers=")
    adapter, named = adapter_for(name)
    if named:
        engine_kwargs["name"] = name
    if n_workers is None:
        return adapter(**engine_kwargs)
    from plangym_lite.vectorization.parallel import ParallelEnv

    count = usable_cores() if n_workers == "auto" else n_workers
    return ParallelEnv(adapter, n_workers=count, **engine_kwargs)


def adapter_for(name: str | Callable[..., Any]) -> tuple[Callable[..., PlanEnv], bool]:
    """The adapter for what ``name`` stands for, and whether it wants to be told the name."""
    if isinstance(name, str):
        creator: Any = find_spec(name).entry_point
        if isinstance(creator, str):
            creator = load_env_creator(creator)
        made = creator if isinstance(creator, type) else _type_made_by(lambda: gym.make(name))
        return _adapter_of(made), True
    if isinstance(name, type):
        if issubclass(name, PlanEnv):
            return name, False
        if issubclass(name, gym.Env):
            return _adapter_of(name), True
        raise TypeError(f"expected a PlanEnv or gymnasium.Env class, got {name!r}")
    if not callable(name):
        raise TypeError(f"expected an id, a class or a callable, got {name!r}")
    made = _type_made_by(name)
    if issubclass(made, PlanEnv):
        return name, False
    return _adapter_of(made), True


def register_adapter(engine: str | type, adapter: str | type[PlanEnv]) -> None:
    """Let ``make`` use ``adapter`` for environments of the class ``engine`` and its subclasses.

    Both are classes or strings of the form ``"module:Class"``. A package can also announce the
    pair as an entry point of the group ``plangym_lite.adapters``.
    """
    _ADAPTERS[engine if isinstance(engine, str) else _key(engine)] = adapter  # type: ignore


def find_spec(name: str) -> Any:
    """Gymnasium's spec of an id, importing the packages that may provide it."""
    for provider in ("", *PROVIDERS):
        if provider and importlib.util.find_spec(provider):
            module = importlib.import_module(provider)
            gym.register_envs(module)
        try:
            return gym.spec(name)
        except gym.error.Error:
            continue
    near = difflib.get_close_matches(name, gym.registry, n=3, cutoff=0.5)
    hint = f"; the nearest names are {', '.join(near)}" if near else ""
    raise UnknownEnvironmentError(f"no environment is called {name!r}{hint}")


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _adapter_of(made: type) -> type[PlanEnv]:
    known = {**{entry.name: entry.value for entry in _announced()}, **_ADAPTERS}
    for base in made.__mro__:
        adapter: Any = known.get(_key(base))
        if isinstance(adapter, str):
            module, _, attribute = adapter.partition(":")
            adapter = getattr(importlib.import_module(module), attribute)
        if adapter is not None:
            return adapter
    return PlangymEnv


def _announced() -> Any:
    return entry_points(group="plangym_lite.adapters")


def _key(engine: type) -> str:
    return f"{engine.__module__}:{engine.__qualname__}"


def _type_made_by(constructor: Callable[..., Any]) -> type:
    env = constructor()
    try:
        if not isinstance(env, (PlanEnv, gym.Env)):
            raise TypeError(f"{constructor!r} returned {env!r}, not an environment")
        return type(env.unwrapped)
    finally:
        if hasattr(env, "close"):
            env.close()

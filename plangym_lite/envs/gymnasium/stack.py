"""Helpers for building a Gymnasium environment: wrappers, options, render modes."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from PIL import Image

from plangym_lite.envs.gymnasium.window import SDL_DISPLAYS, check_display
from plangym_lite.recipe.recipe import original_of

__all__ = [
    "apply_wrapper",
    "call_factory",
    "check_options",
    "checked_wrappers",
    "hand_over",
    "make_by_gymnasium",
    "spaces_of",
    "take_over",
    "takes",
    "to_grayscale",
]

_handed = threading.local()


def to_grayscale(image: np.ndarray) -> np.ndarray:
    """``[H, W, 3]`` uint8 to ``[H, W]`` uint8 luma."""
    return np.asarray(Image.fromarray(image).convert("L"))


def checked_wrappers(wrappers: Any) -> tuple[Any, ...]:
    """The wrappers as a tuple; ``TypeError`` if they are not callables and pairs."""
    if callable(wrappers) or isinstance(wrappers, (str, dict)):
        raise TypeError(f"wrappers must be a list, got {wrappers!r}: write wrappers=[{wrappers!r}]")
    wrappers = tuple(wrappers or ())
    for wrapper in wrappers:
        is_pair = isinstance(wrapper, tuple) and len(wrapper) == 2
        if not callable(wrapper[0] if is_pair else wrapper):
            raise TypeError(
                f"wrappers must hold callables or pairs (callable, arguments), got {wrapper!r}"
            )
    return wrappers


def check_options(
    adapter: Any, state_method: str | None, obs_type: str, render_mode: str | None, images: bool
) -> None:
    """Raise ``ValueError`` for options that do not exist or exclude each other."""
    methods = adapter.STATE_METHODS
    if state_method not in (None, *methods):
        raise ValueError(f"state_method must be None or one of {methods}, got {state_method!r}")
    if obs_type not in adapter.OBS_TYPES:
        raise ValueError(f"obs_type must be one of {adapter.OBS_TYPES}, got {obs_type!r}")
    if render_mode not in (None, "rgb_array", "human"):
        raise ValueError(f"render_mode must be rgb_array, human or None, got {render_mode!r}")
    if render_mode is None and (images or obs_type in ("rgb", "grayscale")):
        raise ValueError("images need render_mode='rgb_array', got render_mode=None")
    if render_mode == "human":
        check_display(getattr(adapter, "DISPLAYS", SDL_DISPLAYS))


def check_window(env: gym.Env, render_mode: str | None) -> gym.Env:
    """``env``; raise ``ValueError`` if it was to show a window, and was built without one."""
    if render_mode != "human" or env.render_mode == "human":
        return env
    env.close()
    known = env.metadata.get("render_modes")
    raise ValueError(
        f"{env} opens no window: render_mode='human' must be one of its modes, {known}, and a "
        "callable must take render_mode="
    )


def call_factory(factory: Any, kwargs: dict[str, Any], render_mode: str | None) -> gym.Env:
    """What a callable builds, or what was handed over; with ``render_mode`` if it takes one."""
    if render_mode is not None and takes(factory, "render_mode"):
        kwargs.setdefault("render_mode", render_mode)
    built = take_over(original_of(factory), kwargs)
    return check_window(factory(**kwargs) if built is None else built, render_mode)


def make_by_gymnasium(
    name: Any, spec: Any, kwargs: dict[str, Any], render_mode: str | None
) -> gym.Env:
    """``gymnasium.make`` of a name; ``render_mode`` is dropped if unsupported, but not "human"."""
    is_asked_for = "render_mode" in kwargs
    if render_mode is not None and knows_render_mode(spec, render_mode):
        kwargs.setdefault("render_mode", render_mode)
    try:
        return check_window(gym.make(name, disable_env_checker=True, **kwargs), render_mode)
    except TypeError as error:
        if is_asked_for or "render_mode" not in str(error):
            raise
    del kwargs["render_mode"]
    return check_window(gym.make(name, disable_env_checker=True, **kwargs), render_mode)


def hand_over(maker: Any, kwargs: dict[str, Any], env: Any) -> None:
    """Keep an environment that a callable built, for the next ``take_over``."""
    _handed.over = maker, kwargs, env


def take_over(maker: Any, kwargs: dict[str, Any] | None) -> Any:
    """The environment that was handed over, if made by that callable with these arguments.

    Otherwise ``None``, and the environment is closed; with ``kwargs=None`` it is closed always.
    """
    handed, _handed.over = getattr(_handed, "over", None), None
    if handed is None:
        return None
    if handed[0] is maker and handed[1] == kwargs:
        return handed[2]
    handed[2].close()
    return None


def apply_wrapper(env: gym.Env, wrapper: Any) -> gym.Env:
    """Wrap an environment in a wrapper, or in a pair of a wrapper and its arguments."""
    if not isinstance(wrapper, tuple):
        return wrapper(env)
    function, arguments = wrapper
    if isinstance(arguments, dict):
        return function(env, **arguments)
    if isinstance(arguments, (list, tuple)):
        return function(env, *arguments)
    return function(env, arguments)


def spaces_of(env: gym.Env) -> list[Any]:
    """The action space and the observation space; ``TypeError`` if one is no space."""
    found = {"action_space": env.action_space, "observation_space": env.observation_space}
    for name, space in found.items():
        if not isinstance(space, gym.Space):
            raise TypeError(f"{name} of {env} must be a gymnasium.Space, got {space!r}")
    return list(found.values())


def takes(function: Callable[..., Any], name: str, or_any: bool = False) -> bool:
    """Whether a function has a parameter of that name or, if ``or_any``, takes ``**kwargs``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    kinds = [parameter.kind for parameter in parameters.values()]
    return name in parameters or (or_any and inspect.Parameter.VAR_KEYWORD in kinds)


def knows_render_mode(spec: Any, mode: str | None) -> bool:
    """Whether the environment of an ``EnvSpec`` supports a render mode, as far as it says."""
    creator: Any = getattr(spec, "entry_point", None)
    if mode is None:
        return False
    if isinstance(creator, str):
        creator = load_env_creator(creator)
    metadata = getattr(creator, "metadata", None)
    if not isinstance(metadata, dict):
        return takes(creator, "render_mode", or_any=True)
    known = mode in metadata.get("render_modes", ())
    return known and (not isinstance(creator, type) or takes(creator, "render_mode", or_any=True))

"""What stands around the building of a Gymnasium environment: wrappers, render modes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from PIL import Image

__all__ = ["apply_wrapper", "checked_wrappers", "knows_render_mode", "takes", "to_grayscale"]


def to_grayscale(image: np.ndarray) -> np.ndarray:
    """``[H, W, 3]`` uint8 to ``[H, W]`` uint8 luma."""
    return np.asarray(Image.fromarray(image).convert("L"))


def checked_wrappers(wrappers: Any) -> tuple[Any, ...]:
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


def apply_wrapper(env: gym.Env, wrapper: Any) -> gym.Env:
    if not isinstance(wrapper, tuple):
        return wrapper(env)
    function, arguments = wrapper
    if isinstance(arguments, dict):
        return function(env, **arguments)
    if isinstance(arguments, (list, tuple)):
        return function(env, *arguments)
    return function(env, arguments)


def takes(function: Callable[..., Any], name: str, or_any: bool = False) -> bool:
    """Whether a function has a parameter of that name, ``or_any`` by ``**``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    kinds = [parameter.kind for parameter in parameters.values()]
    return name in parameters or (or_any and inspect.Parameter.VAR_KEYWORD in kinds)


def knows_render_mode(spec: Any, mode: str | None) -> bool:
    """Whether what an ``EnvSpec`` makes, as far as it tells, can be made with a render mode."""
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

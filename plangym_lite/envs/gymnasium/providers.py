"""Packages that register ids in Gymnasium when they are imported."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

import gymnasium as gym

__all__ = ["PROVIDERS", "register_ids_of", "spec_of"]

PROVIDERS = ("ale_py", "minigrid", "shimmy")
"""In the order in which they are imported."""


def register_ids_of(provider: str) -> None:
    """Import a package for its ids; warn if it is installed but cannot be imported."""
    if importlib.util.find_spec(provider) is None:
        return
    try:
        gym.register_envs(importlib.import_module(provider))
    except ImportError as error:  # shimmy imports packages of gymnasium[mujoco]
        warnings.warn(
            f"{provider} is installed but cannot be imported ({error}): its ids are left out",
            RuntimeWarning,
            stacklevel=2,
        )


def spec_of(name: str) -> Any:
    """Gymnasium's spec of an id, or ``None``; imports the packages that may provide it.

    ``"module:Id-v0"`` imports only that module.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    module, _, name = name.rpartition(":")
    if module:
        importlib.import_module(module)
    for provider in ("", *(() if module else PROVIDERS)):
        if provider:
            register_ids_of(provider)
        try:
            return gym.spec(name)
        except gym.error.Error:
            continue
    return None

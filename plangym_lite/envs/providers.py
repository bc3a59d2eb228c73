"""Packages that add ids to Gymnasium when they are imported, in this process or in a worker."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import gymnasium as gym

__all__ = ["PROVIDERS", "spec_of"]

PROVIDERS = ("ale_py", "minigrid", "shimmy")
"""In the order in which they are asked."""


def spec_of(name: str) -> Any:
    """Gymnasium's spec of an id, importing the packages that may provide it; or ``None``."""
    for provider in ("", *PROVIDERS):
        if provider and importlib.util.find_spec(provider):
            gym.register_envs(importlib.import_module(provider))
        try:
            return gym.spec(name)
        except gym.error.Error:
            continue
    return None

"""stable-baselines3, where it is installed: our vector environments count as its own."""

from __future__ import annotations

import importlib.util

__all__ = ["accept"]


def accept(vec_env: type) -> None:
    """Have stable-baselines3 take ``vec_env`` and its subclasses as its ``VecEnv``."""
    if importlib.util.find_spec("stable_baselines3") is None:
        return
    from stable_baselines3.common.vec_env import VecEnv

    VecEnv.register(vec_env)

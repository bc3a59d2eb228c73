"""The reference of Gymnasium: its processes, which clone no states."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import gymnasium as gym
import numpy as np

from plangym_lite.cli.bench.rounds import Contender
from plangym_lite.envs.gymnasium.families import register_ids_of

__all__ = ["async_vector_env", "stepper"]


def async_vector_env(stack: ExitStack, name: str, n_envs: int, **engine_kwargs: Any) -> Contender:
    """Gymnasium's: one process per environment, observations in shared memory."""
    register_ids_of("ale_py")
    makers = [lambda: gym.make(name, **engine_kwargs)] * n_envs
    envs: Any = gym.vector.AsyncVectorEnv(makers)
    stack.callback(envs.close)
    envs.reset(seed=0)
    return stepper(envs, envs.action_space.sample(), n_envs)


def stepper(envs: Any, actions: np.ndarray, units: int) -> Contender:
    """Steps a vector environment repeatedly with the same actions."""
    repeats = max(1, 64 // units)

    def run() -> int:
        for _ in range(repeats):
            envs.step(actions)
        return repeats * units

    return run

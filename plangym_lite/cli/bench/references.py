"""References: Gymnasium's processes, which clone no states, and MuJoCo's own batches."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from typing import Any

import gymnasium as gym
import numpy as np

from plangym_lite.cli.bench.ours import gather, open_env
from plangym_lite.cli.bench.rounds import Contender
from plangym_lite.envs.gymnasium.providers import register_ids_of

__all__ = ["async_vector_env", "mujoco_rollout", "stepper"]


def async_vector_env(stack: ExitStack, name: str, n_envs: int, **engine_kwargs: Any) -> Contender:
    """Gymnasium's: one process per environment, observations in shared memory."""
    register_ids_of("ale_py")
    makers = [lambda: gym.make(name, **engine_kwargs)] * n_envs
    envs: Any = gym.vector.AsyncVectorEnv(makers)
    stack.callback(envs.close)
    envs.reset(seed=0)
    return stepper(envs, envs.action_space.sample(), n_envs)


def mujoco_rollout(stack: ExitStack, name: str, size: int, n_threads: int) -> Contender:
    """MuJoCo's own batches: physics only; no observations, contact forces or infos."""
    mujoco: Any = importlib.import_module("mujoco")
    rollout: Any = importlib.import_module("mujoco.rollout")
    env = open_env(stack, name, None)
    base: Any = env.unwrapped.gym_env.unwrapped  # type: ignore[attr-defined]
    model, kind = base.model, mujoco.mjtState.mjSTATE_FULLPHYSICS
    states, actions = gather(env, size)
    starts = np.empty((size, mujoco.mj_stateSize(model, kind)))
    for start, state in zip(starts, states, strict=True):
        env.set_state(state)
        mujoco.mj_getState(model, base.data, start, kind)
    controls = np.repeat(actions[:, None].astype(float), base.frame_skip, 1)
    pool = stack.enter_context(rollout.Rollout(nthread=n_threads))
    datas = [mujoco.MjData(model) for _ in range(n_threads)]

    def run() -> int:
        pool.rollout(model, datas, starts, controls)
        return size

    return run


def stepper(envs: Any, actions: np.ndarray, units: int) -> Contender:
    """Steps a vector environment repeatedly with the same actions."""
    repeats = max(1, 64 // units)

    def run() -> int:
        for _ in range(repeats):
            envs.step(actions)
        return repeats * units

    return run

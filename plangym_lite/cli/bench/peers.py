"""Other libraries at their own kind of work; most of them clone no states."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from typing import Any

import gymnasium as gym
import numpy as np

from plangym_lite.cli.bench.ours import gather, open_env
from plangym_lite.cli.bench.rounds import Contender

__all__ = ["HOW_TO_INSTALL", "async_vector_env", "envpool", "mujoco_rollout", "plangym"]

HOW_TO_INSTALL = """\
The peers are best installed in an environment of their own (plangym alone pulls a gigabyte):

    python -m venv peers
    peers/bin/pip install plangym-lite envpool plangym "gymnasium[mujoco]" matplotlib
    peers/bin/plangym-lite bench

Gymnasium's AsyncVectorEnv is always there. Lines whose package is missing are left out."""


def async_vector_env(stack: ExitStack, name: str, n_envs: int, **engine_kwargs: Any) -> Contender:
    """Gymnasium's: a process for each environment, observations in shared memory."""
    import ale_py

    gym.register_envs(ale_py)
    makers = [lambda: gym.make(name, **engine_kwargs)] * n_envs
    envs: Any = gym.vector.AsyncVectorEnv(makers)
    stack.callback(envs.close)
    envs.reset(seed=0)
    return _stepper(envs, envs.action_space.sample(), n_envs)


def envpool(stack: ExitStack, n_envs: int, frames: int, n_threads: int, unit: int = 1) -> Contender:
    """EnvPool's emulators in C++, on threads, with the picture in full size."""
    pool: Any = importlib.import_module("envpool").make(
        "MsPacman-v5",
        env_type="gymnasium",
        num_envs=n_envs,
        num_threads=n_threads,
        frame_skip=frames,
        stack_num=1,
        gray_scale=False,
        img_height=210,
        img_width=160,
        noop_max=1,
        repeat_action_probability=0.0,
        use_fire_reset=False,
    )
    stack.callback(pool.close)
    pool.reset()
    return _stepper(pool, np.random.default_rng(0).integers(5, size=n_envs), n_envs * unit)


def plangym(stack: ExitStack, name: str, size: int, dt: int = 1, **engine_kwargs: Any) -> Contender:
    """plangym's ``step_batch``, from states."""
    env: Any = importlib.import_module("plangym").make(name, **engine_kwargs)
    stack.callback(env.close)
    state = env.reset()[0]
    states: list[Any] = []
    for _ in range(size):
        state, *_ = env.step(env.sample_action(), state=state, dt=1)
        states.append(state)
    actions = [env.sample_action() for _ in range(size)]

    def run() -> int:
        env.step_batch(actions, states=states, dt=dt)
        return size

    return run


def mujoco_rollout(stack: ExitStack, name: str, size: int, n_threads: int) -> Contender:
    """MuJoCo's own batches: physics only, no observations, no contact forces, no infos."""
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


def _stepper(envs: Any, actions: np.ndarray, units: int) -> Contender:
    repeats = max(1, 64 // units)

    def run() -> int:
        for _ in range(repeats):
            envs.step(actions)
        return repeats * units

    return run

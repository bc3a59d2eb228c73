"""The measured code of this library."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from plangym_lite import make
from plangym_lite.cli.bench.rounds import Contender
from plangym_lite.core import PlanEnv

__all__ = ["ATARI", "gather", "open_env", "play_rows", "sequences", "step_rows"]

ATARI = "ALE/MsPacman-v5"
WARM_UP = 60  # random actions before the first state


def open_env(
    stack: ExitStack, name: Any, n_workers: int | None = None, **engine_kwargs: Any
) -> PlanEnv:
    """An environment that is closed with ``stack``; Atari without skipped frames."""
    if name == ATARI:
        engine_kwargs = {"frameskip": 1, **engine_kwargs}
    return stack.enter_context(make(name, n_workers=n_workers, **engine_kwargs))


def gather(env: PlanEnv, size: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    """``size`` states of random play, and an action for each."""
    local = env.unwrapped
    local.reset(seed=seed)
    local.action_space.seed(seed)
    states: list[Any] = []
    for count in range(WARM_UP + size):
        step = local.step(local.sample_action(), dt=5 if count < WARM_UP else 1)
        if step.terminated or step.truncated:
            local.reset(return_state=False)
        if count >= WARM_UP:
            states.append(local.get_state())
    actions = np.array([local.sample_action() for _ in range(size)])
    return (np.stack(states) if local.STATE_IS_ARRAY else states), actions


def sequences(env: PlanEnv, size: int, length: int) -> np.ndarray:
    """Random actions, ``[size, length, ...]``."""
    return np.array([[env.sample_action() for _ in range(length)] for _ in range(size)])


def step_rows(env: PlanEnv, size: int, dt: int = 1) -> Contender:
    """``step_batch``; a unit is a row."""
    states, actions = gather(env, size)
    repeats = max(1, 64 // size)

    def run() -> int:
        for _ in range(repeats):
            env.step_batch(actions, states, dt)
        return repeats * size

    return run


def play_rows(env: PlanEnv, size: int, length: int, dt: int = 1) -> Contender:
    """``rollout_batch`` without observations; a unit is a simulator step."""
    states, _ = gather(env, size)
    actions = sequences(env, size, length)

    def run() -> int:
        batch = env.rollout_batch(actions, states, dt, return_observs=None)
        return sum(info["n_step"] for info in batch.infos)

    return run

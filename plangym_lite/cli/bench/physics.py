"""MuJoCo on threads of this process: against MuJoCo's own batches, and against single steps.

MuJoCo's batches compute physics only: no observations, rewards, contact forces or infos. They start
from the same states, the warm starts of the solver included, as ours.
"""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from typing import Any

import numpy as np

from plangym_lite.cli.bench.ours import gather, open_env, play_rows, sequences, step_rows
from plangym_lite.cli.bench.rounds import Contender, Work
from plangym_lite.planners import cem, mppi

__all__ = ["CHEETAH", "mujoco_batch", "mujoco_rollout", "physics_works"]

CHEETAH, SWINGUP = "HalfCheetah-v5", "cartpole-swingup"
ROBOTS = (CHEETAH, "Hopper-v5", "Walker2d-v5", "Swimmer-v5", "Reacher-v5")
FORCEFUL = ("Ant-v5", "Humanoid-v5")  # contact forces are in their observations and costs
FORCELESS = {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}
TASKS = (SWINGUP, "cheetah-run", "walker-walk")
ROWS = 256
CALLS = 12_000  # of a decision


def physics_works(n: int) -> list[Work]:
    """All lines about MuJoCo, for ``n`` threads."""
    return [
        *(against_rollout(name, n, 0.9, 1.0) for name in ROBOTS),
        *(against_batch(name, n) for name in ROBOTS),
        *(against_rollout(name, n, 0.85, 0.95, **FORCELESS) for name in FORCEFUL),
        *(against_rollout(name, n, 0.6, 0.8) for name in FORCEFUL),
        rollouts_against_rollout(n),
        *(against_single_steps(name, n) for name in TASKS),
        *(decision_against_single_steps(planner, n) for planner in (cem, mppi)),
    ]


def against_rollout(name: str, n: int, at_least: float, aim: float, **engine_kwargs: Any) -> Work:
    """Observations, rewards and infos; MuJoCo's rollouts of one action."""

    def make(stack: ExitStack) -> Any:
        ours = step_rows(on_threads(stack, name, n, **engine_kwargs), ROWS)
        return ours, mujoco_rollout(stack, name, ROWS, n, **engine_kwargs)

    line = f"{name}{_forces(name, engine_kwargs)}, batch {ROWS}, {n} threads"
    return Work(line, _rollout(n), make, at_least, aim, "mujoco")


def against_batch(name: str, n: int) -> Work:
    """The same against MuJoCo's batches, whose states are copied in and out."""

    def make(stack: ExitStack) -> Any:
        ours = step_rows(on_threads(stack, name, n), ROWS)
        return ours, mujoco_batch(stack, name, ROWS, n)

    line, reference = f"{name}, batch {ROWS}, {n} threads", f"mujoco.batch, {n} threads"
    return Work(line, reference, make, 0.85, 0.95, "mujoco.batch")


def rollouts_against_rollout(n: int, size: int = 64, length: int = 50) -> Work:
    def make(stack: ExitStack) -> Any:
        ours = play_rows(on_threads(stack, CHEETAH, n), size, length)
        return ours, mujoco_rollout(stack, CHEETAH, size, n, length)

    line = f"{CHEETAH}, rollout_batch, {size} rows x {length} actions, {n} threads"
    return Work(line, _rollout(n), make, 0.9, 1.0, "mujoco")


def against_single_steps(name: str, n: int) -> Work:
    """Rows of dm_control at once, against the same rows stepped by dm_control one by one."""

    def make(stack: ExitStack) -> Any:
        return step_rows(on_threads(stack, name, n), ROWS), step_rows(one_by_one(stack, name), ROWS)

    line = f"{name}, batch {ROWS}, {n} threads"
    return Work(line, "row by row, 1 thread", make, 3.0, 5.0, "dm_control")


def decision_against_single_steps(planner: Any, n: int, calls: int = CALLS) -> Work:
    """A decision; a unit is a simulator call."""

    def make(stack: ExitStack) -> Any:
        ours, reference = on_threads(stack, SWINGUP, n), one_by_one(stack, SWINGUP)
        return decide(planner, ours, calls), decide(planner, reference, calls)

    line = f"{SWINGUP}, {planner.__name__}, {calls:,} calls, {n} threads"
    return Work(line, "row by row, 1 thread", make, 3.0, 5.0, "dm_control")


def on_threads(stack: ExitStack, name: str, n_threads: int, **engine_kwargs: Any) -> Any:
    """An environment without workers; threads of this process share the rows."""
    env: Any = open_env(stack, name, **engine_kwargs)
    env.use_threads(n_threads)
    return env


def one_by_one(stack: ExitStack, name: str) -> Any:
    """An environment that steps the rows of a batch one after the other."""
    env: Any = open_env(stack, name)
    env.accept_kernel(None)
    return env


def decide(planner: Any, env: Any, calls: int) -> Contender:
    """Decisions from the same state, with the same random numbers."""
    state, *_ = env.reset(seed=0)

    def run() -> int:
        found = planner(env, state, budget=calls, rng=np.random.default_rng(0))
        return found.search.simulator_calls

    return run


def mujoco_rollout(
    stack: ExitStack, name: str, size: int, n_threads: int, length: int = 1, **engine_kwargs: Any
) -> Contender:
    """``mujoco.rollout`` of ``length`` actions for each row; a unit is an action."""
    mujoco: Any = importlib.import_module("mujoco")
    rollout: Any = importlib.import_module("mujoco.rollout")
    env, rows, actions = _simulations(stack, name, size, engine_kwargs)
    base = env.gym_env.unwrapped
    played = actions[:, None] if length == 1 else sequences(env, size, length)
    kinds = mujoco.mjtState.mjSTATE_FULLPHYSICS, mujoco.mjtState.mjSTATE_WARMSTART
    model = base.model
    starts, warm = (np.empty((size, mujoco.mj_stateSize(model, kind))) for kind in kinds)
    for row, *outs in zip(rows, starts, warm, strict=True):
        mujoco.mj_setState(model, base.data, row, mujoco.mjtState.mjSTATE_INTEGRATION)
        for kind, out in zip(kinds, outs, strict=True):
            mujoco.mj_getState(model, base.data, out, kind)
    controls = np.repeat(played, base.frame_skip, axis=1).astype(float)
    pool = stack.enter_context(rollout.Rollout(nthread=n_threads))
    datas = [mujoco.MjData(model) for _ in range(n_threads)]

    def run() -> int:
        pool.rollout(model, datas, starts, controls, initial_warmstart=warm)
        return size * length

    return run


def mujoco_batch(stack: ExitStack, name: str, size: int, n_threads: int) -> Contender:
    """``mujoco.batch``, whole states copied in and out; a unit is a row."""
    batches: Any = importlib.import_module("mujoco.batch")
    env, rows, actions = _simulations(stack, name, size, {})
    base = env.gym_env.unwrapped
    batch = batches.Batch(base.model, size, n_threads)
    controls = batch.bind("ctrl")

    def run() -> int:
        batch.state[:] = rows
        controls[:] = actions
        batch.step(None, base.frame_skip)
        batch.state.copy()
        return size

    return run


def _simulations(stack: ExitStack, name: str, size: int, engine_kwargs: dict[str, Any]) -> Any:
    env: Any = open_env(stack, name, **engine_kwargs)
    states, actions = gather(env, size)
    return env, env.physics_of(states).integration, actions


def _rollout(n: int) -> str:
    return f"mujoco.rollout, {n} threads"


def _forces(name: str, engine_kwargs: dict[str, Any]) -> str:
    if name not in FORCEFUL:
        return ""
    return f" {'without' if engine_kwargs else 'with'} contact forces"

"""The loop that runs the rows of a batch on one simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.system import add_note
from plangym_lite.transitions import Columns, Rows, write_row, write_steps

__all__ = ["RUNNING", "TERMINATED", "TRUNCATED", "run_rows", "step_row", "write_end"]

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2
"""Bits of ``SimulatorEnv._ended``."""

Env = Any  # a SimulatorEnv


def run_rows(env: Env, rows: Rows, out: Columns) -> list[dict[str, Any]]:
    """Run each row from its state into the same row of ``out``; return the infos."""
    actions, states, dts, first, seeds = rows
    if isinstance(actions, np.ndarray):
        actions = list(actions.copy())  # an engine may keep a reference to its action
    run_row = step_row if out.lengths is None else roll_out_row
    seeded = None if seeds is None else seeds.tolist()
    infos = []
    for row, (action, state, dt) in enumerate(zip(actions, states, dts.tolist(), strict=True)):
        try:
            env.load_state(state)
            absorbed = env._ended
            if seeded is None:
                infos.append(run_row(env, action, dt, out, row))
            else:
                infos.append(env._seeded(seeded[row], run_row, env, action, dt, out, row))
            write_end(env, out, row, state if absorbed else None)
        except BaseException as error:  # an environment may even call sys.exit
            add_note(error, f"in row {first + row} of the batch (action {action!r}, dt {dt})")
            raise
    return infos


def step_row(env: Env, action: Any, dt: int, out: Columns, row: int) -> dict[str, Any]:
    """Run a row's action; return the info."""
    out.rewards[row], info = env._transition(action, dt)
    _write_obs(env, out.observs, row)
    return info


def roll_out_row(env: Env, actions: Any, dt: int, out: Columns, row: int) -> dict[str, Any]:
    """Run a row's actions, one after another, until the episode ends."""
    rewards, every = out.rewards[row], out.form.observs == "all"
    rewards[:] = 0.0
    info: dict[str, Any] = env.current_info() if env._ended else {}
    n_step, length, seen = 0, 0, []
    for left, action in zip(range(len(rewards))[::-1], actions, strict=True):
        if env._ended:
            break
        rewards[length], info = env._run_action(action, dt, more=left > 0)
        n_step, length = n_step + info["n_step"], length + 1
        if every:
            seen.append(env.current_obs())
    if every:
        last = seen[-1] if seen else env.current_obs()
        write_steps(out.observs, row, seen + [last] * (len(rewards) - length))
    elif out.observs is not None:
        _write_obs(env, out.observs, row)
    out.lengths[row] = length  # type: ignore[index]
    info["n_step"] = n_step
    info = env._complete(info, dt)
    return info


def write_end(env: Env, out: Columns, row: int, same: Any) -> None:
    """Write the row's last state and flags; ``same`` is its first state, if unchanged."""
    out.terminateds[row] = env._ended & TERMINATED
    out.truncateds[row] = env._ended & TRUNCATED
    if out.states is None:
        return
    if same is None and isinstance(out.states, np.ndarray):
        env.save_state(out.states[row])
    else:
        out.states[row] = env.save_state() if same is None else same


def _write_obs(env: Env, observs: Any, row: int) -> None:
    if isinstance(observs, np.ndarray):
        env.write_obs(observs[row, ...])
    else:
        write_row(observs, row, env.current_obs())

"""The lines of the table, with required ratios."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from plangym_lite.cli.bench.atari import act_only, raw_limit, raw_loop
from plangym_lite.cli.bench.ours import ATARI, open_env, play_rows, step_rows
from plangym_lite.cli.bench.physics import CHEETAH, physics_works
from plangym_lite.cli.bench.references import async_vector_env
from plangym_lite.cli.bench.rounds import Work

__all__ = ["atari_line", "ray_works", "rollout_line", "scaling_works", "table"]

OBS_TYPES = ("rgb", "grayscale", "ram")
CARTPOLE = "CartPole-v1"
CARTPOLE_SIZES = (4, 16, 64, 256, 1024, 4096)


def table(n: int) -> list[Work]:
    """All lines, for ``n`` workers."""
    return [
        *(raw(obs, 1, 128, n, 0.93, 0.97) for obs in OBS_TYPES),
        *(raw(obs, 4, 256, n, 0.96, 0.98) for obs in OBS_TYPES),
        raw("ram", 1, 16, n, 0.88, 0.92),
        raw("ram", 1, 2, n),
        raw("ram", 1, 64, n),
        raw("ram", 1, 1024, n),
        serial_atari(),
        *(with_workers(name, 1, n) for name in (ATARI, CARTPOLE, "FrozenLake-v1")),
        with_workers(CHEETAH, 1, n)._replace(needs="mujoco"),
        *(with_workers(CARTPOLE, size, n) for size in CARTPOLE_SIZES),
        rollouts_against_acting(n),
        against_async(16, n)._replace(at_least=1.4, aim=1.6),
        against_async(2, n)._replace(at_least=2.0, aim=2.4),
        *physics_works(n),
    ]


def scaling_works(counts: list[int]) -> list[Work]:
    """Atari against the raw limit for each number of workers.

    First 64 rows per worker; then batches of which the caller runs no rows, so that its CPU time is
    the overhead.
    """
    shared = [raw(obs, 1, 64 * n, n) for obs in ("ram", "rgb") for n in counts]
    sizes = [(size, n) for n in counts for size in (32, 128, 1024)]
    return [*shared, *(raw("ram", 1, *each, use_caller=False) for each in sizes)]


def ray_works(counts: list[int]) -> list[Work]:
    """Actors of a Ray cluster against the same number of processes."""
    return [against_processes(obs, n) for obs in ("ram", "rgb") for n in counts]


def against_processes(obs: str, n: int) -> Work:
    """Actors against processes; on this machine, unless ``RAY_ADDRESS`` names a cluster."""

    def make(stack: ExitStack) -> Any:
        envs = (open_env(stack, ATARI, n, obs_type=obs, ray=ray) for ray in (True, False))
        ours, reference = (step_rows(env, 256, 4) for env in envs)
        return ours, reference

    return Work(f"RayEnv, {atari_line(obs, 4, 256, n)}", "ParallelEnv", make, 0.8, needs="ray")


def raw(
    obs: str,
    frames: int,
    size: int,
    n: int,
    at_least: float | None = None,
    aim: float | None = None,
    *,
    use_caller: bool | None = None,
) -> Work:
    def make(stack: ExitStack) -> Any:
        env = open_env(stack, ATARI, n, obs_type=obs, use_caller=use_caller)
        return step_rows(env, size, frames), raw_limit(stack, obs, frames, size, n)

    name = atari_line(obs, frames, size, n) + (", use_caller=False" if use_caller is False else "")
    return Work(name, f"raw limit, {n} processes", make, at_least, aim)


def serial_atari() -> Work:
    def make(stack: ExitStack) -> Any:
        return step_rows(open_env(stack, ATARI, obs_type="ram"), 128), raw_loop("ram", 1, 128)

    return Work("Atari ram, 1 frame, batch 128, serial", "raw loop", make, 0.95, 0.98)


def with_workers(name: str, size: int, n: int) -> Work:
    def make(stack: ExitStack) -> Any:
        ours, reference = open_env(stack, name, n), open_env(stack, name)
        return step_rows(ours, size), step_rows(reference, size)

    return Work(f"{name}, batch {size}, {n} workers", "serial", make, 0.95, 1.0)


def rollouts_against_acting(n: int) -> Work:
    """Frames per second of ``rollout_batch``, against ``act`` alone."""

    def make(stack: ExitStack) -> Any:
        return play_rows(open_env(stack, ATARI, n), 64, 20, dt=4), act_only(stack, n)

    return Work(rollout_line(n), f"{n} processes that only act", make, 0.95, 0.98)


def against_async(n_envs: int, n: int) -> Work:
    def make(stack: ExitStack) -> Any:
        ours = step_rows(open_env(stack, ATARI, n, obs_type="rgb"), 16)
        return ours, async_vector_env(stack, ATARI, n_envs, frameskip=1)

    return Work(atari_line("rgb", 1, 16, n), f"AsyncVectorEnv, {n_envs} environments", make)


def atari_line(obs: str, frames: int, size: int, n: int) -> str:
    """The name of a line of Atari."""
    held = "1 frame" if frames == 1 else f"{frames} frames"
    return f"Atari {obs}, {held}, batch {size}, {n} workers"


def rollout_line(n: int) -> str:
    """The name of the line of rollouts."""
    return f"rollout_batch, 64 rows x 20 actions x 4 frames, {n} workers"

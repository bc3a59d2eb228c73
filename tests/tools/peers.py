"""Other libraries at their own kind of work, beside ours; most of them clone no states.

::

    python -m venv peers    # an environment of their own: plangym alone pulls a gigabyte
    peers/bin/pip install -e . envpool plangym
    peers/bin/python -m tests.tools.peers --workers 2

The options are those of ``plangym-lite bench``. Lines whose package is missing are left out.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np

from plangym_lite.cli.bench.command import add_options, run
from plangym_lite.cli.bench.ours import ATARI, open_env, play_rows, step_rows
from plangym_lite.cli.bench.references import stepper
from plangym_lite.cli.bench.rounds import Contender, Work
from plangym_lite.cli.bench.works import atari_line, rollout_line
from plangym_lite.cli.target import CommandError

CARTPOLE = "CartPole-v1"


def main(argv: list[str] | None = None) -> int:
    """Measure the lines for each number of workers; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.peers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_options(parser)
    options = parser.parse_args(argv)
    try:
        return run([work for n in options.workers for work in table(n)], options)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 2


def table(n: int) -> list[Work]:
    """All lines, for ``n`` workers."""
    return [
        rollouts_against_envpool(n),
        against_envpool(1, n),
        against_envpool(4, n),
        cartpole_against_plangym(),
        atari_against_plangym("rgb", n),
        atari_against_plangym("ram", n),
    ]


def rollouts_against_envpool(n: int) -> Work:
    """Frames a second."""

    def make(stack: ExitStack) -> Any:
        return play_rows(open_env(stack, ATARI, n), 64, 20, dt=4), envpool(stack, 16, 4, n, unit=4)

    return Work(rollout_line(n), f"EnvPool, {n} threads, 4 frames", make, 1.4, 1.6, "envpool")


def against_envpool(frames: int, n: int) -> Work:
    """C++ on threads; clones nothing."""

    def make(stack: ExitStack) -> Any:
        ours = step_rows(open_env(stack, ATARI, n, obs_type="rgb"), 128, frames)
        return ours, envpool(stack, 16, frames, n)

    return Work(
        atari_line("rgb", frames, 128, n), f"EnvPool, {n} threads", make, 0.9, 1.0, "envpool"
    )


def cartpole_against_plangym() -> Work:
    """Neither with workers."""

    def make(stack: ExitStack) -> Any:
        return step_rows(open_env(stack, CARTPOLE), 1024), plangym(stack, CARTPOLE, 1024)

    return Work(f"{CARTPOLE}, batch 1024, serial", "plangym", make, 2.0, 10.0, "plangym")


def atari_against_plangym(obs: str, n: int) -> Work:
    """Both with workers."""

    def make(stack: ExitStack) -> Any:
        theirs = plangym(stack, ATARI, 128, obs_type=obs, frameskip=1, n_workers=n)
        return step_rows(open_env(stack, ATARI, n, obs_type=obs), 128), theirs

    return Work(atari_line(obs, 1, 128, n), f"plangym, {n} workers", make, needs="plangym")


# ---- their side ---------------------------------------------------------------------------------


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
    return stepper(pool, np.random.default_rng(0).integers(5, size=n_envs), n_envs * unit)


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


if __name__ == "__main__":
    sys.exit(main())

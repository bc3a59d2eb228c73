"""The raw limit of Atari: one process per worker that does only the necessary emulator calls.

Each restores a live state, acts, reads the screen or the memory into a given buffer, and clones the
state. The only messages are start and end.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import ale_py
import numpy as np
from ale_py import roms

from plangym_lite.cli.bench.rounds import Contender

__all__ = ["GAME", "act_only", "raw_limit", "raw_loop"]

GAME = "ms_pacman"
WARM_UP = 300  # frames of random play before the first state
LOOPS = 8  # passes over the states per start message


def raw_loop(obs_type: str, frames: int, size: int, seed: int = 0) -> Contender:
    """``size`` transitions in this process."""
    ale, actions, rng = _console(seed)
    states = []
    for _ in range(size):
        ale.act(actions[rng.integers(len(actions))])
        states.append(ale.cloneState())
    choices = [actions[index] for index in rng.integers(len(actions), size=size)]
    read: Any = {
        "rgb": ale.getScreenRGB,
        "grayscale": ale.getScreenGrayscale,
        "ram": ale.getRAM,
    }[obs_type]
    buffer = read()

    def run() -> int:
        for state, action in zip(states, choices, strict=True):
            ale.restoreState(state)
            for _ in range(frames):
                ale.act(action)
            read(buffer)
            ale.cloneState()
        return size

    return run


def act_loop(size: int, seed: int = 0) -> Contender:
    """``size`` frames in this process, in consecutive games."""
    ale, actions, rng = _console(seed)
    choices = [actions[index] for index in rng.integers(len(actions), size=size)]

    def run() -> int:
        for action in choices:
            ale.act(action)
            if ale.game_over():
                ale.reset_game()
        return size

    return run


def raw_limit(
    stack: ExitStack, obs_type: str, frames: int, size: int, n_processes: int
) -> Contender:
    """``size`` states, divided among processes that run :func:`raw_loop`."""
    share = max(1, size // n_processes)
    return _side_by_side(stack, raw_loop, (obs_type, frames, share), n_processes, share)


def act_only(stack: ExitStack, n_processes: int, size: int = 2000) -> Contender:
    """Processes that only call ``act``."""
    return _side_by_side(stack, act_loop, (size,), n_processes, size)


def _console(seed: int) -> tuple[ale_py.ALEInterface, list[Any], np.random.Generator]:
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale, rng = ale_py.ALEInterface(), np.random.default_rng(seed)
    ale.setFloat("repeat_action_probability", 0.0)
    rom: Any = roms.get_rom_path(GAME)
    ale.loadROM(rom)
    ale.reset_game()
    actions = list(ale.getMinimalActionSet())
    for _ in range(WARM_UP):
        ale.act(actions[rng.integers(len(actions))])
    return ale, actions, rng


def _side_by_side(
    stack: ExitStack, make: Callable[..., Contender], args: tuple[Any, ...], count: int, share: int
) -> Contender:
    context = multiprocessing.get_context("spawn")
    loops = max(1, LOOPS * 64 // share)
    ends = []
    for index in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_loop_on_word, args=(theirs, make, (*args, index), loops), daemon=True
        )
        process.start()
        theirs.close()
        stack.callback(process.join, 10)
        stack.callback(ours.close)
        ends.append(ours)
    for end in ends:
        end.recv()

    def run() -> int:
        for end in ends:
            end.send(None)
        return sum(end.recv() for end in ends)

    return run


def _loop_on_word(pipe: Any, make: Callable[..., Contender], args: Any, loops: int) -> None:
    loop = make(*args)
    pipe.send(0)
    try:
        while True:
            pipe.recv()
            pipe.send(sum(loop() for _ in range(loops)))
    except EOFError:
        return

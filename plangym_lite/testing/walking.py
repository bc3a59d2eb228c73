"""Walks: the moves that the contract makes, and what an environment answers to them.

A *tape* is a list of entries: entry 0 is what stands before the first move, entry ``k`` what
follows move ``k - 1``. Two environments agree if their tapes of the same moves are equal.
"""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cloudpickle

from plangym_lite.core import PlanEnv
from plangym_lite.testing.comparing import Difference, differences

__all__ = [
    "Entry",
    "Move",
    "Stretch",
    "compare_entries",
    "draw_actions",
    "explore",
    "play",
    "play_elsewhere",
    "serve_stretches",
    "step_entry",
    "wander",
]


class Move(NamedTuple):
    """A step, or an unseeded reset."""

    action: Any = None
    reset: bool = False


class Entry(NamedTuple):
    """What is seen after a move."""

    obs: Any
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] | None = None  # None: nothing to compare
    state: Any = None  # None: not saved
    image: Any = None  # None: not drawn


class Stretch(NamedTuple):
    """A part of a walk: a state and the moves that come next."""

    state: Any
    moves: list[Move]
    images: frozenset[int] = frozenset()  # entries whose image is drawn
    saving: bool = False  # whether states are saved on the way


def draw_actions(env: PlanEnv, seed: int) -> Callable[[], Any]:
    """A source of seeded random actions that leaves the environment's own alone."""
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    return space.sample


def compare_entries(expected: Entry, got: Entry) -> Iterator[tuple[str, str]]:
    """Where two entries differ; what either of them does not hold is not compared."""
    for field in Entry._fields:
        one, other = getattr(expected, field), getattr(got, field)
        if one is not None and other is not None:
            yield from differences(one, other, field)


def explore(
    env: PlanEnv,
    seed: int,
    at_least: int,
    at_most: int,
    tail: int,
    *,
    images: frozenset[int] = frozenset(),
    saving: bool = False,
) -> tuple[list[Move], list[Entry]]:
    """Reset to ``seed`` and play at random: the reference, if nothing is saved or drawn.

    The walk makes ``at_least`` moves and then goes on to the next end of an episode, at most to
    move ``at_most``; there it resets, and makes ``tail`` moves more.
    """
    draw = draw_actions(env, seed)
    obs, info = env.reset(return_state=False, seed=seed)
    moves: list[Move] = []
    tape = [_complete(env, Entry(obs, info=info), 0 in images, saving)]
    stop: int | None = None
    while stop is None or len(moves) < stop:
        ended = tape[-1].terminated or tape[-1].truncated
        if stop is None and len(moves) >= at_least and (ended or len(moves) >= at_most):
            ended, stop = True, len(moves) + 1 + tail
        moves.append(Move(reset=True) if ended else Move(draw()))
        tape.append(_complete(env, _answer(env, moves[-1]), len(moves) in images, saving))
    return moves, tape


def play(
    env: PlanEnv,
    moves: list[Move],
    *,
    images: frozenset[int] = frozenset(),
    saving: bool = False,
) -> list[Entry]:
    """Make the moves from the current state; return the tape, states and images in it."""
    tape = [_complete(env, Entry(env.observe()), 0 in images, saving)]
    for number, move in enumerate(moves, 1):
        tape.append(_complete(env, _answer(env, move), number in images, saving))
    return tape


def _complete(env: PlanEnv, entry: Entry, drawing: bool, saving: bool) -> Entry:
    image = env.get_image() if drawing else None
    return entry._replace(image=image, state=env.get_state() if saving else None)


def _answer(env: PlanEnv, move: Move) -> Entry:
    if move.reset:
        obs, info = env.reset(return_state=False)
        return Entry(obs, info=info)
    return step_entry(env, move.action)


def step_entry(env: PlanEnv, action: Any, state: Any = None) -> Entry:
    """Step once, from ``state`` if one is given."""
    step: Any = env.step(action, state, return_state=False)
    return Entry(*step)


def wander(env: PlanEnv, seed: int, steps: int) -> None:
    """Play something else: a seeded reset, ``steps`` random steps, a reset on the way."""
    draw = draw_actions(env, seed)
    env.reset(return_state=False, seed=seed)
    for number in range(steps):
        if number == steps // 2:
            env.reset(return_state=False)
        env.step(draw())
    env.reset(return_state=False)


# ---- another process ----------------------------------------------------------------------------

CHILD = """
import os, pickle, sys
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # whatever the simulator prints
sys.path[:] = pickle.load(sys.stdin.buffer)
from plangym_lite.testing import walking
walking.serve_stretches(sys.stdin.buffer, answers)
"""


def play_elsewhere(
    make_env: Callable[[], PlanEnv], stretches: list[Stretch], timeout: float
) -> list[list[Entry]]:
    """Play each stretch in a new process, in an environment made there; return the tapes."""
    payload = pickle.dumps(sys.path) + cloudpickle.dumps((make_env, stretches))
    environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=payload,
            capture_output=True,
            timeout=timeout,
            env=environ,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Difference(f"no answer within {timeout:g} s") from None
    if done.returncode or not done.stdout:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Difference(f"the process ended with {done.returncode}: {' '.join(last)}")
    return pickle.loads(done.stdout)


def serve_stretches(questions: Any, answers: Any) -> None:
    """The other process: play what comes in, send the tapes back."""
    make_env, stretches = pickle.load(questions)
    tapes = []
    with make_env() as env:
        wander(env, 4, 11)
        for stretch in stretches:
            env.set_state(stretch.state)
            tapes.append(play(env, stretch.moves, images=stretch.images, saving=stretch.saving))
    answers.write(cloudpickle.dumps(tapes))
    answers.close()

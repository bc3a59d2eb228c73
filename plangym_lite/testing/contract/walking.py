"""Walks: the moves that the contract makes, and what an environment answers to them.

A *recording* is a list of entries: entry 0 is what is seen before the first move, entry ``k`` what
follows move ``k - 1``. Two environments agree if their recordings of the same moves are equal.
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
import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv
from plangym_lite.nested import NO_NOISE, Difference, Noise, differences
from plangym_lite.testing.contract.keeping import Keeper, copy_of

__all__ = [
    "Entry",
    "Move",
    "Route",
    "Stretch",
    "Walk",
    "compare_entries",
    "draw_actions",
    "explore",
    "follow",
    "play",
    "play_elsewhere",
    "serve_stretches",
    "step_entry",
    "wander",
]

FEW = 10  # moves after the last reset, where it is compared only with itself
WIDE_EVERY = 10  # so many moves with float32 actions, then so many with float64
FAR = 1e30  # where a Box has no bound
TWICE_EVERY, TWICE_AT = 8, 6  # moves that take dt=2


class Move(NamedTuple):
    """A step, or a reset, unseeded unless there is a seed."""

    action: Any = None
    reset: bool = False
    seed: int | None = None
    dt: int = 1


class Entry(NamedTuple):
    """What is seen after a move."""

    obs: Any
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] | None = None  # None: nothing to compare
    state: Any = None  # None: not saved
    image: Any = None  # None: not drawn


class Route(NamedTuple):
    """How a walk is made up."""

    seed: int
    at_least: int  # moves; then on to the next end of an episode,
    at_most: int  # at most to this move
    tail: int  # moves after the reset there
    seeded: bool = False  # give seeds to resets, but for one more at the end
    wide: bool = True  # let some actions be float64, where a Box of float32 takes them


class Walk(NamedTuple):
    """Moves and what they gave."""

    moves: list[Move]
    recording: list[Entry]
    resets: list[int]  # moves that are resets whether an episode ended there or not


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


def compare_entries(
    expected: Entry, got: Entry, noise: Noise = NO_NOISE
) -> Iterator[tuple[str, str]]:
    """Where two entries differ; what either of them does not hold is not compared."""
    for field in Entry._fields:
        one, other = getattr(expected, field), getattr(got, field)
        if one is not None and other is not None:
            yield from differences(one, other, field, noise)


def explore(
    env: PlanEnv,
    route: Route,
    keeper: Keeper,
    *,
    images: frozenset[int] = frozenset(),
    saving: bool = False,
) -> Walk:
    """Reset to the route's seed and play at random: the reference, if nothing is saved or drawn.

    The walk makes ``at_least`` moves and then goes on to the next end of an episode, at most to
    move ``at_most``; there it resets, and makes ``tail`` moves more.
    """
    draw = draw_actions(env, route.seed)
    obs, info = env.reset(return_state=False, seed=route.seed)
    moves: list[Move] = []
    recording = [_complete(env, Entry(obs, info=info), keeper, 0, (0 in images, saving))]
    resets: list[int] = []
    stop: int | None = None
    while stop is None or len(moves) < stop:
        number = len(moves)
        ended = recording[-1].terminated or recording[-1].truncated
        if stop is None and number >= route.at_least and (ended or number >= route.at_most):
            resets = [number, number + 1 + route.tail] if route.seeded else [number]
            stop = resets[-1] + 1 + (min(FEW, route.tail) if route.seeded else route.tail)
        if ended or number in resets:
            unseeded = not route.seeded or number in resets[1:]
            moves.append(Move(reset=True, seed=None if unseeded else route.seed + 1000 + number))
        else:
            moves.append(_step_number(number, env.action_space, draw(), route.wide))
        entry = _answer(env, moves[-1])
        drawing = len(moves) in images
        recording.append(_complete(env, entry, keeper, len(moves), (drawing, saving)))
    return Walk(moves, recording, resets)


def _step_number(number: int, space: Any, action: Any, wide: bool) -> Move:
    dt = 2 if number % TWICE_EVERY == TWICE_AT else 1
    if wide and number // WIDE_EVERY % 2 == 1:
        action = _widened(space, action)
    return Move(action, dt=dt)


def _widened(space: Any, action: Any) -> Any:
    """An action of a float32 Box as float64: a bit further inside, where no float32 is."""
    if not isinstance(space, spaces.Box) or space.dtype != np.float32:
        return action
    low, high = (
        np.nan_to_num(bound.astype(np.float64), posinf=FAR, neginf=-FAR)
        for bound in (space.low, space.high)
    )
    inside = (low / 2 + high / 2).astype(np.float32)
    near = np.nextafter(action, inside).astype(np.float64)
    return action + 0.3 * (near - action)


def follow(
    env: PlanEnv,
    seed: int,
    moves: list[Move],
    keeper: Keeper,
    *,
    images: frozenset[int] = frozenset(),
    saving: bool = False,
) -> list[Entry]:
    """Reset to ``seed`` and make the moves; return the recording, states and images in it."""
    obs, info = env.reset(return_state=False, seed=seed)
    recording = [_complete(env, Entry(obs, info=info), keeper, 0, (0 in images, saving))]
    for number, move in enumerate(moves, 1):
        entry = _answer(env, move)
        recording.append(_complete(env, entry, keeper, number, (number in images, saving)))
    return recording


def play(
    env: PlanEnv,
    moves: list[Move],
    keeper: Keeper,
    *,
    images: frozenset[int] = frozenset(),
    saving: bool = False,
) -> list[Entry]:
    """Make the moves from the current state; return the recording, states and images in it."""
    recording = [_complete(env, Entry(env.observe()), keeper, 0, (0 in images, saving))]
    for number, move in enumerate(moves, 1):
        entry = _answer(env, move)
        recording.append(_complete(env, entry, keeper, number, (number in images, saving)))
    return recording


def _complete(
    env: PlanEnv, entry: Entry, keeper: Keeper, number: int, wanted: tuple[bool, bool]
) -> Entry:
    """The entry with its image and its state; what came is kept, and copies of it go on."""
    where = f"step {number}"
    entry = entry._replace(
        obs=keeper.keep(where, "obs", entry.obs), info=keeper.keep(where, "info", entry.info)
    )
    drawing, saving = wanted
    image = keeper.keep(where, "image", env.get_image()) if drawing else None
    state = env.get_state() if saving else None
    if saving:
        keeper.sum(where, "state", state)
    return entry._replace(image=image, state=state)


def _answer(env: PlanEnv, move: Move) -> Entry:
    if move.reset:
        obs, info = env.reset(return_state=False, seed=move.seed)
        return Entry(obs, info=info)
    return step_entry(env, move.action, dt=move.dt)


def step_entry(env: PlanEnv, action: Any, state: Any = None, dt: int = 1) -> Entry:
    """Step once, from ``state`` if one is given."""
    step: Any = env.step(copy_of(action), state, dt, return_state=False)
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
from plangym_lite.testing.contract import walking
walking.serve_stretches(sys.stdin.buffer, answers)
"""


def play_elsewhere(
    make_env: Callable[[], PlanEnv], stretches: list[Stretch], timeout: float
) -> list[list[Entry]]:
    """Play each stretch in a new process, in an environment made there; return the recordings."""
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
    """The other process: play what comes in, send the recordings back."""
    make_env, stretches = pickle.load(questions)
    recordings, keeper = [], Keeper()
    with make_env() as env:
        wander(env, 4, 11)
        for stretch in stretches:
            env.set_state(stretch.state)
            images, saving = stretch.images, stretch.saving
            recordings.append(play(env, stretch.moves, keeper, images=images, saving=saving))
    keeper.check()
    answers.write(cloudpickle.dumps(recordings))
    answers.close()

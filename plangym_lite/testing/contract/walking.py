"""Walks: the moves of the contract, and the results of an environment.

A *recording* is a list of entries: entry 0 is before the first move, entry ``k`` follows move
``k - 1``. Two environments agree if their recordings of the same moves are equal.
"""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv
from plangym_lite.envs.verify.recording import legal_or_next
from plangym_lite.nested import NO_NOISE, Difference, Noise, differences, own_copy

__all__ = [
    "LARGE",
    "NUMBERS",
    "Entry",
    "Keeper",
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
    "play_stretch",
    "step_entry",
    "wander",
]

NUMBERS = 0
"""The seed of the global generators for each run of the walk."""
LARGE = 1 << 16  # bytes of an array that is kept by its checksum
FEW = 10  # moves after the last reset, compared with our own only
WIDE_EVERY = 10  # alternate this number of moves with float32 and float64 actions
FAR = 1e30  # in place of missing bounds of a Box
TWICE_EVERY, TWICE_AT = 8, 6  # every 8th move has dt=2
UNMASKED_EVERY, UNMASKED_AT = 60, 40  # moves 40 to 59 of 60 may be illegal by an action_mask


class Move(NamedTuple):
    """A step, or a reset with or without a seed."""

    action: Any = None
    reset: bool = False
    seed: int | None = None
    dt: int = 1


class Entry(NamedTuple):
    """The results of a move."""

    obs: Any
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] | None = None  # None: not compared
    state: Any = None  # None: not saved
    image: Any = None  # None: not rendered


class Route(NamedTuple):
    """The parameters of a walk."""

    seed: int
    at_least: int  # moves, then on to the next end of an episode,
    at_most: int  # but not beyond this move
    tail: int  # moves after the reset at that end
    seeded: bool = False  # seed all resets except one more at the end
    wide: bool = True  # use some float64 actions in a Box of float32


class Walk(NamedTuple):
    """Moves and their results."""

    moves: list[Move]
    recording: list[Entry]
    resets: list[int]  # resets that do not depend on an end of an episode


class Stretch(NamedTuple):
    """A part of a walk: a state and the moves after it."""

    state: Any
    moves: list[Move]
    images: frozenset[int] = frozenset()  # entries with an image
    saving: bool = False  # whether states are saved during the moves


# ---- what was returned, to check that it does not change later ----------------------------------


class Keeper:
    """Keeps returned values, with a copy made on arrival.

    For states and large arrays the copy is a checksum.
    """

    def __init__(self) -> None:
        self._held: list[tuple[str, str, Any, Any]] = []
        self._summed: list[tuple[str, str, Any, int]] = []

    def keep(self, where: str, what: str, value: Any) -> Any:
        """Keep ``value``, an ``"obs"`` or an ``"info"``; return the copy."""
        if isinstance(value, np.ndarray) and value.nbytes >= LARGE:
            self.sum(where, what, value)
            return value
        kept = own_copy(value)
        if kept is not value:
            self._held.append((where, what, value, kept))
        return kept

    def sum(self, where: str, what: str, value: Any) -> None:
        """Keep an array or a state with a checksum."""
        checksum = _checksum(value)
        if checksum is not None:
            self._summed.append((where, what, value, checksum))

    def check(self) -> None:
        """Raise :class:`Difference` if a kept value has changed."""
        for where, what, value, kept in self._held:
            for path, text in differences(kept, value, what):
                # a value that differs from its own copy shows nothing
                if path not in dict(differences(own_copy(value), value, what)):
                    raise Difference(f"a held {what} changed: {where}: {path}: {text}")
        for where, what, value, checksum in self._summed:
            if _checksum(value) != checksum:
                raise Difference(f"a held {what} changed: {where}")


def _checksum(value: Any) -> int | None:
    """A checksum of the value; ``None`` if it has none."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    try:
        return zlib.crc32(pickle.dumps(value))
    except Exception:  # a foreign __reduce__ may raise anything
        return None


# ---- moves ---------------------------------------------------------------------------------------


def draw_actions(env: PlanEnv, seed: int) -> Callable[[], Any]:
    """Seeded random actions, without the generator of the environment's space."""
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    return space.sample


def compare_entries(
    expected: Entry, got: Entry, noise: Noise = NO_NOISE
) -> Iterator[tuple[str, str]]:
    """The differences of two entries; a missing value is not compared."""
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
    """Reset to the route's seed, make random moves; the reference if nothing is saved or drawn.

    The walk makes ``at_least`` moves and continues to the next end of an episode, at most to move
    ``at_most``; then it resets and makes ``tail`` more moves.
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
            action = draw()
            if number % UNMASKED_EVERY < UNMASKED_AT:
                action = legal_or_next(env.action_space, action, recording[-1].info)
            moves.append(_step_number(number, env.action_space, action, route.wide))
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
    """An action of a float32 Box as a float64 further inside that no float32 equals."""
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
    """Reset to ``seed`` and make the moves; return the recording with states and images."""
    obs, info = env.reset(return_state=False, seed=seed)
    first = Entry(obs, info=info)
    return play(env, moves, keeper, images=images, saving=saving, first=first)


def play(
    env: PlanEnv,
    moves: list[Move],
    keeper: Keeper,
    *,
    images: frozenset[int] = frozenset(),
    saving: bool = False,
    first: Entry | None = None,
) -> list[Entry]:
    """Make the moves from the current state; return the recording with states and images.

    ``first`` is the entry of the current state; ``None``: only its observation.
    """
    first = Entry(env.observe()) if first is None else first
    recording = [_complete(env, first, keeper, 0, (0 in images, saving))]
    for number, move in enumerate(moves, 1):
        entry = _answer(env, move)
        recording.append(_complete(env, entry, keeper, number, (number in images, saving)))
    return recording


def play_stretch(env: PlanEnv, stretch: Stretch, keeper: Keeper) -> list[Entry]:
    """Restore the state of a stretch and make its moves; return the recording."""
    env.set_state(stretch.state)
    return play(env, stretch.moves, keeper, images=stretch.images, saving=stretch.saving)


def _complete(
    env: PlanEnv, entry: Entry, keeper: Keeper, number: int, wanted: tuple[bool, bool]
) -> Entry:
    """The entry with image and state, as copies; the returned values are kept."""
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
    """Step once, from ``state`` if given."""
    step: Any = env.step(own_copy(action), state, dt, return_state=False)
    return Entry(*step)


def wander(env: PlanEnv, seed: int, steps: int) -> None:
    """Make other moves: a seeded reset, ``steps`` random steps, a reset in between."""
    draw = draw_actions(env, seed)
    *_, info = env.reset(return_state=False, seed=seed)
    for number in range(steps):
        if number == steps // 2:
            *_, info = env.reset(return_state=False)
        *_, info = env.step(legal_or_next(env.action_space, draw(), info))
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
    """Make the moves of each stretch in a new process and environment; return the recordings."""
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
    """Run the other process: receive stretches, send recordings."""
    make_env, stretches = pickle.load(questions)
    keeper = Keeper()
    with make_env() as env:
        wander(env, 4, 11)
        recordings = [play_stretch(env, stretch, keeper) for stretch in stretches]
    keeper.check()
    answers.write(cloudpickle.dumps(recordings))
    answers.close()

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
    "Options",
    "Recorder",
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


class Options(NamedTuple):
    """Parameters of the walk: see :func:`plangym_lite.testing.contract.contract.check_exact`."""

    seed: int = 0
    depths: tuple[int, ...] = (0, 5, 30)
    length: int = 40
    reach: int = 300
    wide_actions: bool = True
    plain: Callable[[], Any] | None = None


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
    """Keeps returned values with copies made on arrival; of states and large arrays checksums."""

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
        for where, what, value, kept in self._held:
            for path, text in differences(kept, value, what):
                # a value that differs from its own copy shows nothing
                if path not in dict(differences(own_copy(value), value, what)):
                    raise Difference(f"a held {what} changed: {where}: {path}: {text}")
        for where, what, value, checksum in self._summed:
            if _checksum(value) != checksum:
                raise Difference(f"a held {what} changed: {where}")


def _checksum(value: Any) -> int | None:
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


class Recorder:
    """Makes moves in an environment and records the results, which ``keeper`` keeps.

    ``images`` are the entries with an image; ``saving``: every entry has a state.
    """

    def __init__(
        self,
        env: PlanEnv,
        keeper: Keeper,
        images: frozenset[int] = frozenset(),
        saving: bool = False,
    ) -> None:
        self.env, self.keeper = env, keeper
        self.images, self.saving = images, saving
        self.recording: list[Entry] = []

    def make(self, *moves: Move) -> list[Entry]:
        for move in moves:
            if move.reset:
                obs, info = self.env.reset(return_state=False, seed=move.seed)
                self.add(Entry(obs, info=info))
            else:
                self.add(step_entry(self.env, move.action, dt=move.dt))
        return self.recording

    def add(self, entry: Entry) -> None:
        number, keep = len(self.recording), self.keeper.keep
        where = f"step {number}"
        obs, info = keep(where, "obs", entry.obs), keep(where, "info", entry.info)
        image = keep(where, "image", self.env.get_image()) if number in self.images else None
        state = self.env.get_state() if self.saving else None
        if self.saving:
            self.keeper.sum(where, "state", state)
        self.recording.append(entry._replace(obs=obs, info=info, image=image, state=state))


def explore(recorder: Recorder, options: Options, seeded: bool) -> Walk:
    """Reset to the seed, make random moves; the reference if nothing is saved or drawn.

    The walk makes the moves after all depths and continues to the next end of an episode, at most
    ``reach`` moves; then it resets and makes ``length`` more moves. ``seeded``: all resets have
    seeds except one more at the end.
    """
    seed, tail = options.seed, options.length
    at_least = max(options.depths) + tail
    space, draw = recorder.env.action_space, draw_actions(recorder.env, seed)
    recording = recorder.make(Move(reset=True, seed=seed))
    moves: list[Move] = []
    resets: list[int] = []
    stop: int | None = None
    while stop is None or len(moves) < stop:
        number = len(moves)
        ended = recording[-1].terminated or recording[-1].truncated
        is_far = number >= at_least + options.reach
        if stop is None and number >= at_least and (ended or is_far):
            resets = [number, number + 1 + tail] if seeded else [number]
            stop = resets[-1] + 1 + (min(FEW, tail) if seeded else tail)
        if ended or number in resets:
            unseeded = not seeded or number in resets[1:]
            moves.append(Move(reset=True, seed=None if unseeded else seed + 1000 + number))
        else:
            action = draw()
            if number % UNMASKED_EVERY < UNMASKED_AT:
                action = legal_or_next(space, action, recording[-1].info)
            moves.append(_step_number(number, space, action, options.wide_actions))
        recorder.make(moves[-1])
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


def follow(recorder: Recorder, seed: int, moves: list[Move]) -> list[Entry]:
    """Reset to ``seed`` and make the moves; return the recording."""
    return recorder.make(Move(reset=True, seed=seed), *moves)


def play(recorder: Recorder, moves: list[Move]) -> list[Entry]:
    """Make the moves from the current state; return the recording."""
    recorder.add(Entry(recorder.env.observe()))
    return recorder.make(*moves)


def play_stretch(env: PlanEnv, stretch: Stretch, keeper: Keeper) -> list[Entry]:
    """Restore the state of a stretch and make its moves; return the recording."""
    env.set_state(stretch.state)
    return play(Recorder(env, keeper, stretch.images, stretch.saving), stretch.moves)


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

"""Comparison of a twin of an environment with the plain Gymnasium environment.

What is compared, and why, is told in :mod:`.verify`.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium as gym

from plangym_lite.envs.generators.shared import draws_globally, global_numbers, shared_seeded
from plangym_lite.envs.snapshot.anchors import checksum_of
from plangym_lite.envs.snapshot.packing import CAPACITY_STEP, LENGTH_BYTES
from plangym_lite.envs.snapshot.snapshot import Snapshot, layers_of, mute_films, saved_and_films
from plangym_lite.envs.verify.outside import Outside
from plangym_lite.envs.verify.recording import (
    Entry,
    Recording,
    attempt,
    compare,
    entry_of,
    is_invalid,
    is_over,
    kept,
    legal_or_next,
    noise_of,
)
from plangym_lite.nested import NO_NOISE, Noise, copy_element, no_step, own_copy, split_reset

__all__ = [
    "NUMBERS",
    "Verification",
    "Record",
    "Verdict",
    "constants_of_all",
    "noise_of_runs",
    "record_afresh",
    "record_plain",
]

EPISODES: tuple[tuple[int | None, int], ...] = ((0, 12), (1, 6), (None, 3))
"""Seeds and numbers of moves of the episodes. Replay seeds its unseeded episodes itself."""
SAVED_AT = (3, 2)  # moves of the first two episodes after which a state is saved
WANDERING = 5
NUMBERS = 12345  # seed of the global generators
LARGE_STATE = 1_000_000
PATIENCE = 1.5  # seconds; then the plain run ends as early as it may
STIRRED = 20_000  # objects
FEWEST_MOVES = 2  # after a state was saved


class Verdict(NamedTuple):
    """How the states of an environment are saved. It is sent to workers, which do not verify."""

    played: bool = False  # states are seeds and actions
    refusal: str = ""
    capacity: int | None = None  # bytes of a state; None: without a bound
    constants: tuple[int, ...] = ()  # large arrays that never change
    fields: tuple[tuple[str, ...], ...] = ()  # arrays of MuJoCo's models that change
    shared_numbers: bool = False  # it draws from the global generators
    image_shape: tuple[int, ...] | None = None  # if images are the observations
    warning: str = ""


class Record(NamedTuple):
    """The results of a plain environment."""

    recordings: list[Recording]  # of each episode
    actions: list[list[Any]]
    layers: list[gym.Env]  # of the environment that was played
    problems: list[str]  # what a snapshot cannot hold
    has_shifting_sets: bool  # whether steps change the content of a set
    findings: Verdict  # constants, fields and shared_numbers
    checksums: list[int]  # of the large arrays found at the start
    is_afresh: bool = False  # whether each episode was the first one of a new environment


def constants_of_all(env: Any, record: Record) -> Record:
    """The record without arrays that another build has otherwise, as weights that it draws."""
    constants = record.findings.constants
    if constants:
        with shared_seeded(NUMBERS + 1), _closing(env.make_plain()) as other:
            large = Snapshot(*saved_and_films(layers_of(other))).large
            there = {number: checksum_of(array) for number, array in enumerate(large)}
        constants = tuple(n for n in constants if there.get(n) == record.checksums[n])
    return record._replace(findings=record.findings._replace(constants=constants))


def noise_of_runs(env: Any, record: Record) -> tuple[Record, list[Noise]]:
    """For each episode the places at which a second plain run differs from the record.

    An unseeded episode that differs each time is removed from the record.
    """
    stirred = stir_memory()
    with shared_seeded(NUMBERS), _closing(env.make_plain()) as other:
        again = _play_plain(other, _moves_made(record))
    del stirred
    noise = [noise_of(*pair) for pair in zip(record.recordings, again, strict=True)]
    kept = [seed is not None or not found for (seed, _), found in zip(EPISODES, noise)]  # noqa: B905
    record = record._replace(recordings=list(itertools.compress(record.recordings, kept)))
    return record, [found.within("obs", "info") for found in itertools.compress(noise, kept)]


def stir_memory() -> list[Any]:
    """Make new objects get other addresses than in the last run; keep the returned list.

    Sets of objects, which are ordered by address, then have another iteration order.
    """
    many = [object() for _ in range(STIRRED)]
    return random.Random(STIRRED).sample(many, STIRRED // 2)


def record_afresh(env: Any, record: Record) -> Record:
    """The record if each seeded episode is the first one of a new environment."""
    moves, found = _moves_made(record), list(record.recordings)
    for number, (seed, _) in enumerate(EPISODES[: len(found)]):
        if seed is not None:
            with shared_seeded(NUMBERS), _closing(env.make_plain()) as fresh:
                found[number] = _play_plain(fresh, moves[number : number + 1], first=number)[0]
    return record._replace(recordings=found, is_afresh=True)


def _moves_made(record: Record) -> list[list[Any]]:
    pairs = zip(record.actions, record.recordings, strict=False)
    return [actions[: len(recording) - 1] for actions, recording in pairs]


def record_plain(env: Any, first: gym.Env | None) -> Record:
    """Play the environment ``first`` and close it; ``None``: play a new one."""
    if first is not None and env._changes_stack:
        first.close()
        first = None
    with shared_seeded(NUMBERS), _closing(first or env.make_plain()) as plain:
        return _record(plain, not env._saves_itself, global_numbers(), env._certify)


def _record(plain: gym.Env, watched: bool, numbers: Any, certify: bool) -> Record:
    """The results of a plain environment and, if ``watched``, how it may be saved."""
    layers, problems, checksums = layers_of(plain), [], []
    snapshot = Snapshot(*saved_and_films(layers)) if watched else None
    if snapshot is not None:
        problems = snapshot.problems()
        checksums = [checksum_of(array) for array in snapshot.large]
        models = snapshot.simulations.models() if snapshot.simulations else []
    shifting, outside = False, Outside(layers if certify else ())
    draw = _sampler(plain.action_space)
    actions = [[draw() for _ in range(moves)] for _, moves in EPISODES]

    def look(begins: bool, ends: bool = False) -> None:
        nonlocal shifting
        if snapshot is not None:
            before = None if begins else snapshot.sets
            snapshot.discover()
            problems.extend(snapshot.problems())
            shifting = shifting or before not in (None, snapshot.sets)
        if begins or ends:
            outside.look(() if snapshot is None else snapshot.kinds)

    recordings = _play_plain(plain, actions, look, patience=PATIENCE)
    findings = Verdict(shared_numbers=global_numbers() != numbers or draws_globally(layers))
    if snapshot is not None:
        findings = findings._replace(constants=snapshot.unchanging(checksums))
        if snapshot.simulations:
            findings = findings._replace(fields=snapshot.simulations.changed(models))
    problems.extend(outside.opaque)
    if outside.changed and not attempt(lambda: plain.reset(seed=EPISODES[0][0]))[1]:
        problems.extend(outside.put_back())
    found = sorted(set(problems)), shifting, findings, checksums
    return Record(recordings, actions, layers, *found)


def _play_plain(
    plain: gym.Env,
    actions: list[list[Any]],
    look: Callable[..., None] = lambda *when, **other: None,
    first: int = 0,
    patience: float = float("inf"),
) -> list[Recording]:
    """The recording of each episode from ``first`` on: entry 0 is the reset.

    An action that is illegal by its info is replaced, in ``actions`` too.
    """
    space, end = plain.observation_space, time.perf_counter() + patience

    def reset(seed: int | None) -> tuple[Any, ...]:
        obs, info = split_reset(plain.reset(seed=seed), plain)
        return copy_element(space, obs), 0.0, False, False, info

    def move(action: Any) -> tuple[Any, ...]:
        answer = plain.step(own_copy(action))
        if type(answer) is not tuple or len(answer) != 5:
            raise no_step(answer, plain)
        return copy_element(space, answer[0]), *answer[1:]

    recordings: list[Recording] = []
    for number, moves in enumerate(actions, first):
        if recordings and time.perf_counter() > end:
            break
        recording = [entry_of(lambda: reset(EPISODES[number][0]))]  # noqa: B023
        if is_invalid(recording[0]):
            reset(EPISODES[number][0])  # raises it: such an environment cannot be used
        for count, action in enumerate(moves):
            late = time.perf_counter() > end and count >= SAVED_AT[0] + FEWEST_MOVES
            if late or is_over(recording[-1]):
                break
            if count in (0, *SAVED_AT):
                look(count == 0)
            info = recording[-1]["info"]
            action = moves[count] = legal_or_next(plain.action_space, action, info)
            recording.append(entry_of(lambda: move(action)))  # noqa: B023
        look(not moves, ends=True)
        recordings.append(recording)
    return recordings


def _sampler(space: Any) -> Callable[[], Any]:
    own = copy.deepcopy(space)
    own.seed(0)
    return own.sample


# ---- ours --------------------------------------------------------------------------------------


class Verification:
    """Plays a twin like the plain environment, with saves, other moves and restores."""

    def __init__(
        self, twin: Any, record: Record, noise: list[Noise], with_itself: bool = False
    ) -> None:
        self.twin, self.record, self.noise = twin, record, noise
        self.with_itself = with_itself
        self.sizes = [0]
        self.shape: tuple[int, ...] | None = None
        self.found: dict[str, str] = {}

    def outcome(self, findings: Verdict) -> tuple[Verdict, str]:
        twin = self.twin
        twin.clone_seeds, twin.return_image, twin.frameskip = True, False, 1
        pictures = twin.DEFAULT_OBS_TYPE == "coords" and twin.obs_type != "coords"
        wanted, twin.obs_type = twin.obs_type, "coords" if pictures else twin.obs_type
        twin._film(False)
        _, error = attempt(self._verify)
        if error:
            self.found.setdefault("verifying", error)
        size = LENGTH_BYTES + max(self.sizes) + _room(twin, max(self.sizes))
        found = findings._replace(capacity=-(-size // CAPACITY_STEP) * CAPACITY_STEP)
        if findings.played:
            found = found._replace(capacity=None)
        elif max(self.sizes) > LARGE_STATE and not twin._saves_itself:
            found = found._replace(warning=_what_is_large(twin, max(self.sizes)))
        if self._noisy() and not self.with_itself:
            places = ", ".join(self._noisy())
            found = found._replace(
                warning=f"two equal runs of {twin!r} differ in parts of {places}: "
                "no state can hold what those depend on (a clock, a global?)"
            )
        if pictures and not self.found:
            twin.obs_type = wanted
            found = found._replace(image_shape=twin.current_obs().shape)
        return found, next((f"{path}: {text}" for path, text in self.found.items()), "")

    def _verify(self) -> None:
        recordings, actions = self.record.recordings, self.record.actions
        plan = list(zip(EPISODES, actions, recordings, (*SAVED_AT, None), strict=False))
        if self.twin._replayed is not None:
            plan = [part for part in plan if part[0][0] is not None]
        played = [self._play(number, *part) for number, part in enumerate(plan)]
        doubtful, shown = self.with_itself or bool(self._noisy()), False
        for number, (state, own) in enumerate(played[: len(SAVED_AT)]):
            if self.found:
                return
            at = min(SAVED_AT[number], len(recordings[number]) - 1)
            rest, expected = actions[number][at:], recordings[number][at:]
            expected = [_only_obs(expected[0]), *expected[1:]]
            noise = self.noise[number]
            if self.with_itself:
                expected, noise = own, NO_NOISE
            self._wander()
            if doubtful:
                without = self._recording(rest, len(expected))
                shown |= bool(compare(expected[1:], without[1:], noise))
            stirred = stir_memory() if self.twin._replayed is not None else None
            self.twin.load_bytes(state)
            got = self._recording(rest, len(expected))
            del stirred
            for path, text in compare(expected, got, noise).items():
                self.found.setdefault(path, f"restored after {at} moves, {text}")
        replayed = self.twin._replayed
        if replayed is not None and replayed.cannot_keep and self.record.is_afresh:
            self.found["wrappers"] = "what they gather over episodes is lost"
        if doubtful and not shown:
            self.found["obs"] = "two equal runs differ in it, and nothing else shows the state"

    def _noisy(self) -> list[str]:
        """Observations that differ between two equal runs."""
        pairs = zip(self.noise, EPISODES, strict=False)
        seeded = [noise.within("obs") for noise, (seed, _) in pairs if seed is not None]
        return sorted({path for noise in seeded for path in noise.paths})

    def _play(
        self,
        number: int,
        start: tuple[int | None, int],
        moves: Any,
        recording: Recording,
        at: int | None,
    ) -> Any:
        """Play and compare an episode; return the state after some moves, and the rest of it."""
        entry = entry_of(lambda: self._reset(start[0]))
        self._compare(number, recording[:1], [entry])
        if "raised" in entry:
            return None, []
        self._save()
        before = min(at or 0, len(recording) - 1)
        first = self._recording(moves, before + 1, saving=True)
        state = self._save()
        second = self._recording(moves[before:], len(recording) - before, saving=True)
        self._compare(number, recording, [entry, *first[1:], *second[1:]])
        return state, second

    def _reset(self, seed: int | None) -> tuple[Any, ...]:
        info = self.twin._begin_episode(seed, None)
        return self.twin.current_obs(), 0.0, False, False, info

    def _recording(self, moves: list[Any], length: int, saving: bool = False) -> Recording:
        """The recording of this state and of each move that the plain environment made."""
        recording: Recording = [{"obs": kept(self.twin.current_obs())}]
        for action in moves[: length - 1]:
            recording.append(entry_of(lambda: self._move(action)))  # noqa: B023
            if "raised" in recording[-1]:
                break
            if saving:
                self._save()
        return recording

    def _move(self, action: Any) -> tuple[Any, ...]:
        reward, info = self.twin._run_action(action, 1)
        ended = self.twin._ended
        return self.twin.current_obs(), reward, bool(ended & 1), bool(ended & 2), info

    def _wander(self) -> None:
        self.twin._begin_episode(7, None)
        for action in self.record.actions[0][:WANDERING]:
            if self.twin._ended or attempt(lambda: self._move(action))[1]:  # noqa: B023
                break

    def _save(self) -> Any:
        state = self.twin.save_bytes()
        if isinstance(state, bytes):
            self.sizes.append(len(state))
        return state

    def _compare(self, number: int, expected: Recording, got: Recording) -> None:
        """Compare with the plain environment, if the seed determines the episode."""
        if self.with_itself:
            got = [entry for entry in got if "raised" in entry]
            expected = [entry for entry in expected if "raised" in entry]
        for path, text in compare(expected, got, self.noise[number]).items():
            self.found.setdefault(path, f"played from the seed, {text}")


def _only_obs(entry: Entry) -> Entry:
    """Only the observation: right after a restore there is no reward, flag or info."""
    return {name: value for name, value in entry.items() if name == "obs"}


def _what_is_large(twin: Any, size: int) -> str:
    """The attributes that make states large, for an error message."""
    parts = attempt(twin._snapshot.sizes)[0] if twin._snapshot is not None else ()
    named = ", ".join(f"{name}: {part / 1e6:.1f} MB" for name, part in (parts or [])[:3])
    return f"a state of {twin!r} has {size / 1e6:.1f} MB{f' ({named})' if named else ''}"


def _room(twin: Any, size: int) -> int:
    """Bytes by which a state may grow: its present size without simulations."""
    simulations = getattr(twin._snapshot, "simulations", None)
    if simulations is None:
        return size
    return size - simulations.nbytes + simulations.room_for_contacts()


@contextlib.contextmanager
def _closing(env: gym.Env) -> Iterator[gym.Env]:
    mute_films(env)
    try:
        yield env
    finally:
        attempt(env.close)

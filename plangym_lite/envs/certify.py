"""Verification: the states of an environment that nobody knows are exact, or it is not made.

The judge is the environment itself, as Gymnasium builds and steps it. It is played from a seed and
what it gives is recorded. Then ours is played alike, saved on the way, led elsewhere, restored, and
played on; what differs from the record was not restored, or was wrong from the start.

::

    everything reachable is understood, and the snapshot passes ──yes──> states are snapshots
            │ no
    replay passes ──────────────────────────────────────────────yes──> states are seeds and actions
            │ no
    NotCloneableError, saying what differed first

Every environment that is played here is closed before the next one is built, because to close one may
end what others draw with. The one that the user gets was never played. The outcome is remembered for
the process, by what was verified: the classes of all layers and how they were made.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from plangym_lite.envs.evidence import Noise, Tape, attempt, differences, noise_of, tokens_of
from plangym_lite.envs.films import FILMS, mute
from plangym_lite.envs.own_globals import (
    draws_globally,
    global_numbers,
    shared_kept,
    shared_seeded,
)
from plangym_lite.envs.snapshot import Snapshot, checksum_of, layers_of
from plangym_lite.errors import NotCloneableError
from plangym_lite.recipe import informed
from plangym_lite.transitions import copy_element

__all__ = ["Verdict", "refuse_the_same", "verdict_on"]

EPISODES: tuple[tuple[int | None, int], ...] = ((0, 14), (1, 7), (None, 4))
"""Seeds and moves of what is played; a replay's unseeded episodes are its own."""
SAVED_AT = (3, 2)  # moves of the first two episodes after which a state is saved
WANDERING = 5
NUMBERS = 12345  # where the shared generators begin
CAPACITY_STEP, LENGTH_BYTES = 64, 4
LARGE_STATE = 1_000_000
REMEMBERED = 256
OUTCOMES: OrderedDict[Any, Verdict] = OrderedDict()
"""What was verified, by key."""
OUR_KEYS = ("n_step", "dt")


class Verdict(NamedTuple):
    """How the states of an environment are saved. It travels to workers, which do not examine."""

    played: bool = False  # states are seeds and actions
    refusal: str = ""
    capacity: int | None = None  # bytes of a state; None: without a bound
    constants: tuple[int, ...] = ()  # large arrays that never change
    fields: tuple[tuple[str, ...], ...] = ()  # arrays of MuJoCo's models that change
    shared_numbers: bool = False  # it draws from generators that all of Python shares
    image_shape: tuple[int, ...] | None = None  # where pictures are the observations
    warning: str = ""


class Record(NamedTuple):
    """What a plain environment gave."""

    tapes: list[Tape]  # of each episode
    actions: list[list[Any]]
    layers: list[gym.Env]  # what was played
    problems: list[str]  # what no snapshot holds
    findings: Verdict  # constants, fields and shared_numbers


def verdict_on(env: Any) -> Verdict:
    """How the states of ``env``, just built, are saved.

    If it was examined for that, ``env`` holds another Gymnasium environment afterwards.
    """
    if env.render_mode == "human":  # opens no window
        recipe = env._recipe.replace(render_mode="rgb_array", delay_setup=False)
        with contextlib.closing(recipe()) as twin:
            return twin.verdict
    key = key_of(env)
    verdict = OUTCOMES.get(key) if key is not None else None
    if verdict is None:
        verdict = _examine(env)
        if key is not None:
            OUTCOMES[key] = verdict
            while len(OUTCOMES) > REMEMBERED:
                OUTCOMES.popitem(last=False)
        if verdict.warning:
            warnings.warn(verdict.warning, stacklevel=2)
        if not verdict.refusal:
            with _quiet():
                env._adopt(env.make_stack())
    return verdict


def refuse_the_same(env: Any) -> None:
    """Raise if a callable returns one environment again and again."""
    if isinstance(env._make, (str, type)):
        return
    key = key_of(env)
    if key in OUTCOMES:
        return
    with _quiet():
        other = env.make_stack()
    _check_is_new(env, layers_of(other), layers_of(env._gym_env))
    other.close()
    if key is not None:
        OUTCOMES[key] = Verdict()


def key_of(env: Any) -> Any:
    """What is verified: classes and arguments, in order; ``None`` where that is no key."""
    options = env.clone_seeds, env.obs_type, env.state_choice, env._certify, env.STATE_IS_ARRAY
    made_by = env._make
    if isinstance(made_by, str) and made_by in gym.registry:
        spec = gym.registry[made_by]
        made_by = made_by, spec.entry_point, spec.kwargs, spec.additional_wrappers
    layers = tuple(type(layer) for layer in layers_of(env._gym_env))
    others = env.remove_time_limit, env.render_mode, env._engine_kwargs, env._wrappers
    try:
        return _frozen((type(env), made_by, layers, options, others))
    except TypeError:  # unhashable: examined each time
        return None


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return "dict", *((key, _frozen(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), *(_frozen(part) for part in value)
    hash(value)
    return type(value), value


# ---- the ladder ---------------------------------------------------------------------------------


def _examine(env: Any) -> Verdict:
    with _quiet(), shared_kept():
        record = _record_plain(env, env._gym_env)
        verdict, told = _first_exact(env, record)
        if told and env._certify:  # the environment itself may not have been built alike
            with shared_seeded(NUMBERS):
                first = env.make_plain()
            record = _record_plain(env, first)
            verdict, told = _first_exact(env, record, noise_of_runs(env, record))
    if told and env._certify:
        if env.state_choice is not None and not env._saves_itself:
            raise ValueError(f"{told}: state_method={env.state_choice!r} cannot be had")
        return Verdict(refusal=f"{told}. Pass certify=False to use it all the same")
    return verdict


def _first_exact(env: Any, record: Record, noise: list[Noise] | None = None) -> tuple[Verdict, str]:
    """The first way down the ladder that is exact; or else the last, and why not."""
    told, verdict = f"{env!r} is not restored exactly by a snapshot: ", record.findings
    if env.state_choice == "replay" or env._plays_only:
        told = f"{env!r}: "
    elif record.problems and not env._saves_itself:
        told += f"it holds {', '.join(record.problems)}"
    else:
        verdict, different = _try(env, record, record.findings, noise)
        if not different or not env._certify:
            return verdict, ""
        told += different
    if env._saves_itself or env.state_choice == "snapshot":
        return verdict, told
    if not env.clone_seeds:
        return verdict, f"{told}, and clone_seeds=False needs a snapshot"
    verdict, different = _try(env, record, record.findings._replace(played=True), noise)
    return verdict, different and f"{told}; nor by playing again from the seed: {different}"


def noise_of_runs(env: Any, record: Record) -> list[Noise]:
    """For each episode the places at which a second plain run differs from the one on record."""
    with _closing(env.make_plain()) as other, shared_seeded(NUMBERS):
        tapes = _play_plain(other, record.actions)
    return [
        {path: mask for path, mask in noise_of(*pair).items() if path.startswith(("obs", "info"))}
        for pair in zip(record.tapes, tapes, strict=True)
    ]


# ---- plain --------------------------------------------------------------------------------------


def _record_plain(env: Any, first: gym.Env) -> Record:
    """Play the environment that was built first, which ends it."""
    if env._holds_own_layers:
        first.close()
        with shared_seeded(NUMBERS):
            first = env.make_plain()
    layers = layers_of(first)
    mute_films(first)
    with shared_seeded(NUMBERS):
        before = global_numbers()
        snapshot, problems = None, []
        if not env._saves_itself:
            snapshot = Snapshot(*_saved_and_films(layers))
            problems = snapshot.problems()
            checksums = [checksum_of(array) for array in snapshot.large]
            models = snapshot.simulations.models() if snapshot.simulations else []
        draw = _sampler(first.action_space)
        actions = [[draw() for _ in range(moves)] for _, moves in EPISODES]

        def look() -> None:
            if snapshot is not None:
                snapshot.discover()
                problems.extend(snapshot.problems())

        tapes = _play_plain(first, actions, look)
        findings = Verdict(shared_numbers=global_numbers() != before or draws_globally(layers))
        if snapshot is not None:
            findings = findings._replace(constants=snapshot.unchanging(checksums))
            if snapshot.simulations:
                findings = findings._replace(fields=snapshot.simulations.changed(models))
    first.close()
    return Record(tapes, actions, layers, sorted(set(problems)), findings)


def _play_plain(
    plain: gym.Env, actions: list[list[Any]], look: Callable[[], None] | None = None
) -> list[Tape]:
    """The tape of each episode: entry 0 is what the reset gave."""
    space = plain.observation_space

    def reset(seed: int | None) -> dict[str, Any]:
        obs, info = plain.reset(seed=seed)
        return _seen(copy_element(space, obs), 0.0, (False, False), info)

    def move(action: Any) -> dict[str, Any]:
        obs, reward, terminated, truncated, info = plain.step(action)
        obs = copy_element(space, obs)
        return _seen(obs, reward, (bool(terminated), bool(truncated)), info)

    tapes = []
    for (seed, _), moves in zip(EPISODES, actions, strict=True):
        tape = [_entry(lambda: reset(seed))]  # noqa: B023
        for number, action in enumerate(moves):
            if any(tape[-1].get("flags", (True,))):
                break
            if look is not None and number in (0, *SAVED_AT):
                look()
            tape.append(_entry(lambda: move(action)))  # noqa: B023
        if look is not None:
            look()
        tapes.append(tape)
    return tapes


def _entry(answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    tokens, error = attempt(answer)
    return tokens if tokens is not None else {"raised": error}


def _seen(obs: Any, reward: Any, flags: tuple[bool, bool], info: Any) -> dict[str, Any]:
    info = {key: info[key] for key in info if key not in OUR_KEYS} if info else {}
    numbers = attempt(lambda: float(np.asarray(reward).item()))[0]
    return {**tokens_of(obs, "obs"), "reward": numbers, "flags": flags, **tokens_of(info, "info")}


def _sampler(space: Any) -> Callable[[], Any]:
    own = copy.deepcopy(space)
    own.seed(0)
    return own.sample


# ---- ours ---------------------------------------------------------------------------------------


def _try(
    env: Any, record: Record, findings: Verdict, noise: list[Noise] | None
) -> tuple[Verdict, str]:
    """Examine a twin of ``env`` that saves its states so; return what differed first."""
    with shared_seeded(NUMBERS), informed(findings._replace(capacity=1 << 40)):
        twin = env._recipe.replace(delay_setup=False)()
    with contextlib.closing(twin):
        _check_is_new(env, twin._layers, record.layers)
        return _Exam(twin, record, noise or [{} for _ in EPISODES]).outcome(findings)


def _check_is_new(env: Any, built: list[gym.Env], layers: list[gym.Env]) -> None:
    if {id(layer) for layer in layers} & {id(layer) for layer in built}:
        raise NotCloneableError(
            f"{env!r} returned the same environment twice: give a callable that builds a new one "
            "each time"
        )


class _Exam:
    """A twin is played as the plain environment was, saved, led elsewhere and restored."""

    def __init__(self, twin: Any, record: Record, noise: list[Noise]) -> None:
        self.twin, self.record, self.noise = twin, record, noise
        self.sizes = [0]
        self.shape: tuple[int, ...] | None = None
        self.found: dict[str, str] = {}

    def outcome(self, findings: Verdict) -> tuple[Verdict, str]:
        twin = self.twin
        twin.clone_seeds, twin.return_image, twin.frameskip = True, False, 1
        pictures = twin.DEFAULT_OBS_TYPE == "coords" and twin.obs_type != "coords"
        wanted, twin.obs_type = twin.obs_type, "coords" if pictures else twin.obs_type
        for layer in twin._films:
            mute(layer)
        _, error = attempt(self._examine)
        if error:
            self.found.setdefault("examining", error)
        size = LENGTH_BYTES + 2 * max(self.sizes) + _room_for_contacts(twin)
        found = findings._replace(capacity=-(-size // CAPACITY_STEP) * CAPACITY_STEP)
        if findings.played:
            found = found._replace(capacity=None)
        elif max(self.sizes) > LARGE_STATE:
            found = found._replace(warning=_what_is_large(twin, max(self.sizes)))
        if pictures and not self.found:
            twin.obs_type = wanted
            found = found._replace(image_shape=twin.current_obs().shape)
        return found, next((f"{path}: {text}" for path, text in self.found.items()), "")

    def _examine(self) -> None:
        tapes, actions = self.record.tapes, self.record.actions
        plan = list(zip(EPISODES, actions, tapes, (*SAVED_AT, None), strict=True))
        if self.twin._replayed is not None:
            plan = [part for part in plan if part[0][0] is not None]
        saved = [self._play(number, *part) for number, part in enumerate(plan)]
        shown = False
        for number in range(len(SAVED_AT)):
            state, at = saved[number], min(SAVED_AT[number], len(tapes[number]) - 1)
            if self.found:
                return
            rest, expected = actions[number][at:], tapes[number][at:]
            expected = [_only_obs(expected[0]), *expected[1:]]
            self._wander()
            without = self._tape(rest, len(expected))
            shown |= bool(differences(expected, without, self.noise[number]))
            self.twin.load_bytes(state)
            got = self._tape(rest, len(expected))
            self._compare(number, expected, got, f"restored after {at} moves")
        if not shown and any(path.startswith("obs") for noise in self.noise[:-1] for path in noise):
            self.found["obs"] = "two equal runs differ in it, and nothing else shows the state"

    def _play(
        self, number: int, start: tuple[int | None, int], moves: Any, tape: Tape, at: int | None
    ) -> Any:
        """Play an episode from its seed, and compare; return the state after some moves."""
        entry = _entry(lambda: self._reset(start[0]))
        self._compare(number, tape[:1], [entry], "played from the seed")
        if "raised" in entry:
            return None
        self._save()
        before = min(at or 0, len(tape) - 1)
        first = self._tape(moves, before + 1, saving=True)
        state = self._save()
        second = self._tape(moves[before:], len(tape) - before, saving=True)
        got = [entry, *first[1:], *second[1:]]
        self._compare(number, tape, got, "played from the seed")
        return state

    def _reset(self, seed: int | None) -> dict[str, Any]:
        info = self.twin._begin_episode(seed, None)
        return _seen(self.twin.current_obs(), 0.0, (False, False), info)

    def _tape(self, moves: list[Any], length: int, saving: bool = False) -> Tape:
        """What is seen here, and after each of the moves that the plain environment made."""
        twin = self.twin
        tape: Tape = [tokens_of(twin.current_obs(), "obs")]
        for action in moves[: length - 1]:
            tape.append(_entry(lambda a=action: self._move(a)))  # type: ignore[misc]
            if "raised" in tape[-1]:
                break
            if saving:
                self._save()
        return tape

    def _move(self, action: Any) -> dict[str, Any]:
        reward, info = self.twin._run_action(action, 1)
        ended = self.twin._ended
        return _seen(self.twin.current_obs(), reward, (bool(ended & 1), bool(ended & 2)), info)

    def _wander(self) -> None:
        self.twin._begin_episode(7, None)
        for action in self.record.actions[0][:WANDERING]:
            if self.twin._ended or attempt(lambda a=action: self._move(a))[1]:
                break

    def _save(self) -> Any:
        state = self.twin.save_bytes()
        if isinstance(state, bytes):
            self.sizes.append(len(state))
        return state

    def _compare(self, number: int, expected: Tape, got: Tape, when: str) -> None:
        for path, text in differences(expected, got, self.noise[number]).items():
            self.found.setdefault(path, f"{when}, {text}")


def _only_obs(entry: dict[str, Any]) -> dict[str, Any]:
    """Right after a restore there is an observation, and nothing that led to it."""
    return {path: token for path, token in entry.items() if path.startswith("obs")}


def _what_is_large(twin: Any, size: int) -> str:
    """Which attributes make states large."""
    parts = attempt(twin._snapshot.sizes)[0] if twin._snapshot is not None else ()
    named = ", ".join(f"{name}: {part / 1e6:.1f} MB" for name, part in (parts or [])[:3])
    return f"a state of {twin!r} has {size / 1e6:.1f} MB{f' ({named})' if named else ''}"


def _room_for_contacts(twin: Any) -> int:
    snapshot = getattr(twin, "_snapshot", None)
    return snapshot.simulations.room_for_contacts() if snapshot and snapshot.simulations else 0


def _saved_and_films(layers: list[gym.Env]) -> tuple[list[gym.Env], list[gym.Env]]:
    films = [layer for layer in layers if isinstance(layer, FILMS)]
    return [layer for layer in layers if layer not in films], films


def mute_films(env: gym.Env) -> None:
    """Have the films around an environment look away."""
    for layer in layers_of(env):
        if isinstance(layer, FILMS):
            mute(layer)


@contextlib.contextmanager
def _closing(env: gym.Env) -> Iterator[gym.Env]:
    mute_films(env)
    try:
        yield env
    finally:
        env.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What is built and played for an examination was announced when it was built first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

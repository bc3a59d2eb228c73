"""The baseline of the comparisons, and what is noise: from plain runs, or from our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from plangym_lite.core import PlanEnv
from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.nested import NO_NOISE, Noise, noise_between
from plangym_lite.testing.contract.keeping import NUMBERS, Keeper
from plangym_lite.testing.contract.plain import PlainRun, Twin, record
from plangym_lite.testing.contract.walking import Entry, Route, Walk, compare_entries, follow

__all__ = ["NO_TWIN", "Begun", "Verdict", "by_itself", "by_plain_runs"]

ELSEWHERE = (3, 11)  # moves to another position, with another seed
PROBED = 40  # moves compared from there
NO_TWIN = "no plain twin: compared with itself"
OWN_RESETS = "unseeded resets begin episodes of their own here: compared with itself after them"
UNSEEDED = "the seed does not decide what happens: compared only with its own saving"
OWN_PICTURES = "pictures are compared with themselves"
CANNOT = "cannot be shown"


class Begun(NamedTuple):
    """The results of the first environment."""

    walk: Walk
    route: Route
    twin: Twin | None
    spaces: tuple[Any, Any]
    draws_images: bool


class Verdict(NamedTuple):
    """The baseline."""

    recording: list[Entry]
    noise: Noise
    notes: list[str]
    repeatable: bool = True
    unshown: str | None = None  # why exactness cannot be shown
    wrong: str | None = None  # another difference


def by_itself(make_env: Callable[[], PlanEnv], first: Begun) -> Verdict:
    """The baseline from a second environment of ours that is never saved."""
    recording, moves = first.walk.recording, first.walk.moves
    with GlobalNumbers(NUMBERS), make_env() as env:
        again = follow(env, first.route.seed, moves, Keeper())
    noise = _noise_of(recording, again)
    names = noise.names()
    if not all(name.startswith("info") for name in names):
        return Verdict(recording, NO_NOISE, [NO_TWIN, UNSEEDED], repeatable=False)
    return Verdict(recording, noise, [NO_TWIN, *_told(names)])


# ---- compared with plain runs -------------------------------------------------------------------


def by_plain_runs(first: Begun) -> Verdict:
    """The baseline from two plain runs of the moves."""
    assert first.twin is not None
    plain, again = _plain_part(first.twin, first)
    noise = _noise_of(plain.entries, again.entries)
    names, own = noise.names(), first.walk.recording
    sees, wrong = bool(first.twin.sees), _wrong_spaces(plain, first.spaces)
    if plain.error is not None:
        wrong = wrong or f"after move {len(plain.entries) - 1} of a plain run {plain.error}"
    recording = [_merged(*pair, sees) for pair in zip(plain.entries, own, strict=False)]
    notes = [OWN_RESETS] if first.route.seeded else []
    notes += [] if sees else [OWN_PICTURES]
    return Verdict(
        recording + own[len(recording) :],
        noise,
        notes + _told(names),
        unshown=_unshown(first, plain, again, noise),
        wrong=wrong,
    )


def _unshown(first: Begun, plain: PlainRun, again: PlainRun, noise: Noise) -> str | None:
    """Why two plain runs give no baseline; ``None`` if they do."""
    names = noise.names()
    undecided = [name for name in names if not name.startswith(("obs", "info"))]
    if undecided or len(plain.entries) != len(again.entries):
        told = ", ".join(undecided) or "when episodes end"
        return f"{CANNOT}: plain environments, seeded and played alike, differ in {told}"
    if noise and not _is_shown(first, plain, noise):
        return (
            f"{CANNOT}: nothing but {', '.join(names)} tells one state from another, and plain "
            "environments, seeded and played alike, do not agree on that"
        )
    return None


def _plain_part(twin: Twin, first: Begun) -> tuple[PlainRun, PlainRun]:
    """Two plain runs of the part of the walk that they can reproduce.

    If states are replayed, every episode runs in a new environment, and the seed of an unseeded
    reset follows from the last one: such a walk has seeded resets, and one unseeded reset at the
    end, before which plain runs stop. Some engines carry data from one episode into the next, so
    that plain Gymnasium has two results: with one environment for all episodes, and with one
    rebuilt below its wrappers for each. Ours must equal one of them for the whole walk.
    """
    moves, seed = first.walk.moves, first.route.seed
    if not first.route.seeded:
        return record(twin, moves, seed), record(twin, moves, seed)
    until = first.walk.resets[-1]
    goes_on = record(twin, moves, seed, until=until)
    rebuilt = record(twin, moves, seed, until=until, rebuilding=True)
    if not _noise_of(goes_on.entries, rebuilt.entries):
        return goes_on, rebuilt
    again = record(twin, moves, seed, until=until)
    noise = _noise_of(goes_on.entries, again.entries)
    if not list(_deviations(goes_on.entries, first.walk.recording, noise)):
        return goes_on, again
    again = record(twin, moves, seed, until=until, rebuilding=True)
    return rebuilt, again


def _merged(plain: Entry, own: Entry, sees: bool) -> Entry:
    """A plain entry, with the keys that plangym_lite adds to infos."""
    info = {**(own.info or {}), **(plain.info or {})}
    return plain._replace(info=info, obs=plain.obs if sees else own.obs)


def _deviations(plain: list[Entry], own: list[Entry], noise: Noise) -> Iterator[tuple[str, str]]:
    for one, other in zip(plain, own, strict=False):
        yield from compare_entries(_merged(one, other, one.obs is not None), other, noise)


def _is_shown(first: Begun, plain: PlainRun, noise: Noise) -> bool:
    """Whether values without noise differ between states of other seeds and moves."""
    moves, seed, twin = first.walk.moves, first.route.seed, first.twin
    assert twin is not None
    steps = [move for move in moves if not move.reset]
    for skipped in ELSEWHERE:
        other = record(twin, moves[:PROBED], seed + 1, before=steps[:skipped])
        for one, two in zip(plain.entries[1:], other.entries[1:], strict=False):
            if list(compare_entries(one, two, noise)):
                return True
    return False


def _wrong_spaces(plain: PlainRun, own: tuple[Any, Any]) -> str | None:
    for what, one, other in zip(("observation", "action"), plain.spaces or (), own, strict=False):
        if one is not None and one != other and repr(one) != repr(other):
            return f"the space of {what}s: expected {one}, got {other}"
    return None


def _noise_of(recording: list[Entry], again: list[Entry]) -> Noise:
    """The places where two recordings of one seed differ."""
    return noise_between(
        (getattr(one, field), getattr(other, field), field)
        for one, other in zip(recording, again, strict=False)
        for field in ("obs", "reward", "terminated", "truncated", "info")
        if getattr(one, field) is not None and getattr(other, field) is not None
    )


def _told(names: list[str]) -> list[str]:
    return [f"not decided by the seed: {', '.join(names)}"] if names else []

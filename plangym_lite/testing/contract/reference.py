"""The reference of the exactness contract: a walk of plain Gymnasium, or one without saving.

::

    first environment    explores, never saves ──> the moves, ``own``
    plain environments   the same moves, twice ──> ``plain``; where the two differ is noise
    second environment   the same moves, saves ──> ``saved``

``recording`` is the plain one, completed by our own: the keys that plangym_lite adds to infos, and
what plain runs cannot reproduce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from plangym_lite.core import PlanEnv
from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.nested import NO_NOISE, Noise, noise_between
from plangym_lite.testing.contract.plain import PlainRun, Twin, record, twin_of
from plangym_lite.testing.contract.walking import (
    NUMBERS,
    Entry,
    Keeper,
    Move,
    Options,
    Recorder,
    Stretch,
    compare_entries,
    explore,
    follow,
)

__all__ = ["NO_TWIN", "OWN_RESETS", "Reference", "make_reference"]

IMAGES = (0, 1)  # moves after a restore at which images are compared
ELSEWHERE = (3, 11)  # moves to another position, with another seed
PROBED = 40  # moves compared from there
NO_TWIN = "no plain twin: compared with itself"
OWN_RESETS = "unseeded resets begin episodes of their own here: compared with itself after them"
UNSEEDED = "the seed does not decide what happens: compared only with its own saving"
OWN_PICTURES = "pictures are compared with themselves"
CANNOT = "cannot be shown"


@dataclass
class Reference:
    """A walk that includes an end of an episode and resets."""

    options: Options
    seeded: bool  # whether the resets of the walk have seeds, except one more at the end
    moves: list[Move]
    own: list[Entry]  # of the first environment, never saved
    resets: list[int]
    twin: Twin | None
    spaces: tuple[Any, Any]
    draws_images: bool
    depths: list[int]
    recording: list[Entry] = field(default_factory=list)  # len(moves) + 1 entries: the reference
    saved: list[Entry] = field(default_factory=list)  # of the second one, with states and images
    repeatable: bool = True  # whether equal seeds give equal walks
    compares_states: bool = True
    noise: Noise = NO_NOISE  # places that differ for equal seeds
    notes: list[str] = field(default_factory=list)
    unshown: str | None = None  # why exactness cannot be shown
    wrong: str | None = None  # another difference

    @property
    def length(self) -> int:
        return self.options.length

    def stretch(self, depth: int) -> Stretch:
        moves = self.moves[depth : depth + self.length]
        images = frozenset(IMAGES if self.draws_images else ())
        return Stretch(self.saved[depth].state, moves, images, self.compares_states)

    def expected(self, depth: int, stop: int | None = None) -> list[Entry]:
        """Entries after ``depth``: states and images of ``saved``, the rest of ``recording``."""
        cut = slice(depth, (depth + self.length if stop is None else stop) + 1)
        pairs = zip(self.recording[cut], self.saved[cut], strict=True)
        entries = [one._replace(state=two.state, image=two.image) for one, two in pairs]
        # a restored state has an observation, but no reward
        return [Entry(entries[0].obs, state=entries[0].state, image=entries[0].image), *entries[1:]]

    def compare(self, expected: Entry, got: Entry) -> Iterator[tuple[str, str]]:
        if not self.compares_states:
            expected = expected._replace(state=None)
        yield from compare_entries(expected, got, self.noise)


def make_reference(
    make_env: Callable[[], PlanEnv], options: Options, first: tuple[PlanEnv, GlobalNumbers]
) -> Reference:
    """Make the walk in an environment that is never saved, in plain ones, and in one that is saved.

    ``options.depths`` are numbers of moves; more are added, just before the resets at the end.
    ``first`` is a new environment, with the global generators from before it was made.
    """
    reference = _explore_first(options, first)
    if reference.twin is None:
        _compare_with_itself(reference, make_env)
    else:
        _compare_with_plain_runs(reference, reference.twin)
    depths = {*options.depths, *reference.resets} if reference.repeatable else set(options.depths)
    with GlobalNumbers(NUMBERS), make_env() as env:
        keeper = Keeper()
        reference.compares_states = bool(getattr(env, "_is_plain", env.STATE_IS_ARRAY))
        drawn = IMAGES if reference.draws_images else ()
        images = frozenset(stop + k for stop in depths for k in drawn)
        recorder = Recorder(env, keeper, images, saving=True)
        if reference.repeatable:
            reference.saved = follow(recorder, options.seed, reference.moves)
        else:
            walk = explore(recorder, options, reference.seeded)
            reference.moves, reference.resets = walk.moves, walk.resets
            reference.saved = reference.recording = walk.recording
        keeper.check()
    keeper.check()
    reference.depths = sorted({*options.depths, *reference.resets})
    return reference


def _explore_first(options: Options, first: tuple[PlanEnv, GlobalNumbers]) -> Reference:
    env, numbers = first
    with numbers, env:
        keeper = Keeper()
        twin = twin_of(env, options.plain)
        seeded = twin is not None and env.unwrapped.state_method == "replay"
        walk = explore(Recorder(env, keeper), options, seeded)
        spaces = env.observation_space, env.action_space
        draws_images = _draws_images(env)  # after the walk: no calls before a reset
        keeper.check()
    keeper.check()
    known = options, seeded, walk.moves, walk.recording, walk.resets, twin, spaces, draws_images
    return Reference(*known, depths=list(options.depths))


def _draws_images(env: PlanEnv) -> bool:
    try:
        env.get_image()
    except Exception:  # no renderer, display or method: errors depend on the engine
        return False
    return True


def _compare_with_itself(reference: Reference, make_env: Callable[[], PlanEnv]) -> None:
    """Let a second environment of ours, which is never saved, tell what is noise."""
    reference.recording = reference.own
    with GlobalNumbers(NUMBERS), make_env() as env:
        again = follow(Recorder(env, Keeper()), reference.options.seed, reference.moves)
    noise = _noise_of(reference.own, again)
    names = noise.names()
    if all(name.startswith("info") for name in names):
        reference.noise, reference.notes = noise, [NO_TWIN, *_note_on(names)]
    else:
        reference.repeatable, reference.notes = False, [NO_TWIN, UNSEEDED]


# ---- compared with plain runs -------------------------------------------------------------------


def _compare_with_plain_runs(reference: Reference, twin: Twin) -> None:
    """Let two plain runs of the moves be the reference, and tell what is noise."""
    plain, again = _plain_part(reference, twin)
    noise = _noise_of(plain.entries, again.entries)
    own, sees = reference.own, bool(twin.sees)
    reference.wrong = _wrong_spaces(plain, reference.spaces)
    if plain.error is not None and reference.wrong is None:
        reference.wrong = f"after move {len(plain.entries) - 1} of a plain run {plain.error}"
    recording = [_merged(*pair, sees) for pair in zip(plain.entries, own, strict=False)]
    reference.recording = recording + own[len(recording) :]
    reference.noise, reference.unshown = noise, _unshown(reference, twin, plain, again, noise)
    reference.notes = [OWN_RESETS] if reference.seeded else []
    reference.notes += [] if sees else [OWN_PICTURES]
    reference.notes += _note_on(noise.names())


def _unshown(
    reference: Reference, twin: Twin, plain: PlainRun, again: PlainRun, noise: Noise
) -> str | None:
    """Why two plain runs give no baseline; ``None`` if they do."""
    names = noise.names()
    undecided = [name for name in names if not name.startswith(("obs", "info"))]
    if undecided or len(plain.entries) != len(again.entries):
        what = ", ".join(undecided) or "when episodes end"
        return f"{CANNOT}: plain environments, seeded and played alike, differ in {what}"
    if noise and not _is_shown(reference, twin, plain, noise):
        return (
            f"{CANNOT}: nothing but {', '.join(names)} tells one state from another, and plain "
            "environments, seeded and played alike, do not agree on that"
        )
    return None


def _plain_part(reference: Reference, twin: Twin) -> tuple[PlainRun, PlainRun]:
    """Two plain runs of the part of the walk that they can reproduce.

    If states are replayed, every episode runs in a new environment, and the seed of an unseeded
    reset follows from the last one: such a walk has seeded resets, and one unseeded reset at the
    end, before which plain runs stop. Some engines carry data from one episode into the next, so
    that plain Gymnasium has two results: with one environment for all episodes, and with one
    rebuilt below its wrappers for each. Ours must equal one of them for the whole walk.
    """
    moves, seed = reference.moves, reference.options.seed
    if not reference.seeded:
        return record(twin, moves, seed), record(twin, moves, seed)
    until = reference.resets[-1]
    goes_on = record(twin, moves, seed, until=until)
    rebuilt = record(twin, moves, seed, until=until, rebuilding=True)
    if not _noise_of(goes_on.entries, rebuilt.entries):
        return goes_on, rebuilt
    again = record(twin, moves, seed, until=until)
    noise = _noise_of(goes_on.entries, again.entries)
    if not list(_deviations(goes_on.entries, reference.own, noise)):
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


def _is_shown(reference: Reference, twin: Twin, plain: PlainRun, noise: Noise) -> bool:
    """Whether values without noise differ between states of other seeds and moves."""
    moves, seed = reference.moves, reference.options.seed
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
    return noise_between(
        (getattr(one, field), getattr(other, field), field)
        for one, other in zip(recording, again, strict=False)
        for field in ("obs", "reward", "terminated", "truncated", "info")
        if getattr(one, field) is not None and getattr(other, field) is not None
    )


def _note_on(names: list[str]) -> list[str]:
    return [f"not decided by the seed: {', '.join(names)}"] if names else []

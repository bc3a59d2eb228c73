"""The reference of the exactness contract: a walk of plain Gymnasium, or one without saving.

::

    first environment    explores, never saves ──> the moves, ``own``
    plain environments   the same moves, twice ──> ``plain``; where the two differ is noise
    second environment   the same moves, saves ──> ``saved``

``recording`` is the plain one, completed by our own: the keys that plangym_lite adds to infos, and
what plain runs cannot reproduce (see :mod:`.baseline`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from plangym_lite.core import PlanEnv
from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.nested import Noise
from plangym_lite.testing.contract.baseline import Begun, by_itself, by_plain_runs
from plangym_lite.testing.contract.keeping import NUMBERS, Keeper
from plangym_lite.testing.contract.plain import twin_of
from plangym_lite.testing.contract.walking import (
    Entry,
    Move,
    Route,
    Stretch,
    compare_entries,
    explore,
    follow,
)

__all__ = ["Options", "Reference", "make_reference"]

IMAGES = (0, 1)  # moves after a restore at which images are compared


class Options(NamedTuple):
    """Parameters of the walk: see :func:`plangym_lite.testing.contract.contract.check_exact`."""

    seed: int = 0
    depths: tuple[int, ...] = (0, 5, 30)
    length: int = 40
    reach: int = 300
    wide_actions: bool = True
    plain: Callable[[], Any] | None = None

    def route(self, seeded: bool) -> Route:
        """The route of the walk."""
        far = max(self.depths) + self.length
        return Route(self.seed, far, far + self.reach, self.length, seeded, self.wide_actions)


@dataclass
class Reference:
    """A walk that includes an end of an episode and resets."""

    moves: list[Move]
    recording: list[Entry]  # len(moves) + 1 entries: the reference
    own: list[Entry]  # of the first environment, never saved
    saved: list[Entry]  # of the second one, with states, and images at the depths
    depths: list[int]
    length: int
    repeatable: bool  # whether equal seeds give equal walks
    compares_states: bool
    draws_images: bool
    noise: Noise  # places that differ for equal seeds
    notes: list[str]
    unshown: str | None = None  # why exactness cannot be shown
    wrong: str | None = None  # another difference

    def stretch(self, depth: int) -> Stretch:
        """The moves after ``depth``, from the state there."""
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
        """The differences of two entries in values that a state determines."""
        if not self.compares_states:
            expected = expected._replace(state=None)
        yield from compare_entries(expected, got, self.noise)


def make_reference(
    make_env: Callable[[], PlanEnv],
    options: Options,
    first: tuple[PlanEnv, GlobalNumbers] | None = None,
) -> Reference:
    """Make the walk in an environment that is never saved, in plain ones, and in one that is saved.

    ``options.depths`` are numbers of moves; more are added, just before the resets at the end.
    ``first`` is a new environment, with the global generators from before it was made.
    """
    begun = _explore_first(make_env, options, first)
    walk = begun.walk
    verdict = by_itself(make_env, begun) if begun.twin is None else by_plain_runs(begun)
    depths = {*options.depths, *walk.resets} if verdict.repeatable else set(options.depths)
    with GlobalNumbers(NUMBERS), make_env() as env:
        keeper = Keeper()
        compares_states = bool(getattr(env, "_is_plain", env.STATE_IS_ARRAY))
        images = frozenset(stop + k for stop in depths for k in IMAGES if begun.draws_images)
        told: dict[str, Any] = {"images": images, "saving": True}
        if verdict.repeatable:
            saved = follow(env, options.seed, walk.moves, keeper, **told)
        else:
            walk = explore(env, begun.route, keeper, **told)
            saved, verdict = walk.recording, verdict._replace(recording=walk.recording)
        keeper.check()
    keeper.check()
    return Reference(
        moves=walk.moves,
        recording=verdict.recording,
        own=begun.walk.recording,
        saved=saved,
        depths=sorted({*options.depths, *walk.resets}),
        length=options.length,
        repeatable=verdict.repeatable,
        compares_states=compares_states,
        draws_images=begun.draws_images,
        noise=verdict.noise,
        notes=verdict.notes,
        unshown=verdict.unshown,
        wrong=verdict.wrong,
    )


def _explore_first(
    make_env: Callable[[], PlanEnv], options: Options, first: tuple[PlanEnv, GlobalNumbers] | None
) -> Begun:
    numbers = GlobalNumbers(NUMBERS)
    if first is None:
        with numbers:
            env = make_env()
    else:
        env, numbers = first
    with numbers, env:
        keeper = Keeper()
        twin = twin_of(env, options.plain)
        route = options.route(twin is not None and is_played(env))
        walk = explore(env, route, keeper)
        found = env.observation_space, env.action_space
        draws_images = _draws_images(env)  # after the walk: no calls before a reset
        keeper.check()
    keeper.check()
    return Begun(walk, route, twin, found, draws_images)


def is_played(env: Any) -> bool:
    """Whether states are replayed; then unseeded resets begin separate episodes."""
    env = env.unwrapped
    played = getattr(env, "_replayed", None) is not None
    return played or getattr(env, "state_method", None) == "replay"


def _draws_images(env: PlanEnv) -> bool:
    try:
        env.get_image()
    except Exception:  # no renderer, display or method: errors depend on the engine
        return False
    return True

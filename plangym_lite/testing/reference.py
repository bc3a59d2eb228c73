"""The reference of the exactness contract: a walk that nobody saved on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from plangym_lite.core import PlanEnv
from plangym_lite.testing.comparing import is_clock
from plangym_lite.testing.walking import Entry, Move, Stretch, compare_entries, explore

__all__ = ["Reference", "make_reference"]

IMAGES = (0, 1)  # images compared after a restore: at once, and after one move


@dataclass
class Reference:
    """A walk through an end of an episode and through unseeded resets."""

    moves: list[Move]
    tape: list[Entry]  # len(moves) + 1 entries: of a fresh environment, never saved
    saved: list[Entry]  # of another one, with states, and images at the depths
    depths: list[int]
    length: int
    repeatable: bool  # whether the seed decides what happens
    compares_states: bool
    draws_images: bool
    clocks: frozenset[str]  # entries of info that the seed does not decide
    notes: list[str]

    def stretch(self, depth: int) -> Stretch:
        """The moves after ``depth``, from the state there."""
        moves = self.moves[depth : depth + self.length]
        images = frozenset(IMAGES if self.draws_images else ())
        return Stretch(self.saved[depth].state, moves, images, self.compares_states)

    def expected(self, depth: int, stop: int | None = None) -> list[Entry]:
        """What follows ``depth``: the states and images of one walk, the rest of the other."""
        cut = slice(depth, (depth + self.length if stop is None else stop) + 1)
        pairs = zip(self.tape[cut], self.saved[cut], strict=True)
        entries = [one._replace(state=two.state, image=two.image) for one, two in pairs]
        # a restored state tells its observation; what led to it is gone
        return [Entry(entries[0].obs, state=entries[0].state, image=entries[0].image), *entries[1:]]

    def compare(self, expected: Entry, got: Entry) -> Iterator[tuple[str, str]]:
        """Where two entries differ in what states can decide."""
        if not self.compares_states:
            expected = expected._replace(state=None)
        for path, text in compare_entries(expected, got):
            if path not in self.clocks and not is_clock(path):
                yield path, text


def make_reference(
    make_env: Callable[[], PlanEnv], seed: int, depths: tuple[int, ...], length: int, reach: int
) -> Reference:
    """Play the walk in three fresh environments: twice without saving, once with.

    ``depths`` are numbers of moves; one more is added, just before the reset at the end.
    """
    extent = seed, max(depths) + length, max(depths) + length + reach, length
    with make_env() as env:
        moves, tape = explore(env, *extent)
    with make_env() as env:
        again = explore(env, *extent)[1]
    clocks = _unrepeatable(tape, again)
    repeatable = len(tape) == len(again) and all(path.startswith("info") for path in clocks)
    with make_env() as env:
        compares_states = bool(getattr(env, "_is_plain", env.STATE_IS_ARRAY))
        draws_images = _draws_images(env)
        stops = {*depths, len(moves) - length - 1} if repeatable else set(depths)
        images = frozenset(stop + k for stop in stops for k in IMAGES if draws_images)
        own_moves, saved = explore(env, *extent, images=images, saving=True)
    if not repeatable:
        moves, tape, clocks = own_moves, saved, frozenset()
        notes = ["the seed does not decide what happens: compared only with its own saving"]
    else:
        notes = [f"not decided by the seed: {', '.join(sorted(clocks))}"] if clocks else []
    return Reference(
        moves=moves,
        tape=tape,
        saved=saved,
        depths=sorted({*depths, len(moves) - length - 1}),
        length=length,
        repeatable=repeatable,
        compares_states=compares_states,
        draws_images=draws_images,
        clocks=clocks,
        notes=notes,
    )


def _unrepeatable(tape: list[Entry], again: list[Entry]) -> frozenset[str]:
    """The paths at which two tapes of one seed differ."""
    return frozenset(
        path
        for one, other in zip(tape, again, strict=False)
        for path, _ in compare_entries(one, other)
        if not is_clock(path)
    )


def _draws_images(env: PlanEnv) -> bool:
    try:
        env.get_image()
    except Exception:  # no renderer, no display, no such method: each engine has its own error
        return False
    return True

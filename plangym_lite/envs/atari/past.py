"""Past: a moment of a console before this one, from which its picture can be brought back."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["AT_STATE", "BEFORE_RESET", "EMPTY", "PAST", "Held", "Past"]

PAST = struct.Struct("<IIIIfIIf")  # kind and drawn, draws, twice (action, frames, paddle strength)
AT_STATE, BEFORE_RESET = 0, 1  # kinds of past
Held = tuple[int, int, float]  # an action, for how many frames, with what paddle strength
NOTHING: Held = (0, 0, 0.0)
EMPTY = bytes(PAST.size)


class Past(NamedTuple):
    """A moment before this one, and what was done then, as a state holds it."""

    core: bytes
    entry: bytes  # a PAST

    @classmethod
    def of(cls, core: bytes, kind: int, draws: int = 0, *actions: Held, drawn: int = 0) -> Past:
        """``kind`` BEFORE_RESET: a reset came first, its generator after ``draws`` draws.

        ``drawn``: how many numbers that reset drew from the generator of sticky actions.
        """
        first, second = (*actions, NOTHING, NOTHING)[:2]
        return cls(core, PAST.pack(kind | drawn << 8, draws, *first, *second))

    def read(self) -> tuple[int, int, tuple[Held, Held]]:
        """Kind, draws, and the two actions held."""
        kind, draws, *held = PAST.unpack(self.entry)
        return kind & 0xFF, draws, (tuple(held[:3]), tuple(held[3:]))

    @property
    def drawn(self) -> int:
        """Numbers that the reset drew from the generator of sticky actions."""
        return int(PAST.unpack(self.entry)[0]) >> 8

    @property
    def n_frames(self) -> int:
        """Frames from there to the next moment."""
        return sum(held[1] for held in self.read()[2])

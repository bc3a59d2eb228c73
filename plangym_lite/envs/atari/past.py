"""Past: an earlier state of a console, from which the screen can be drawn again."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["AT_STATE", "BEFORE_RESET", "EMPTY", "PAST", "Held", "Past"]

PAST = struct.Struct("<BxxxIIIfIIf")  # kind, draws, twice (action, frames, paddle strength)
AT_STATE, BEFORE_RESET = 0, 1  # kinds of past
Held = tuple[int, int, float]  # an action, its number of frames, the paddle strength
NOTHING: Held = (0, 0, 0.0)
EMPTY = bytes(PAST.size)


class Past(NamedTuple):
    """An earlier state and the actions after it, as stored in a state."""

    core: bytes
    entry: bytes  # a PAST

    @classmethod
    def of(cls, core: bytes, kind: int, draws: int = 0, *actions: Held) -> Past:
        """``kind`` BEFORE_RESET: a reset follows, with the generator after ``draws`` draws."""
        first, second = (*actions, NOTHING, NOTHING)[:2]
        return cls(core, PAST.pack(kind, draws, *first, *second))

    def read(self) -> tuple[int, int, tuple[Held, Held]]:
        """Kind, draws, and the two actions."""
        kind, draws, *held = PAST.unpack(self.entry)
        return kind, draws, (tuple(held[:3]), tuple(held[3:]))

    @property
    def n_frames(self) -> int:
        """Frames of the actions."""
        return sum(held[1] for held in self.read()[2])

"""Who runs a batch: the workers, the caller too, or the caller alone.

To wake a worker and to be woken by it takes longer than many a small batch does. For each size of
batch the three crews are timed on the batches that come, and the quickest one gets the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import numpy as np

from plangym_lite.transitions import Form, Rows

__all__ = ["Crew", "CrewChoice", "kind_of_batch"]

FIRST_TRIALS = 3  # batches that each crew is timed on to begin with
SHORT = 20e-3  # seconds: batches that take the workers longer than this stay with them
FIRST_PAUSE, LAST_PAUSE = 32, 2048  # batches until the slower crews are timed again
FORGETTING = 1.02  # how fast an old best time rises
TIMED = 16  # one batch in so many is timed where nothing is tried


class Crew(IntEnum):
    """Who runs the rows of a batch."""

    WORKERS = 0
    MIXED = 1  # some workers, and the caller beside them
    CALLER = 2


def kind_of_batch(rows: Rows, form: Form) -> tuple[Any, ...]:
    """Batches of one kind take about the same time: powers of 2 of rows and of frames."""
    dts, size = rows.dts, len(rows.dts)
    frames = (dts.item(0) + dts.item(-1)) * size * (form.steps or 1)  # about twice their sum
    return size.bit_length(), frames.bit_length(), form.observs, form.states


class CrewChoice:
    """Learns which crew is the quickest for each kind of batch.

    Args:
        crews: those that there are; the first is the one that others must beat.
    """

    def __init__(self, crews: Iterable[Crew]) -> None:
        self._crews = tuple(crews)
        self._kinds: dict[Any, _Timing] = {}

    def pick(self, kind: Any) -> tuple[Crew, bool]:
        """Who runs the next batch of that kind, and whether to ``learn`` how long it takes."""
        if len(self._crews) == 1:
            return self._crews[0], False
        timing = self._kinds.get(kind)
        if timing is None:
            timing = self._kinds[kind] = _Timing(self._crews)
        return timing.pick()

    def learn(self, kind: Any, crew: Crew, seconds: float) -> None:
        """That crew took so long over a batch of that kind."""
        if kind in self._kinds:
            self._kinds[kind].learn(crew, seconds)


class _Timing:
    """The best times of the crews over one kind of batch, old ones slowly forgotten."""

    def __init__(self, crews: tuple[Crew, ...]) -> None:
        self._crews = crews
        self._best = [np.inf] * len(Crew)
        self._quickest = crews[0]
        self._trials = [crew for crew in crews for _ in range(FIRST_TRIALS)]
        self._pause = FIRST_PAUSE
        self._left = self._pause

    def pick(self) -> tuple[Crew, bool]:
        if self._trials:
            return self._trials[0], True
        self._left -= 1
        if self._left <= 0:
            self._pause = min(2 * self._pause, LAST_PAUSE)
            self._left = self._pause
            self._trials = list(self._crews)
        return self._quickest, not self._left % TIMED

    def learn(self, crew: Crew, seconds: float) -> None:
        best = self._best
        best[crew] = min(seconds, best[crew] * FORGETTING)
        self._quickest = min(self._crews, key=best.__getitem__)
        if self._trials:
            if crew in self._trials:
                self._trials.remove(crew)
            is_warm = self._trials.count(crew) < FIRST_TRIALS - 1  # the very first one takes longer
            if crew == self._crews[0] and is_warm and best[crew] > SHORT:
                self._trials.clear()

"""Two contenders, measured in turns, so that both meet the noise of a shared machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

__all__ = ["Comparison", "Contender", "Work", "compare", "rate"]

Contender = Callable[[], int]
"""Does some work and returns how many units of it."""


class Work(NamedTuple):
    """One line of the table."""

    name: str
    reference: str  # what it is measured against
    make: Callable[[ExitStack], tuple[Contender, Contender]]  # ours and the reference
    at_least: float | None = None  # the ratio to be reached
    aim: float | None = None
    needs: str | None = None  # the package that the reference is of


class Comparison(NamedTuple):
    """What several rounds gave, in units a second."""

    ours: list[float]
    reference: list[float]
    cpu: list[float]  # seconds of this process's CPU time for a unit of ours

    @property
    def ratios(self) -> list[float]:
        """Ours by the reference, a round each."""
        return [ours / other for ours, other in zip(self.ours, self.reference, strict=True)]

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.ratios)

    @property
    def cpu_us(self) -> float:
        """Microseconds of the caller's CPU time for a unit of ours, the median."""
        return statistics.median(self.cpu) * 1e6

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the ratios."""
        if len(self.ratios) < 2:
            return self.ratio, self.ratio
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def rate(contender: Contender, seconds: float) -> tuple[float, float]:
    """Units a second over at least ``seconds``, and this process's CPU time for a unit."""
    done, start, cpu = 0, time.perf_counter(), time.process_time()
    while True:
        done += contender()
        taken = time.perf_counter() - start
        if taken >= seconds:
            return done / taken, (time.process_time() - cpu) / done


def compare(work: Work, rounds: int, seconds: float) -> Comparison:
    """Measure both sides of ``work`` in turns, after a round that does not count."""
    with ExitStack() as stack:
        ours, reference = work.make(stack)
        for contender in (ours, reference):
            rate(contender, seconds)
        result = Comparison([], [], [])
        for number in range(rounds):
            turns = [(result.ours, result.cpu, ours), (result.reference, [], reference)]
            for rates, times, contender in turns if number % 2 else reversed(turns):
                for found, value in zip((rates, times), rate(contender, seconds), strict=True):
                    found.append(value)
        return result

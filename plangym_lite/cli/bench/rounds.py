"""Two contenders measured in turns, so that both have the same noise of the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

__all__ = ["Comparison", "Contender", "Work", "compare", "rate"]

Contender = Callable[[], int]
"""Does some work and returns its number of units."""


class Work(NamedTuple):
    """One line of the table."""

    name: str
    reference: str  # name of the reference
    make: Callable[[ExitStack], tuple[Contender, Contender]]  # ours and the reference
    at_least: float | None = None  # required ratio
    aim: float | None = None
    needs: str | None = None  # the package of the reference


class Comparison(NamedTuple):
    """The results of several rounds, in units per second."""

    ours: list[float]
    reference: list[float]
    cpu: list[float]  # CPU seconds of this process per unit of ours

    @property
    def ratios(self) -> list[float]:
        return [ours / other for ours, other in zip(self.ours, self.reference, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def cpu_us(self) -> float:
        """Median CPU time of the caller per unit of ours, in microseconds."""
        return statistics.median(self.cpu) * 1e6

    @property
    def spread(self) -> tuple[float, float]:
        if len(self.ratios) < 2:
            return self.ratio, self.ratio
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def rate(contender: Contender, seconds: float) -> tuple[float, float]:
    """Units per second over at least ``seconds``, and CPU seconds of this process per unit."""
    done, start, cpu = 0, time.perf_counter(), time.process_time()
    while True:
        done += contender()
        taken = time.perf_counter() - start
        if taken >= seconds:
            return done / taken, (time.process_time() - cpu) / done


def compare(work: Work, rounds: int, seconds: float) -> Comparison:
    """Measure both contenders of ``work`` in turns, after a warm-up round."""
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

"""``plangym-lite bench``: how fast it is on this machine, beside references of the same run."""

from __future__ import annotations

import importlib.util
import json
import platform
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from plangym_lite.cli.bench.curves import curves, measure, plot
from plangym_lite.cli.bench.rounds import Comparison, Work, compare
from plangym_lite.cli.bench.works import ray_works, scaling_works, table
from plangym_lite.cli.target import CommandError
from plangym_lite.cli.versions import versions
from plangym_lite.system import usable_cores

__all__ = ["BenchOptions", "bench"]


class BenchOptions(NamedTuple):
    """What the command line says."""

    workers: list[int]  # one: the table; several: scaling
    rounds: int
    seconds: float
    only: str
    json: Path | None
    plot: Path | None
    ray: bool = False  # only the lines about Ray


def bench(options: BenchOptions) -> int:
    """Measure, print, and write what was asked for."""
    if options.plot is not None:
        return draw_curves(options)
    works = works_for(options)
    chosen = [work for work in works if options.only.lower() in describe(work).lower()]
    if not chosen:
        raise CommandError(f"no line of the table has {options.only!r} in it")
    missing = {work.needs for work in chosen if not _is_there(work.needs)}
    lines = []
    print(machine())
    print("| work | reference | ours /s | reference /s | ratio (quartiles) | at least | aim |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for work in tqdm(chosen, desc="bench", disable=None, leave=False):
        if work.needs not in missing:
            found = compare(work, options.rounds, options.seconds)
            tqdm.write(line_of(work, found))
            lines.append(entry_of(work, found))
    for package in sorted(filter(None, missing)):
        how = 'pip install "plangym-lite[ray]"' if package == "ray" else "see --peers"
        print(f"{package} is not installed: its lines were left out ({how})")
    write_json(options.json, {"machine": machine(), "lines": lines})
    return 0


def works_for(options: BenchOptions) -> list[Work]:
    """The lines that the options stand for."""
    if options.ray:
        return ray_works(options.workers)
    return table(*options.workers) if len(options.workers) == 1 else scaling_works(options.workers)


def draw_curves(options: BenchOptions) -> int:
    """Measure and draw cost as the work grows."""
    assert options.plot is not None
    if not _is_there("matplotlib"):
        raise CommandError("--plot needs matplotlib: pip install 'plangym-lite[notebooks]'")
    found = []
    for curve in tqdm(curves(max(options.workers)), desc="curves", disable=None, leave=False):
        found.append(measure(curve, options.seconds))
        points = ", ".join(f"{where}: {speed:,.0f}" for where, speed in found[-1][2])
        tqdm.write(f"{found[-1][0]} - {found[-1][1]} - rows a second: {points}")
    plot(options.plot, found)
    write_json(options.json, {"machine": machine(), "curves": found})
    print(f"drawn: {options.plot}")
    return 0


def describe(work: Work) -> str:
    """What ``--only`` is looked for in."""
    return f"{work.name} | {work.reference}"


def line_of(work: Work, found: Comparison) -> str:
    """One line of the table."""
    ours, reference = (f"{_median(side):,.0f}" for side in found)
    low, high = found.spread
    goals = ["" if goal is None else f"{goal:.2f}" for goal in (work.at_least, work.aim)]
    ratio = f"**{found.ratio:.2f}** ({low:.2f} to {high:.2f})"
    cells = work.name, work.reference, ours, reference, ratio, *goals
    return f"| {' | '.join(cells)} |"


def entry_of(work: Work, found: Comparison) -> dict[str, Any]:
    """The same for ``--json``, with every round."""
    return {
        "work": work.name,
        "reference": work.reference,
        "ratio": found.ratio,
        "ours": found.ours,
        "reference_rates": found.reference,
        "at_least": work.at_least,
        "aim": work.aim,
    }


def machine() -> str:
    """What was measured on, in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{usable_cores()} cores, {platform.machine()}, {packages}"


def write_json(path: Path | None, data: dict[str, Any]) -> None:
    """Write ``data`` if a path was given."""
    if path is not None:
        path.write_text(json.dumps(data, indent=2) + "\n")


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _is_there(package: str | None) -> bool:
    return package is None or importlib.util.find_spec(package) is not None

"""``plangym-lite bench``: speed on this machine, compared with references of the same run."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from plangym_lite.cli.bench.rounds import Comparison, Work, compare
from plangym_lite.cli.output import Output, add_output, check_paths, versions
from plangym_lite.cli.parser import above_zero, at_least_one
from plangym_lite.cli.target import CommandError, check_ray
from plangym_lite.system import usable_cores

__all__ = ["add_options", "add_parser", "bench", "machine", "run"]


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("bench", help="measure how fast it is on this machine")
    add_options(parser)
    text = "measure workers on a Ray cluster beside processes"
    parser.add_argument("--ray", action="store_true", help=text)
    parser.set_defaults(run=bench)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a measurement."""
    add = parser.add_argument
    cores = [usable_cores()]
    add("--workers", type=_counts, default=cores, metavar="N[,N...]", help="several: how it scales")
    add("--rounds", type=at_least_one, default=7, metavar="N", help="rounds, in turns (7)")
    add("--seconds", type=above_zero, default=0.5, metavar="X", help="of each measurement (0.5)")
    add("--only", default="", metavar="TEXT", help="only lines of the table with TEXT in them")
    add_output(parser)


def _counts(text: str) -> list[int]:
    return [at_least_one(part) for part in text.split(",")]


def bench(args: argparse.Namespace) -> int:
    """Measure the table, the scaling with workers, or Ray; return the exit code."""
    from plangym_lite.cli.bench.works import ray_works, scaling_works, table  # imports ale_py

    counts = args.workers
    if args.ray:
        check_ray()
        return run(ray_works(counts), args)
    return run(table(*counts) if len(counts) == 1 else scaling_works(counts), args)


def run(works: Sequence[Work], args: argparse.Namespace) -> int:
    """Measure and print the chosen lines, write the JSON; return the exit code."""
    chosen = [work for work in works if args.only.lower() in describe(work).lower()]
    if not chosen:
        raise CommandError(f"no line of the table has {args.only!r} in it")
    missing = {work.needs for work in chosen if not _is_there(work.needs)}
    lines, output = [], Output(args.json, args.quiet)
    check_paths(args.json)
    output.say(machine())
    titles = "work | reference | ours /s | reference /s | ratio (quartiles) | at least | aim"
    output.say(f"| {titles} | CPU us |\n{'| --- ' * 8}|")
    for work in tqdm(chosen, desc="bench", disable=args.quiet or None, leave=False):
        if work.needs not in missing:
            found = compare(work, args.rounds, args.seconds)
            with tqdm.external_write_mode():
                output.say(line_of(work, found))
            lines.append(entry_of(work, found))
    for package in sorted(filter(None, missing)):
        output.say(f"{package} is not installed: its lines were left out")
    output.write({"machine": machine(), "lines": lines})
    return 0


def describe(work: Work) -> str:
    """The text that ``--only`` is matched with."""
    return f"{work.name} | {work.reference}"


def line_of(work: Work, found: Comparison) -> str:
    ours, reference = (f"{statistics.median(side):,.0f}" for side in found[:2])
    low, high = found.spread
    goals = ["" if goal is None else f"{goal:.2f}" for goal in (work.at_least, work.aim)]
    ratio = f"**{found.ratio:.2f}** ({low:.2f} to {high:.2f})"
    cells = work.name, work.reference, ours, reference, ratio, *goals, f"{found.cpu_us:.1f}"
    return f"| {' | '.join(cells)} |"


def entry_of(work: Work, found: Comparison) -> dict[str, Any]:
    return {
        "work": work.name,
        "reference": work.reference,
        "ratio": found.ratio,
        "ours": found.ours,
        "reference_rates": found.reference,
        "cpu_us": found.cpu_us,
        "at_least": work.at_least,
        "aim": work.aim,
    }


def machine() -> str:
    """The machine, in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{usable_cores()} cores, {platform.machine()}, {packages}"


def _is_there(package: str | None) -> bool:
    try:
        return package is None or importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a module in it
        return False

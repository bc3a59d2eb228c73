"""``plangym-lite compare NAME ...``: several planners on several environments, as a table."""

from __future__ import annotations

import argparse
import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plangym_lite import planners
from plangym_lite.cli.play.game import Game, open_environment, play, progress_bar
from plangym_lite.cli.play.options import PLANNERS, add_common, flag_of, options_of
from plangym_lite.cli.play.plan import as_record, check_paths, interruptible
from plangym_lite.cli.target import CommandError, placement
from plangym_lite.cli.versions import versions

__all__ = ["CompareOptions", "add_parser", "compare", "table"]


@dataclass(frozen=True)
class CompareOptions:
    """The options of ``compare``."""

    names: list[str]
    planners: list[str]
    episodes: int = 3
    steps: int = 100
    workers: int | str | None = None
    ray: bool = False
    seed: int = 0
    frameskip: int | None = None
    json: Path | None = None
    planner_options: dict[str, Any] = field(
        default_factory=dict
    )  # each for the planners that have this option


@dataclass
class Comparison:
    """Games played, and failures."""

    records: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("compare", help="several planners, several environments")
    add = parser.add_argument
    add("names", metavar="NAME", nargs="+", help="ids, module:Id-v0 or module:Class")
    add("--planners", type=_planners, default=list(PLANNERS), metavar="A,B", help="default: all")
    add_common(parser, episodes=3)
    parser.set_defaults(run=lambda args: compare(CompareOptions(**options_of(args))))


def _planners(text: str) -> list[str]:
    """Comma-separated names of planners."""
    names = text.split(",")
    for name in names:
        if name not in PLANNERS:
            known = ", ".join(PLANNERS)
            raise argparse.ArgumentTypeError(f"no planner {name!r}: choose of {known}")
    return names


def compare(options: CompareOptions) -> int:
    """Play, print the table (also after an interrupt), write the JSON; return the exit code.

    Raises:
        CommandError: an option is invalid; nothing was played.
        UnknownEnvironmentError: no environment has one of the names.
    """
    check_paths(options.json)
    for option in options.planner_options:
        if not any(option in _parameters_of(planner) for planner in options.planners):
            raise CommandError(f"none of {', '.join(options.planners)} has {flag_of(option)}")
    found = Comparison()
    with interruptible() as signals:
        try:
            for name in options.names:
                for planner in options.planners:
                    play_cell(options, name, planner, found)
        except KeyboardInterrupt:
            print("interrupted: this is what was finished")
    print(table(found.records, options.planners))
    for line in found.refusals:
        print(line)
    if options.json is not None:
        record = {"results": found.records, "versions": versions()}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
        print(f"JSON: {options.json}")
    return 128 + signals[0] if signals else 0


def _parameters_of(planner: str) -> Any:
    """The parameters of a planner."""
    return inspect.signature(getattr(planners, planner)).parameters


def play_cell(options: CompareOptions, name: str, planner: str, found: Comparison) -> None:
    """Play all episodes of one planner on one environment."""
    planner_options = {
        option: value
        for option, value in options.planner_options.items()
        if option in _parameters_of(planner)
    }
    games: list[Game] = []
    total = options.episodes * options.steps
    title, where = f"{planner} on {name}", placement(options.workers, options.ray)
    with (
        open_environment(name, planner, where, options.frameskip) as env,
        progress_bar(title, total, games) as (bar, on_batch),
    ):
        try:
            for episode in range(options.episodes):
                games.append(Game(options.seed + episode))
                play(
                    env,
                    planner,
                    games[-1],
                    planner_options=planner_options,
                    steps=options.steps,
                    on_batch=on_batch,
                    on_step=bar.update,
                )
        except (TypeError, ValueError) as error:
            if any(game.simulator_calls for game in games):
                raise
            found.refusals.append(f"{title}: {error}")
            return
    found.records.append(
        {"name": name, "planner": planner, "planner_options": planner_options, **as_record(games)}
    )


def table(records: list[dict[str, Any]], columns: list[str]) -> str:
    """Means and standard deviations of the scores, in Markdown."""
    names = list(dict.fromkeys(record["name"] for record in records))
    cells = {(record["name"], record["planner"]): record for record in records}
    lines = [["environment", *columns, "random"]]
    for name in names:
        played = [cells.get((name, planner)) for planner in columns]
        first = next(record for record in played if record)
        line = [f"{r['score']:,.4g} ± {r['score_std']:,.3g}" if r else "-" for r in played]
        lines.append([name, *line, f"{first['random_score']:,.4g}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    rows.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(rows)

"""``plangym-lite compare NAME ...``: several planners on several environments, as a table."""

from __future__ import annotations

import argparse
from typing import Any

from plangym_lite.cli.envs import complete_ids
from plangym_lite.cli.output import Output, check_paths, versions
from plangym_lite.cli.parser import unknown
from plangym_lite.cli.play.game import Game, open_environment
from plangym_lite.cli.play.options import (
    PLANNERS,
    add_common,
    flag_of,
    parameters_of,
    planner_options_of,
)
from plangym_lite.cli.play.plan import (
    TWO_PLAYERS,
    as_record,
    interruptible,
    play_all,
    what_was_drawn,
)
from plangym_lite.cli.target import CommandError, make_options

__all__ = ["add_parser", "compare", "table"]


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("compare", help="several planners, several environments")
    add = parser.add_argument
    names: Any = add("names", metavar="NAME", nargs="+", help="ids, module:Id-v0 or module:Class")
    names.completer = complete_ids
    add("--planners", type=_planners, default=list(PLANNERS), metavar="A,B", help="default: all")
    add_common(parser, episodes=3)
    parser.set_defaults(run=compare, execute=1)


def _planners(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PLANNERS:
            raise argparse.ArgumentTypeError(unknown(name, PLANNERS))
    return names


def compare(args: argparse.Namespace) -> int:
    """Play, print the table (also after an interrupt), write the JSON.

    Returns:
        The exit code: 1 if every planner refused every environment.
    """
    output = Output(args.json, args.quiet)
    check_paths(args.json)
    for option in planner_options_of(args):
        if not any(option in parameters_of(planner) for planner in args.planners):
            raise CommandError(f"none of {', '.join(args.planners)} has {flag_of(option)}")
    check_names(args)
    records, refusals = list[dict[str, Any]](), list[str]()
    with interruptible() as signals:
        try:
            for name in args.names:
                for planner in args.planners:
                    try:
                        records.append(play_cell(args, name, planner))
                    except CommandError as error:
                        refusals.append(f"{planner} on {name}: {error}")
        except KeyboardInterrupt:
            output.say("interrupted: this is what was finished")
    if records:
        output.say(table(records, args.planners))
        for name in args.names:
            played = [record for record in records if record["name"] == name]
            if any(record["two_players"] for record in played):
                output.say(f"{name}: {TWO_PLAYERS}")
            if any(record["draws"] for record in played):
                drawn = {key: any(r[key] for r in played) for key in ("draws", "knew_the_dice")}
                output.say(f"{name}: {what_was_drawn(drawn)}")
    for line in refusals:
        output.say(line)
    how = {"results": records, "refusals": refusals}
    output.write({**how, "env_options": dict(args.env_options), "versions": versions()})
    if signals:
        return 128 + signals[0]
    return 0 if records else 1


def check_names(args: argparse.Namespace) -> None:
    """Make each environment once, without workers, so that errors come before the first game."""
    kwargs = {**make_options(args), "n_workers": None, "ray": False}
    for name in args.names:
        open_environment(name, args.planners[0], kwargs).close()


def play_cell(args: argparse.Namespace, name: str, planner: str) -> dict[str, Any]:
    """The record of one planner on one environment; ``CommandError`` if it refuses."""
    given, known = planner_options_of(args), parameters_of(planner)
    options = {option: value for option, value in given.items() if option in known}
    games: list[Game] = []
    with open_environment(name, planner, make_options(args)) as env:
        play_all(env, args, name, planner, options, games)
    return {"name": name, "planner": planner, "planner_options": options, **as_record(games)}


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

"""``plangym-lite``: the console script. Each command lives in a file of ``commands/``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plangym_lite import __version__
from plangym_lite.cli.play.options import OPTIONS, PLANNERS, flag_of
from plangym_lite.cli.target import CommandError
from plangym_lite.errors import PlangymError
from plangym_lite.system import usable_cores

__all__ = ["main"]

FAILURE, INTERRUPTED, READER_GONE = 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 2 if it cannot be carried out."""
    args = build_parser().parse_args(argv)
    try:
        code = run(args)
        sys.stdout.flush()
        return code
    except (CommandError, PlangymError) as error:
        print(f"plangym-lite: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        print("plangym-lite: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read what is printed has gone, as in `envs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def run(args: argparse.Namespace) -> int:
    """Run the command; what it needs is imported here, so that ``--help`` is quick."""
    if args.command == "plan":
        return run_plan(args)
    if args.command == "compare":
        return run_compare(args)
    if args.command == "check":
        return run_check(args)
    if args.command == "bench":
        return run_bench(args)
    from plangym_lite.cli.envs import envs

    return envs()


def run_check(args: argparse.Namespace) -> int:
    """Hand the options of ``check`` over."""
    from plangym_lite.cli.check.check import CheckOptions, check, check_again, check_all

    if (args.name is not None) + args.all + bool(args.sources) != 1:
        raise CommandError("check needs a NAME, or --all, or --from")
    if args.name is not None:
        return check(args.name)
    if args.sources:
        return check_again(args.sources, args.json, args.markdown)
    given = vars(args)
    return check_all(CheckOptions(**{key: given[key] for key in CheckOptions.__annotations__}))


def run_plan(args: argparse.Namespace) -> int:
    """Hand the options of ``plan`` over."""
    from plangym_lite.cli.play.plan import PlanOptions, plan

    return plan(
        PlanOptions(
            name=args.name,
            planner=args.planner,
            episodes=args.episodes,
            steps=args.steps,
            execute=args.execute,
            workers=args.workers,
            ray=args.ray,
            seed=args.seed,
            frameskip=args.frameskip,
            gif=args.gif,
            mp4=args.mp4,
            plot=args.plot,
            json=args.json,
            planner_options=given_options(args),
        )
    )


def run_compare(args: argparse.Namespace) -> int:
    """Hand the options of ``compare`` over."""
    from plangym_lite.cli.play.compare import CompareOptions, compare

    return compare(
        CompareOptions(
            names=args.names,
            planners=args.planners,
            episodes=args.episodes,
            steps=args.steps,
            workers=args.workers,
            ray=args.ray,
            seed=args.seed,
            frameskip=args.frameskip,
            json=args.json,
            planner_options=given_options(args),
        )
    )


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of planners that were given."""
    return {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}


def run_bench(args: argparse.Namespace) -> int:
    """Hand the options of ``bench`` over."""
    from plangym_lite.cli.bench.command import BenchOptions, bench
    from plangym_lite.cli.bench.peers import HOW_TO_INSTALL

    if args.peers:
        print(HOW_TO_INSTALL)
        return 0
    counts = args.workers or [usable_cores()]
    files = args.json, args.plot
    return bench(BenchOptions(counts, args.rounds, args.seconds, args.only, *files, args.ray))


def build_parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    parser = argparse.ArgumentParser(
        prog="plangym-lite",
        description="Step any simulator from any saved state, exactly, on every core you have.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_plan(commands.add_parser("plan", help="play a game by planning"))
    add_compare(commands.add_parser("compare", help="several planners, several environments"))
    commands.add_parser("envs", help="list the environments that can be made")
    add_bench(commands.add_parser("bench", help="measure how fast it is on this machine"))
    add_check(commands.add_parser("check", help="find out whether an environment is exact"))
    return parser


def add_check(parser: argparse.ArgumentParser) -> None:
    """The options of ``check``."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="an id, module:Id or module:Class")
    parser.add_argument("--all", action="store_true", help="everything that is installed")
    text = "what --json wrote before, instead of running anything (repeatable)"
    parser.add_argument(
        "--from", action="append", type=Path, dest="sources", metavar="PATH", help=text
    )
    add = parser.add_argument_group("with --all").add_argument
    add("--family", action="append", default=[], metavar="F", help="only this one (repeatable)")
    add("--variants", metavar="V", help="a variant's name, or all (default: what matters most)")
    add("--sample", type=at_least_one, metavar="N", help="so many ids of each family")
    add("--jobs", type=at_least_one, metavar="N", help="side by side (default: usable cores)")
    add("--workers", type=at_least_one, metavar="N", help="check batches in processes too")
    add("--timeout", type=float, default=300.0, metavar="S", help="for one run (default: 300)")
    add("--json", type=Path, metavar="PATH", help="write the numbers")
    add("--markdown", type=Path, metavar="PATH", help="write a page of tables")


def add_plan(parser: argparse.ArgumentParser) -> None:
    """The options of ``plan``."""
    add = parser.add_argument
    add("name", metavar="NAME", help="an id such as ALE/MsPacman-v5, module:Id-v0 or module:Class")
    add("--planner", choices=PLANNERS, default="mcts")
    add("--execute", type=at_least_one, default=1, metavar="N", help="actions of each plan")
    add("--gif", type=Path, metavar="PATH", help="write what was played")
    add("--mp4", type=Path, metavar="PATH", help="the same as a video")
    add("--plot", type=Path, metavar="PATH", help="draw the scores and the last search")
    add_common(parser, episodes=1)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """The options of ``compare``."""
    add = parser.add_argument
    add("names", metavar="NAME", nargs="+", help="ids, module:Id-v0 or module:Class")
    add("--planners", type=planners, default=list(PLANNERS), metavar="A,B", help="default: all")
    add_common(parser, episodes=3)


def add_common(parser: argparse.ArgumentParser, episodes: int) -> None:
    """The options of ``plan`` and ``compare``."""
    add = parser.add_argument
    add("--episodes", type=at_least_one, default=episodes, metavar="N", help="one seed each")
    add("--steps", type=at_least_one, default=100, metavar="N", help="at most (default: 100)")
    add("--workers", type=workers, default="auto", metavar="auto|N|none", help="processes")
    add("--ray", action="store_true", help="workers on a Ray cluster (RAY_ADDRESS), not processes")
    add("--seed", type=int, default=0, metavar="N", help="of the first episode")
    add("--frameskip", type=at_least_one, metavar="N", help="frames for each step")
    add("--json", type=Path, metavar="PATH", help="write the numbers")
    group = parser.add_argument_group("options of the planners")
    for name, (kind, text) in OPTIONS.items():
        flag = flag_of(name)
        if kind is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(flag, dest=name, action=action, default=None, help=text)
        else:
            mark = {int: "N", float: "X", str: "KIND"}[kind]
            group.add_argument(flag, dest=name, type=kind, metavar=mark, help=text)


def planners(text: str) -> list[str]:
    """Names of planners, with commas between them."""
    names = text.split(",")
    for name in names:
        if name not in PLANNERS:
            raise argparse.ArgumentTypeError(
                f"no planner {name!r}: choose of {', '.join(PLANNERS)}"
            )
    return names


def add_bench(parser: argparse.ArgumentParser) -> None:
    """The options of ``bench``."""
    add = parser.add_argument
    add("--workers", type=counts, metavar="N[,N...]", help="several: how it scales")
    add("--rounds", type=at_least_one, default=7, metavar="N", help="rounds, in turns (7)")
    add("--seconds", type=float, default=0.5, metavar="X", help="of each measurement (0.5)")
    add("--only", default="", metavar="TEXT", help="only lines of the table with TEXT in them")
    add("--ray", action="store_true", help="measure workers on a Ray cluster beside processes")
    add("--peers", action="store_true", help="say how to install what to compare with")
    add("--json", type=Path, metavar="PATH", help="write every round")
    add("--plot", type=Path, metavar="PATH", help="measure and draw cost as the work grows")


def counts(text: str) -> list[int]:
    """Numbers of workers."""
    return [at_least_one(part) for part in text.split(",")]


def at_least_one(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def workers(text: str) -> int | str | None:
    """``auto``, a number, or ``None`` for no processes."""
    if text == "auto":
        return text
    return None if text in ("none", "0") else at_least_one(text)

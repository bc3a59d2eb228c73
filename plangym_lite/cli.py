"""``plangym-lite``: the console script. Each command lives in a file of ``commands/``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from plangym_lite import __version__
from plangym_lite.commands.target import CommandError
from plangym_lite.errors import PlangymError

__all__ = ["main"]

KNOBS = {
    "max_depth": (int, "how many steps ahead a simulation looks"),
    "rollout_dt": (int, "for how many steps a random action is held"),
    "batch_size": (int, "mcts: leaves that are expanded together"),
    "discount": (float, "of a reward one step later"),
    "exploration": (float, "mcts: weight of what was visited little"),
}
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
    if args.command == "check":
        return run_check(args)
    from plangym_lite.commands.envs import envs

    return envs()


def run_check(args: argparse.Namespace) -> int:
    """Hand the options of ``check`` over."""
    from plangym_lite.commands.check import CheckOptions, check, check_again, check_all

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
    from plangym_lite.commands.plan import PlanOptions, plan

    given = {knob: getattr(args, knob) for knob in KNOBS if getattr(args, knob) is not None}
    options = PlanOptions(
        name=args.name,
        planner=args.planner,
        steps=args.steps,
        workers=args.workers,
        seed=args.seed,
        frameskip=args.frameskip,
        gif=args.gif,
        json=args.json,
        knobs={"num_simulations": args.simulations, **given},
    )
    return plan(options)


def build_parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    parser = argparse.ArgumentParser(
        prog="plangym-lite",
        description="Step any simulator from any saved state, exactly, on every core you have.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_plan(commands.add_parser("plan", help="play a game by planning"))
    commands.add_parser("envs", help="list the environments that can be made")
    add_check(commands.add_parser("check", help="find out whether an environment is exact"))
    return parser


def add_check(parser: argparse.ArgumentParser) -> None:
    """The options of ``check``."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="an id, or module:Class")
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
    add("name", metavar="NAME", help="an id such as ALE/MsPacman-v5, or module:Class")
    add("--planner", choices=("mcts", "random_shooting"), default="mcts")
    add("--simulations", type=at_least_one, default=100, metavar="N", help="for each decision")
    add("--steps", type=at_least_one, default=100, metavar="N", help="decisions (default: 100)")
    add("--workers", type=workers, default="auto", metavar="auto|N|none", help="processes")
    add("--seed", type=int, default=0, metavar="N")
    add("--frameskip", type=at_least_one, metavar="N", help="frames for each step")
    add("--gif", type=Path, metavar="PATH", help="write what was played")
    add("--json", type=Path, metavar="PATH", help="write the numbers")
    knobs = parser.add_argument_group("knobs of the planner")
    for knob, (kind, text) in KNOBS.items():
        option = "--" + knob.replace("_", "-")
        knobs.add_argument(option, type=kind, metavar="N" if kind is int else "X", help=text)


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

"""``plangym-lite``: the console script. Each command is a module that adds its own options."""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from plangym_lite import __version__
from plangym_lite.cli import check, envs
from plangym_lite.cli.bench import command as bench
from plangym_lite.cli.parser import UNUSABLE, Parser
from plangym_lite.cli.play import compare, plan
from plangym_lite.cli.target import CommandError
from plangym_lite.errors import PlangymError

__all__ = ["main"]

COMMANDS = (plan, compare, envs, bench, check)
INTERRUPTED, READER_GONE = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 2 if it cannot be run."""
    warnings.filterwarnings("ignore", module="glfw")  # about displays
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what TAB may complete
        importlib.import_module("argcomplete").autocomplete(parser)
    args = parser.parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except (CommandError, PlangymError) as error:
        print(f"plangym-lite: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("plangym-lite: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has ended, as in `envs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="plangym-lite",
        description="Step any simulator from any saved state, exactly, on every core you have.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser

"""``plangym-lite check NAME``: is this environment exact?"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from plangym_lite.cli.envs import complete_ids
from plangym_lite.cli.output import Output, add_output, check_paths, versions
from plangym_lite.cli.target import add_env, find_target, make_env, make_options
from plangym_lite.errors import NotCloneableError
from plangym_lite.testing.contract.contract import Report, check_exact

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("check", help="find out whether an environment is exact")
    name = parser.add_argument("name", metavar="NAME", help="an id, module:Id or module:Class")
    name.completer = complete_ids
    add_env(parser)
    add_output(parser, quiet="no report: the exit code is 0 if it is exact, else 1")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the exactness contract and print its report; return 0 if exact, else 1."""
    name, output = args.name, Output(args.json, args.quiet)
    check_paths(output.json)
    kwargs = make_options(args)
    try:
        report = check_exact(partial(make_env, find_target(name), name, **kwargs), name=name)
        output.say(str(report))
    except NotCloneableError as error:
        report = Report(name, exact=False, difference=str(error))
        output.say(f"{name}: NOT exact, and says so when it is made: {error}")
    keys = ("name", "exact", "difference", "checks", "state_bytes", "pictures", "notes")
    record = {key: getattr(report, key) for key in keys}
    output.write({**record, "env_options": dict(args.env_options), "versions": versions()})
    return 0 if report.exact else 1

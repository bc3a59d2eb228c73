"""``plangym-lite check NAME``: is this environment exact?"""

from __future__ import annotations

from functools import partial
from typing import Any

from plangym_lite.cli.target import find_target, make_env
from plangym_lite.errors import NotCloneableError
from plangym_lite.testing.contract.contract import check_exact

__all__ = ["add_parser", "check"]


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("check", help="find out whether an environment is exact")
    parser.add_argument("name", metavar="NAME", help="an id, module:Id or module:Class")
    parser.set_defaults(run=lambda args: check(args.name))


def check(name: str) -> int:
    """Run the exactness contract and print its report; return 0 if exact, else 1.

    Args:
        name: an environment's id, ``module:Id-v0`` or ``module:Class``.

    Raises:
        CommandError: there is no such class.
        UnknownEnvironmentError: no environment has that name.
    """
    try:
        report = check_exact(partial(make_env, find_target(name), name), name=name)
    except NotCloneableError as error:
        print(f"{name}: NOT exact, and says so when it is made: {error}")
        return 1
    print(report)
    return 0 if report.exact else 1

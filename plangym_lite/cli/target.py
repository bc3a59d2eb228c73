"""Parsing of common arguments: NAME, numbers, ``--workers`` and ``--ray``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from plangym_lite.core import PlanEnv
from plangym_lite.errors import PlangymError
from plangym_lite.registry import make

__all__ = ["CommandError", "at_least_one", "find_target", "make_env", "placement"]


class CommandError(Exception):
    """The command cannot be run with these arguments; its message is one line for the user."""


def at_least_one(text: str) -> int:
    """A positive integer."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def find_target(name: str) -> str | Callable[..., Any]:
    """An id unchanged, or the class or callable that ``module:Class`` names.

    ``module:Id-v0`` is an id that the module registers on import. Modules of the current directory
    can be imported.

    Raises:
        CommandError: no such module, or no such name in it.
    """
    module, _, attribute = name.partition(":")
    if not (attribute and module.replace(".", "").isidentifier()):
        return name
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except Exception as error:  # the import may raise anything
        raise CommandError(f"{module} cannot be imported: {_line(error)}") from error
    if callable(getattr(found, attribute, None)):
        return getattr(found, attribute)
    if attribute.isidentifier() and not _is_id(attribute):
        raise CommandError(f"{module} has no class or callable {attribute!r}, and adds no such id")
    return name


def _is_id(name: str) -> bool:
    try:
        gym.spec(name)
    except gym.error.Error:
        return False
    return True


def placement(workers: int | str | None, ray: bool) -> dict[str, Any]:
    """The arguments of ``make`` for the options ``--workers`` and ``--ray``.

    Raises:
        CommandError: the options do not fit each other, or Ray is not installed.
    """
    if ray and workers is None:
        raise CommandError("--ray needs workers: give --workers a number, or auto")
    if ray and importlib.util.find_spec("ray") is None:
        raise CommandError('--ray needs Ray: pip install "plangym-lite[ray]"')
    return {"n_workers": workers, "ray": ray}


def make_env(target: str | Callable[..., Any], name: str, **kwargs: Any) -> PlanEnv:
    """``plangym_lite.make(target, **kwargs)``.

    Raises:
        CommandError: the environment raised an error.
        PlangymError: plangym_lite raised an error.
    """
    try:
        return make(target, **kwargs)
    except PlangymError:
        raise
    except Exception as error:  # a foreign environment may raise anything
        raise CommandError(f"{name} cannot be made: {_line(error)}") from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

"""What the arguments of a command mean: a NAME, a number, where batches run."""

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
    """The command cannot be carried out as it was given: one clear line for the user."""


def at_least_one(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def find_target(name: str) -> str | Callable[..., Any]:
    """An environment's id as it is; the class or callable that ``module:Class`` names.

    ``module:Id-v0`` is an id that the module registers when it is imported. The current directory
    can be imported from.

    Raises:
        CommandError: there is no such module, or nothing of that name in it.
    """
    module, _, attribute = name.partition(":")
    if not (attribute and module.replace(".", "").isidentifier()):
        return name
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever a user's module does while it is imported
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
    """Where batches run, as ``make`` takes it, for the options ``--workers`` and ``--ray``.

    Raises:
        CommandError: the two do not go together, or Ray is not installed.
    """
    if ray and workers is None:
        raise CommandError("--ray needs workers: give --workers a number, or auto")
    if ray and importlib.util.find_spec("ray") is None:
        raise CommandError('--ray needs Ray: pip install "plangym-lite[ray]"')
    return {"n_workers": workers, "ray": ray}


def make_env(target: str | Callable[..., Any], name: str, **kwargs: Any) -> PlanEnv:
    """``plangym_lite.make(target, **kwargs)``, its failures as one line.

    Raises:
        CommandError: it cannot be made.
        PlangymError: the same, where plangym_lite itself says so.
    """
    try:
        return make(target, **kwargs)
    except PlangymError:
        raise
    except Exception as error:  # whatever a foreign environment raises while it is made
        raise CommandError(f"{name} cannot be made: {_line(error)}") from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

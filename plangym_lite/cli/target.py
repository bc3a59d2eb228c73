"""The environment that a command names: NAME, ``--workers``, ``--ray`` and ``--env``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from inspect import signature
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from plangym_lite.cli.parser import did_you_mean, key_and_value
from plangym_lite.core import PlanEnv
from plangym_lite.errors import PlangymError, to_install
from plangym_lite.registry import adapter_for, make

__all__ = ["CommandError", "add_env", "check_ray", "find_target", "make_env", "make_options"]


class CommandError(Exception):
    """The command cannot be run with these arguments; its message is one line for the user."""


def add_env(parser: argparse.ArgumentParser) -> None:
    """Add ``--env``, whose values are a list of pairs."""
    text = "an argument of the environment, such as is_slippery=false (repeatable)"
    options: Any = {"type": key_and_value, "action": "append", "default": [], "help": text}
    parser.add_argument("--env", dest="env_options", metavar="KEY=VALUE", **options)


def find_target(name: str) -> str | Callable[..., Any]:
    """An id unchanged, or the class or callable that ``module:Class`` names.

    ``module:Id-v0`` is an id that the module registers on import. Modules of the current directory
    can be imported.
    """
    module, _, attribute = name.partition(":")
    if not (attribute and module.replace(".", "").isidentifier()):
        return name
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except Exception as error:  # the import may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise CommandError(f"{module} cannot be imported: {reason}") from error
    if callable(getattr(found, attribute, None)):
        return getattr(found, attribute)
    if attribute.isidentifier() and attribute not in gym.registry:
        raise CommandError(f"{module} has no class or callable {attribute!r}, and adds no such id")
    return name


def make_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``make`` for ``--workers``, ``--ray``, ``--frameskip`` and ``--env``."""
    flags = {"n_workers": "workers", "ray": "ray", "frameskip": "frameskip"}
    given = {name: getattr(args, flag, None) for name, flag in flags.items()}
    if given["ray"]:
        if given["n_workers"] is None:
            raise CommandError("--ray needs workers: give --workers a number, or auto")
        check_ray()
    for name, _ in args.env_options:
        if name in flags:
            raise CommandError(f"--env {name}: use --{flags[name]}")
    options = {name: value for name, value in given.items() if value is not None}
    return {**options, **dict(args.env_options)}


def check_ray() -> None:
    """Raise :class:`CommandError` unless Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        raise CommandError(f"--ray needs Ray: {to_install('ray')}")


def make_env(target: str | Callable[..., Any], title: str, /, **kwargs: Any) -> PlanEnv:
    """``plangym_lite.make(target, **kwargs)``; ``title`` is its name in errors."""
    try:
        return make(target, **kwargs)
    except PlangymError:
        raise
    except Exception as error:  # a foreign environment may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        wrong = re.search(r"unexpected keyword argument '(\w+)'", reason)
        if wrong and wrong[1] in kwargs:
            reason = f"no option {wrong[1]}{did_you_mean(wrong[1], _options_of(target))}"
        raise CommandError(f"{title} cannot be made: {reason}") from error


def _options_of(target: str | Callable[..., Any]) -> set[str]:
    """The names of the arguments of an environment, as far as signatures say."""
    makers: list[Any] = [target]
    if isinstance(target, str):
        spec = gym.registry.get(target)
        creator: Any = None if spec is None else spec.entry_point
        makers = [load_env_creator(creator) if isinstance(creator, str) else creator]
        makers.append(adapter_for(target)[0])
    bases = [base for maker in makers for base in getattr(maker, "__mro__", (maker,))]
    return {name for base in bases if callable(base) for name in signature(base).parameters}

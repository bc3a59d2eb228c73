"""The argument parser: errors of one line that suggest the nearest name, and types of arguments."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

__all__ = [
    "UNUSABLE",
    "Parser",
    "above_zero",
    "at_least_one",
    "did_you_mean",
    "key_and_value",
    "unknown",
]

UNUSABLE = 2
"""Exit code of a command that cannot be run."""


class Parser(argparse.ArgumentParser):
    """``ArgumentParser`` without abbreviations, whose errors are one line with a suggestion."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments; an error names the first that is not known."""
        found, unknown = super().parse_known_args(args, namespace)
        if not unknown:
            return found, unknown
        wrong = next((text for text in unknown if text.startswith("-")), unknown[0])
        option = wrong.partition("=")[0]
        if not option.startswith("-"):
            self.error(f"one argument too many: {wrong!r}")
        self.error(f"no option {option}{did_you_mean(option, self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, unknown(value, list(action.choices)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known name that is most like ``name``, if one is."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]}?" if near else ""


def unknown(name: str, known: Sequence[str]) -> str:
    """The error message of a name that is not one of ``known``."""
    return f"unknown {name!r}" + (did_you_mean(name, known) or f": one of {', '.join(known)}")


def at_least_one(text: str) -> int:
    """A positive integer."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def above_zero(text: str) -> float:
    """A positive, finite number."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def key_and_value(text: str) -> tuple[str, Any]:
    """``KEY=VALUE``; the value is JSON (``false``, ``0.5``, ``[1, 2]``), anything else is text."""
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as is_slippery=false")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, {"True": True, "False": False, "None": None}.get(value, value)

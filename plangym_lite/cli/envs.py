"""``plangym-lite envs``: the available environments by family, and those an extra would add."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym

from plangym_lite.cli.output import Output, add_output, check_paths
from plangym_lite.envs.gymnasium.families import FAMILIES, PROVIDERS, Family, register_ids_of
from plangym_lite.registry import module_of

__all__ = [
    "add_parser",
    "complete_ids",
    "describe",
    "envs",
    "installed_families",
    "registered_specs",
]


STUBS = ("gymnasium.envs", "gymnasium.envs.registration")
"""Modules of ids that only raise an error when they are made."""


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("envs", help="list the environments that can be made")
    text = "only ids and families with all of these texts in them"
    parser.add_argument("words", metavar="TEXT", nargs="*", help=text)
    add_output(parser, quiet="only the ids, one a line")
    parser.set_defaults(run=envs)


def envs(args: argparse.Namespace) -> int:
    """Print the list, or only ids that can be made; return 1 if nothing has all words in it."""
    words, output = args.words, Output(args.json)
    check_paths(output.json)
    families = [chosen for family in installed_families() if (chosen := select(family, words))]
    if not families:
        print(f"no environment and no family has {' '.join(words)!r} in it", file=sys.stderr)
    for family in families:
        text = "\n".join(family.ids * family.can_be_made) if args.quiet else describe(family)
        if text:
            output.say(text)
    keys = ("title", "ids", "can_be_made", "extra")
    output.write([{key: getattr(family, key) for key in keys} for family in families])
    return 0 if families else 1


def select(family: Family, words: Sequence[str]) -> Family | None:
    """The family with the ids that have all words in them or in the title, if there are any."""
    texts = [(name, f"{family.title} {name}".lower()) for name in family.ids]
    ids = [name for name, text in texts if all(word.lower() in text for word in words)]
    return replace(family, ids=ids) if ids or not words else None


def installed_families() -> list[Family]:
    """The families with all ids; dm_control tasks under their own names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about displays and versions
        families = {kind.title: kind for kind in sort_into_families(registered_specs())}
        for title in ("stable-retro", "PettingZoo"):
            if (module := module_of(title)) is not None:
                families[title].ids = module.games()
        if (suite := module_of("dm_control")) is not None:
            family = families["dm_control"]
            others = [name for name in family.ids if suite.task_of(name) is None]
            family.ids = [*sorted(suite.TASKS), *others]
    return list(families.values())


def complete_ids(prefix: str, action: Any, parser: Any, parsed_args: Any) -> list[str]:
    """The ids that begin with ``prefix``, for argcomplete; not of shimmy, which loads slowly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for provider in PROVIDERS:
            if provider != "shimmy":
                register_ids_of(provider)
    families = sort_into_families(gym.registry.values())
    return [name for family in families for name in family.ids if name.startswith(prefix)]


def registered_specs() -> list[Any]:
    """All specs in Gymnasium's registry after importing the installed providers."""
    for provider in PROVIDERS:
        register_ids_of(provider)
    return list(gym.registry.values())


def sort_into_families(specs: Iterable[Any]) -> list[Family]:
    """The families with the ids of ``specs``; of Atari only ``ALE/*-v5``."""
    families = [replace(kind, ids=[]) for kind in FAMILIES]
    for spec in specs:
        module = spec.namespace if spec.namespace == "dm_control" else _module_of(spec.entry_point)
        if module in STUBS:
            continue
        family = next(kind for kind in families if module.startswith(kind.modules))
        if family.title != "Atari" or (spec.id.startswith("ALE/") and spec.id.endswith("-v5")):
            family.ids.append(spec.id)
    for family in families:
        family.ids.sort()
    return families


def describe(family: Family) -> str:
    """Title, count and ids, or the extra to install; empty if there are none."""
    count, install = len(family.ids), family.install
    if family.can_be_made:
        title = f"{family.title}: {count}"
        if family.draws_with and importlib.util.find_spec(family.draws_with) is None:
            title += f" (pictures: {install})"
    else:
        title = f"{family.title}: {install} adds {count or 'them'}"
    if family.extra is None and not (count and family.can_be_made):
        return ""
    lines = textwrap.wrap("  ".join(family.ids), 96, break_on_hyphens=False, break_long_words=False)
    return "\n  ".join([title, *lines]) + "\n"


def _module_of(entry_point: Any) -> str:
    if isinstance(entry_point, str):
        return entry_point.partition(":")[0]
    return getattr(entry_point, "__module__", "")

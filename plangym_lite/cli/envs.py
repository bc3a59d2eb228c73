"""``plangym-lite envs``: the available environments by family, and those an extra would add."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import gymnasium as gym

from plangym_lite.envs.gymnasium.providers import PROVIDERS, register_ids_of

__all__ = [
    "FAMILIES",
    "Family",
    "add_parser",
    "describe",
    "envs",
    "installed_families",
    "registered_specs",
    "sort_into_families",
]


@dataclass
class Family:
    """A family of environments."""

    title: str
    modules: tuple[str, ...]  # prefixes of the modules of their classes
    extra: str | None = None  # the extra of plangym-lite for them
    needs: str | None = None  # the module required to make them
    draws_with: str | None = None  # the module required to render them
    ids: list[str] = field(default_factory=list)

    @property
    def can_be_made(self) -> bool:
        """Whether the required module is installed."""
        return self.needs is None or find_spec(self.needs) is not None


FAMILIES = (
    Family(
        "Classic control", ("gymnasium.envs.classic_control",), "classic-control", None, "pygame"
    ),
    Family("Toy text", ("gymnasium.envs.toy_text",), "classic-control", None, "pygame"),
    Family("Atari", ("ale_py",), None, "ale_py"),
    Family("MuJoCo", ("gymnasium.envs.mujoco",), "mujoco", "mujoco"),
    Family("dm_control", ("shimmy.dm_control", "dm_control"), "dm-control", "dm_control"),
    Family("Box2D", ("gymnasium.envs.box2d",), "box2d", "Box2D"),
    Family("MiniGrid and BabyAI", ("minigrid",), "minigrid", "minigrid"),
    Family("stable-retro", ("stable_retro",), "retro", "stable_retro"),
    Family("Jax versions", ("gymnasium.envs.phys2d", "gymnasium.envs.tabular"), None, "jax"),
    Family("Other", ("",)),
)
STUBS = ("gymnasium.envs", "gymnasium.envs.registration")
"""Modules of ids that only raise an error when they are made."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("envs", help="list the environments that can be made")
    parser.set_defaults(run=lambda args: envs())


def envs() -> int:
    """Print the list; return the exit code."""
    for family in installed_families():
        text = describe(family)
        if text:
            print(text)
    return 0


def installed_families() -> list[Family]:
    """The families with all ids; dm_control tasks under their own names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about displays and versions
        families = sort_into_families(registered_specs())
        if find_spec("dm_control"):
            from plangym_lite.envs.mujoco.dm_control.tasks import TASKS, task_of

            family = next(kind for kind in families if kind.title == "dm_control")
            others = [name for name in family.ids if task_of(name) is None]
            family.ids = [*sorted(TASKS), *others]
        if find_spec("stable_retro"):
            from plangym_lite.envs.retro import games

            next(kind for kind in families if kind.title == "stable-retro").ids = games()
    return families


def registered_specs() -> list[Any]:
    """All specs in Gymnasium's registry after importing the installed providers."""
    for provider in PROVIDERS:
        register_ids_of(provider)
    return list(gym.registry.values())


def sort_into_families(specs: Iterable[Any]) -> list[Family]:
    """The families with the ids of ``specs``; of Atari only ``ALE/*-v5``."""
    families = [
        Family(kind.title, kind.modules, kind.extra, kind.needs, kind.draws_with)
        for kind in FAMILIES
    ]
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
    count, install = len(family.ids), f'pip install "plangym-lite[{family.extra}]"'
    if family.can_be_made:
        title = f"{family.title}: {count}"
        if family.draws_with and find_spec(family.draws_with) is None:
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

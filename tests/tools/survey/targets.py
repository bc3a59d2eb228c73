"""What a survey looks at: every id that can be made, in a few variants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from plangym_lite.cli.envs import installed_families
from plangym_lite.cli.target import CommandError
from plangym_lite.envs.gymnasium.families import Family

__all__ = ["ALL_VARIANTS", "Target", "targets", "variants_of"]

ALL_VARIANTS = "all"
PLAIN: dict[str, dict[str, Any]] = {"plain": {}}
BLIND: dict[str, dict[str, Any]] = {"plain": {"render_mode": None}}  # drawing takes OpenGL
LIMIT: dict[str, dict[str, Any]] = {
    "time limit": {"remove_time_limit": False, "max_episode_steps": 25}
}
PICTURES: dict[str, dict[str, Any]] = {"pictures": {"obs_type": "rgb"}}
RAM, STICKY = {"obs_type": "ram"}, {"repeat_action_probability": 0.25}

VARIANTS: dict[str, tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]] = {
    "Classic control": (PLAIN, {**LIMIT, **PICTURES}),
    "Toy text": (PLAIN, {**LIMIT, **PICTURES}),
    "Atari": (
        {"ram": RAM, "ram, sticky": {**RAM, **STICKY}},
        {
            "rgb": {"obs_type": "rgb"},
            "rgb, sticky": {"obs_type": "rgb", **STICKY},
            "rgb, frame by frame": {"obs_type": "rgb", "frameskip": 1},
            "grayscale, episodic life": {"obs_type": "grayscale", "episodic_life": True},
            "ram, random frameskip": {**RAM, "frameskip": (2, 5)},
        },
    ),
    "MuJoCo": (BLIND, {"time limit": {**LIMIT["time limit"], **BLIND["plain"]}}),
    "dm_control": (
        BLIND,
        {
            "time limit": {
                "remove_time_limit": False,
                "task_kwargs": {"time_limit": 0.5},
                **BLIND["plain"],
            }
        },
    ),
    "Box2D": (PLAIN, LIMIT),
    "MiniGrid and BabyAI": (PLAIN, {**LIMIT, **PICTURES}),
    "stable-retro": (PLAIN, {"ram": RAM}),
}
"""By family: what is always checked, and what ``--variants all`` adds."""

SLOW = {"CarRacing-v3": {"depths": (0, 4), "length": 8, "reach": 10}}
"""Ids of which a shorter walk must do."""


class Target(NamedTuple):
    """One id with one set of options."""

    family: str
    name: str
    variant: str
    options: dict[str, Any]

    @property
    def walk(self) -> dict[str, Any]:
        """How far the contract goes: arguments of ``check_exact``."""
        return SLOW.get(self.name, {})


def targets(
    families: Sequence[str] = (), variants: str | None = None, sample: int | None = None
) -> list[Target]:
    """What is installed, family by family.

    Args:
        families: (beginnings of) their names; none: all of them.
        variants: ``None``: what is checked always; ``"all"``; or the name of one.
        sample: take so many ids of each family, evenly spread.

    Raises:
        CommandError: no such family, or no such variant in any of them.
    """
    chosen = [family for family in _choose(families) if family.can_be_made]
    found = [
        Target(family.title, name, variant, options)
        for family in chosen
        for name in _spread(family.ids, sample)
        for variant, options in variants_of(family.title, variants).items()
    ]
    if variants is not None and chosen and not found:
        known = {name for family in chosen for name in variants_of(family.title, ALL_VARIANTS)}
        raise CommandError(f"no variant is called {variants!r}: {', '.join(sorted(known))}")
    return found


def variants_of(family: str, variants: str | None) -> dict[str, dict[str, Any]]:
    """The options to check an id of that family with, by name."""
    always, more = VARIANTS.get(family, (PLAIN, {}))
    if variants is None:
        return always
    known = {**always, **more}
    if variants == ALL_VARIANTS:
        return known
    return {variants: known[variants]} if variants in known else {}


def _choose(names: Iterable[str]) -> list[Family]:
    families, wanted = installed_families(), [_bare(name) for name in names]
    for name in wanted:
        if not name or not any(_bare(family.title).startswith(name) for family in families):
            known = ", ".join(family.title for family in families)
            raise CommandError(f"no family is called {name!r}: {known}")
    return [
        family
        for family in families
        if not wanted or any(_bare(family.title).startswith(name) for name in wanted)
    ]


def _bare(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _spread(ids: list[str], sample: int | None) -> list[str]:
    if sample is None or sample >= len(ids):
        return ids
    return [ids[index * len(ids) // sample] for index in range(sample)]

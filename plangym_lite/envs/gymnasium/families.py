"""The families of environments: packages and extras that they need, and who registers their ids."""

from __future__ import annotations

import importlib
import importlib.util
import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from plangym_lite.errors import MissingPackageError, to_install

__all__ = [
    "FAMILIES",
    "Family",
    "PROVIDERS",
    "check_installed",
    "lacking",
    "looks_like",
    "register_ids_of",
    "render",
    "spec_of",
]

PROVIDERS = ("ale_py", "minigrid", "shimmy")
"""In the order in which they are imported."""


@dataclass
class Family:
    """A family of environments."""

    title: str
    modules: tuple[str, ...]  # prefixes of the modules of their classes
    extra: str | None = None  # the extra for them; "": the package itself; None: there is none
    needs: tuple[str, ...] = ()  # the modules required to make them
    draws_with: str | None = None  # the module required to render them
    names: str = ""  # a pattern of ids that Gymnasium does not know without these modules
    ids: list[str] = field(default_factory=list)

    @property
    def missing(self) -> str | None:
        return next((name for name in self.needs if not importlib.util.find_spec(name)), None)

    @property
    def can_be_made(self) -> bool:
        return self.missing is None

    @property
    def install(self) -> str:
        return to_install(self.extra or "")


FAMILIES = (
    Family(
        "Classic control",
        ("gymnasium.envs.classic_control",),
        "classic-control",
        draws_with="pygame",
    ),
    Family("Toy text", ("gymnasium.envs.toy_text",), "classic-control", draws_with="pygame"),
    Family(
        "Atari", ("ale_py",), "", ("ale_py",), names=r"ALE/.+|\w+(NoFrameskip|Deterministic)-v\d"
    ),
    Family("MuJoCo", ("gymnasium.envs.mujoco",), "mujoco", ("mujoco",)),
    Family(
        "dm_control",
        ("shimmy.dm_control", "dm_control"),
        "dm-control",
        ("dm_control",),
        names=r"dm_control/.+|[A-Za-z_]+-(?!v\d)[a-z_0-9]+",  # or shimmy's id, or cartpole-balance
    ),
    Family("Box2D", ("gymnasium.envs.box2d",), "box2d", ("Box2D", "pygame")),
    Family(
        "MiniGrid and BabyAI",
        ("minigrid",),
        "minigrid",
        ("minigrid", "pygame"),
        names="(MiniGrid|BabyAI)-.+",
    ),
    Family(
        "stable-retro",
        ("stable_retro",),
        "retro",
        ("stable_retro",),
        names=r"\w+-[A-Z]\w+(-v\d+)?",  # Airstriker-Genesis-v0
    ),
    Family("PettingZoo", (), "pettingzoo", ("pettingzoo",), names="pettingzoo/.+"),
    Family("Jax versions", ("gymnasium.envs.phys2d", "gymnasium.envs.tabular"), None, ("jax",)),
    Family("Other", ("",)),
)


def family_of(module: str) -> Family:
    return next(family for family in FAMILIES if module.startswith(family.modules))


def looks_like(title: str, name: str) -> bool:
    """Whether ``name`` may be of the family with that title."""
    return any(re.fullmatch(kind.names, name) for kind in FAMILIES if kind.title == title)


def lacking(name: str) -> Family | None:
    """The family whose ids look like ``name``, if a package for it is not installed."""
    family = next((kind for kind in FAMILIES if re.fullmatch(kind.names, name)), None)
    return None if family is None or family.can_be_made else family


def check_installed(name: str, module: str) -> None:
    """Raise :class:`MissingPackageError` if ``name``, a class of ``module``, lacks a package."""
    family = family_of(module)
    if family.missing and family.extra is not None:
        raise MissingPackageError(f"{name} needs {family.missing}: {family.install}")


def render(env: gym.Env) -> Any:
    """``env.render()``; a package that it lacks raises :class:`MissingPackageError`."""
    try:
        return env.render()
    except gym.error.DependencyNotInstalled as error:
        family = family_of(type(env.unwrapped).__module__)
        if family.draws_with is None:
            raise
        needed = f"images of {family.title} need {family.draws_with}: {family.install}"
        raise MissingPackageError(needed) from error


def register_ids_of(provider: str) -> None:
    """Import a package for its ids; warn if it is installed but cannot be imported."""
    if importlib.util.find_spec(provider) is None:
        return
    try:
        gym.register_envs(importlib.import_module(provider))
    except ImportError as error:  # shimmy imports packages of gymnasium[mujoco]
        warnings.warn(
            f"{provider} is installed but cannot be imported ({error}): its ids are left out",
            RuntimeWarning,
            stacklevel=2,
        )


def spec_of(name: str) -> Any:
    """Gymnasium's spec of an id, or ``None``; imports the packages that may provide it.

    ``"module:Id-v0"`` imports only that module; ``ModuleNotFoundError`` if there is none.
    """
    module, _, name = name.rpartition(":")
    if module:
        importlib.import_module(module)
    for provider in ("", *(() if module else PROVIDERS)):
        if provider:
            register_ids_of(provider)
        try:
            return gym.spec(name)
        except gym.error.Error:
            continue
    return None

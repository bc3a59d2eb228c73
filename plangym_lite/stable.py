"""Stable names for the classes in saved states.

A pickle refers to classes by module and name, so moving a file would make saved states unreadable.
Our own states refer to this module, **which must not be moved or renamed**, and to a short name
under which a class is registered.

States also carry the version of their layout. A class reads the versions that it knows and raises
an error for others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from plangym_lite.errors import InvalidStateError

__all__ = ["layout_versions", "rebuild", "register", "stable_reduce", "states_name"]

HOMES = {
    "Root": "plangym_lite.envs.gymnasium.replay",
    "Trail": "plangym_lite.envs.gymnasium.replay",
}
"""By name, the module that registers it when imported. Change these when a file moves."""

_known: dict[str, tuple[Callable[..., Any], int]] = {}


def states_name(kind: type) -> str:
    """The name of a class in fingerprints: its own ``STATES_NAME``, if it defines one.

    All other classes, subclasses of ours too, are named by module and qualified name: their states
    may differ.
    """
    return vars(kind).get("STATES_NAME") or f"{kind.__module__}.{kind.__qualname__}"


def layout_versions(kind: type) -> str:
    """The versions of how states are laid out, ``LAYOUT`` of each base class that has one."""
    return ".".join(str(vars(base)["LAYOUT"]) for base in kind.__mro__ if "LAYOUT" in vars(base))


def register(name: str, make: Callable[..., Any], version: int = 1) -> None:
    """Let ``make(*fields)`` rebuild what pickles call ``name``; ``version`` is of its layout.

    Raises:
        ValueError: the name is registered for another class.
    """
    before = _known.get(name)
    if before is not None and _path(before[0]) != _path(make):
        raise ValueError(f"{name!r} is the stable name of {before[0]!r}: {make!r} needs another")
    _known[name] = make, version


def stable_reduce(name: str, *fields: Any) -> tuple[Any, ...]:
    """The result of ``__reduce__`` for an object registered as ``name``; ``fields`` rebuild it."""
    return rebuild, (name, _find(name)[1], *fields)


def rebuild(name: str, version: int, *fields: Any) -> Any:
    """The object that a pickle holds. Pickles refer to this function: do not rename it.

    Raises:
        InvalidStateError: this version of plangym_lite does not know the name or the layout.
    """
    make, present = _find(name)
    if version != present:
        raise InvalidStateError(
            f"a saved {name} has layout {version}, and this version of plangym_lite reads layout "
            f"{present}"
        )
    return make(*fields)


def _find(name: str) -> tuple[Callable[..., Any], int]:
    if name not in _known and name in HOMES:
        importlib.import_module(HOMES[name])
    if name not in _known:
        raise InvalidStateError(f"a saved state holds a {name!r}, which this version does not know")
    return _known[name]


def _path(thing: Any) -> tuple[Any, Any]:
    """Module and name, so that a class that was reloaded counts as the same one."""
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", thing)

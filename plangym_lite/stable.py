"""Names in saved states that never move.

A pickle names what it needs by module and name, and so would make every saved state unreadable
whenever a file moves. What our own states need goes by this module, **which never moves and is
never renamed**, and by a short name: a class registers under it, wherever it may live.

States carry the version of their layout beside it. A class reads the versions that it knows, and
refuses others by name; so nothing is ever misread.
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
"""Where to import what was not registered yet, by name. Change these when a file moves."""

_known: dict[str, tuple[Callable[..., Any], int]] = {}


def states_name(kind: type) -> str:
    """What fingerprints call a class: its ``STATES_NAME``, if it has one of its own.

    Classes of others go by module and name, as do subclasses of ours: their states may be others.
    """
    return vars(kind).get("STATES_NAME") or f"{kind.__module__}.{kind.__qualname__}"


def layout_versions(kind: type) -> str:
    """The versions of how states are laid out, ``LAYOUT`` of each base class that has one."""
    return ".".join(str(vars(base)["LAYOUT"]) for base in kind.__mro__ if "LAYOUT" in vars(base))


def register(name: str, make: Callable[..., Any], version: int = 1) -> None:
    """Let ``make(*fields)`` rebuild what pickles call ``name``, in the present layout ``version``.

    Raises:
        ValueError: that name is another's.
    """
    before = _known.get(name)
    if before is not None and _path(before[0]) != _path(make):
        raise ValueError(f"{name!r} is the stable name of {before[0]!r}: {make!r} needs another")
    _known[name] = make, version


def stable_reduce(name: str, *fields: Any) -> tuple[Any, ...]:
    """What ``__reduce__`` of an object registered under ``name`` returns: ``fields`` rebuild it."""
    return rebuild, (name, _find(name)[1], *fields)


def rebuild(name: str, version: int, *fields: Any) -> Any:
    """The object that a pickle holds; pickles call it by this very name.

    Raises:
        InvalidStateError: this version of plangym_lite knows no such name or no such layout.
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
    """A class that was reloaded is the same one."""
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", thing)

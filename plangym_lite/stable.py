"""Stable names for the classes in saved states, and what goes into fingerprints.

A pickle refers to classes by module and name, so moving a file would make saved states unreadable.
Our own states refer to this module, **which must not be moved or renamed**, and to a short name
under which a class is registered.

States also carry the version of their layout. A class reads the versions that it knows and raises
an error for others.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = [
    "digest_of",
    "layout_versions",
    "rebuild",
    "register",
    "stable_reduce",
    "states_name",
    "versions_of",
]

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

    ``ValueError``: the name is registered for another class.
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

    ``InvalidStateError``: this version of plangym_lite does not know the name or the layout.
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


ENGINES = ("ale_py", "mujoco", "Box2D")
"""Simulators that Gymnasium's environments use; their versions are included."""


def versions_of(base: Any) -> list[str]:
    """``package=version`` of an environment's class and of its simulator."""
    found: dict[str, str] = {}
    for kind in type(base).__mro__:
        module = sys.modules.get(kind.__module__)
        top = kind.__module__.partition(".")[0]
        for name in (top, *(name for name in ENGINES if name in vars(module or object()))):
            version = getattr(sys.modules.get(name), "__version__", None)
            if version is not None:
                found[name] = str(version)
    return [f"{name}={version}" for name, version in sorted(found.items())]


def digest_of(options: Any) -> str:
    """Eight characters, a digest of the options."""
    return hashlib.sha256(_spelled(options).encode()).hexdigest()[:8]


def _spelled(value: Any) -> str:
    """A value as text, without addresses of objects."""
    if isinstance(value, dict):
        pairs = sorted((str(key), _spelled(part)) for key, part in value.items())
        return f"{{{', '.join(f'{key}: {part}' for key, part in pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_spelled(part) for part in value)}]"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, (str, bytes, int, float, type(None), np.generic)):
        return repr(value)
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    module = getattr(value, "__module__", None) or ""
    if module.partition(".")[0] == "plangym_lite":
        module = "plangym_lite"  # so that ours may be moved
    return f"{module}.{name}"

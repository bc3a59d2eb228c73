"""Keeps results of an environment, to check that they do not change later."""

from __future__ import annotations

import copy
import pickle
import zlib
from typing import Any

import numpy as np

from plangym_lite.nested import Difference, differences

__all__ = ["NUMBERS", "Keeper", "copy_of"]

NUMBERS = 0
"""The seed of the global generators for each run of the walk."""

LARGE = 1 << 16  # bytes
ATOMS = (int, float, complex, str, bytes, bool, type(None), np.generic)


def copy_of(
    value: Any, large: list[np.ndarray] | None = None, memo: dict[int, Any] | None = None
) -> Any:
    """A copy that shares no array, list or dict with ``value``, at any depth.

    Objects that cannot be copied are returned as they are. So are large arrays, which are added to
    the list ``large`` if it is given. ``memo`` has the copies of the enclosing dicts and lists.
    """
    if isinstance(value, ATOMS):
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        if large is None or value.nbytes < LARGE:
            return value.copy()
        large.append(value)
        return value
    memo = {} if memo is None else memo
    if id(value) in memo:  # a value may contain itself
        return memo[id(value)]
    if type(value) is dict:
        made = memo[id(value)] = {}
        made.update((key, copy_of(part, large, memo)) for key, part in value.items())
        return made
    if type(value) is list:
        parts = memo[id(value)] = []
        parts.extend(copy_of(part, large, memo) for part in value)
        return parts
    if type(value) is tuple:
        return tuple(copy_of(part, large, memo) for part in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(copy_of(part, large, memo) for part in value))
    try:
        return copy.deepcopy(value)
    except Exception:  # a foreign __deepcopy__ or __reduce__ may raise anything
        return value


class Keeper:
    """Keeps returned values, with a copy made on arrival.

    For states and large arrays the copy is a checksum.
    """

    def __init__(self) -> None:
        self._held: list[tuple[str, str, Any, Any]] = []
        self._summed: list[tuple[str, str, Any, int]] = []

    def keep(self, where: str, what: str, value: Any) -> Any:
        """Keep ``value``, an ``"obs"`` or an ``"info"``; return the copy."""
        if isinstance(value, ATOMS):
            return value
        large: list[np.ndarray] = []
        kept = copy_of(value, large)
        if kept is not value:
            self._held.append((where, what, value, kept))
        for array in large:
            self.sum(where, what, array)
        return kept

    def sum(self, where: str, what: str, value: Any) -> None:
        """Keep an array or a state with a checksum."""
        checksum = _checksum(value)
        if checksum is not None:
            self._summed.append((where, what, value, checksum))

    def check(self) -> None:
        """Raise :class:`Difference` if a kept value has changed."""
        for where, what, value, kept in self._held:
            for path, text in differences(kept, value, what):
                # a value that differs from its own copy shows nothing
                if path not in dict(differences(copy_of(value), value, what)):
                    raise Difference(f"a held {what} changed: {where}: {path}: {text}")
        for where, what, value, checksum in self._summed:
            if _checksum(value) != checksum:
                raise Difference(f"a held {what} changed: {where}")


def _checksum(value: Any) -> int | None:
    """A checksum of the value; ``None`` if it has none."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    try:
        return zlib.crc32(pickle.dumps(value))
    except Exception:  # a foreign __reduce__ may raise anything
        return None

"""Holding on to what an environment answers, to see that it does not change afterwards."""

from __future__ import annotations

import copy
import pickle
import zlib
from typing import Any

import numpy as np

from plangym_lite.nested import Difference, differences

__all__ = ["NUMBERS", "Keeper", "copy_of"]

NUMBERS = 0
"""The seed of the generators that all of Python shares, for each run of the walk."""

LARGE = 1 << 16  # bytes
ATOMS = (int, float, complex, str, bytes, bool, type(None), np.generic)


def copy_of(
    value: Any, large: list[np.ndarray] | None = None, memo: dict[int, Any] | None = None
) -> Any:
    """A copy that shares no array, list or dict with ``value``, at any depth.

    What cannot be copied is the thing itself. So are large arrays if there is a list for them.
    ``memo`` has the copies of the dicts and lists that the value is in.
    """
    if isinstance(value, ATOMS):
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        if large is None or value.nbytes < LARGE:
            return value.copy()
        large.append(value)
        return value
    memo = {} if memo is None else memo
    if id(value) in memo:  # a value may hold itself
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
    """Holds what came back by reference, and beside it a copy of the moment when it came.

    Of states and of large arrays it is a checksum.
    """

    def __init__(self) -> None:
        self._held: list[tuple[str, str, Any, Any]] = []
        self._summed: list[tuple[str, str, Any, int]] = []

    def keep(self, where: str, what: str, value: Any) -> Any:
        """Hold ``value``, an ``"obs"`` or an ``"info"``; return the copy."""
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
        """Hold an array or a state, of which only a checksum is kept."""
        checksum = _checksum(value)
        if checksum is not None:
            self._summed.append((where, what, value, checksum))

    def check(self) -> None:
        """Raise :class:`Difference` if anything that is held has changed."""
        for where, what, value, kept in self._held:
            for path, text in differences(kept, value, what):
                # what does not even equal its own copy tells nothing
                if path not in dict(differences(copy_of(value), value, what)):
                    raise Difference(f"a held {what} changed: {where}: {path}: {text}")
        for where, what, value, checksum in self._summed:
            if _checksum(value) != checksum:
                raise Difference(f"a held {what} changed: {where}")


def _checksum(value: Any) -> int | None:
    """A number that changes with the value; ``None``: nothing can be told of it."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    try:
        return zlib.crc32(pickle.dumps(value))
    except Exception:  # a foreign __reduce__ may raise anything
        return None

"""Holding on to what an environment answers, to see that it does not change afterwards."""

from __future__ import annotations

import copy
import pickle
import random
import zlib
from types import TracebackType
from typing import Any

import numpy as np

from plangym_lite.testing.comparing import Difference, differences

__all__ = ["Keeper", "OwnNumbers", "copy_of"]

ATOMS = (int, float, complex, str, bytes, bool, type(None), np.generic)


def copy_of(value: Any) -> Any:
    """A copy that shares no array, list or dict with ``value``, at any depth.

    What cannot be copied is the thing itself.
    """
    if isinstance(value, ATOMS):
        return value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.copy()
    if type(value) is dict:
        return {key: copy_of(part) for key, part in value.items()}
    if type(value) is list:
        return [copy_of(part) for part in value]
    if type(value) is tuple:
        return tuple(copy_of(part) for part in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(copy_of(part) for part in value))
    try:
        return copy.deepcopy(value)
    except Exception:  # a foreign __deepcopy__ or __reduce__ may raise anything
        return value


class Keeper:
    """Holds what came back by reference, and beside it a copy of the moment when it came."""

    def __init__(self) -> None:
        self._held: list[tuple[str, str, Any, Any]] = []
        self._states: list[tuple[str, Any, int]] = []

    def keep(self, where: str, what: str, value: Any) -> Any:
        """Hold ``value``, an ``"obs"`` or an ``"info"``; return the copy."""
        kept = copy_of(value)
        if not isinstance(value, ATOMS):
            self._held.append((where, what, value, kept))
        return kept

    def keep_state(self, where: str, state: Any) -> None:
        """Hold a state, of which only a checksum is kept."""
        checksum = _checksum(state)
        if checksum is not None:
            self._states.append((where, state, checksum))

    def check(self) -> None:
        """Raise :class:`Difference` if anything that is held has changed."""
        for where, what, value, kept in self._held:
            for path, text in differences(kept, value, what):
                # what does not even equal its own copy tells nothing
                if path not in dict(differences(copy_of(value), value, what)):
                    raise Difference(f"a held {what} changed: {where}: {path}: {text}")
        for where, state, checksum in self._states:
            if _checksum(state) != checksum:
                raise Difference(f"a held state changed: {where}")


def _checksum(state: Any) -> int | None:
    """A number that changes with the state; ``None``: nothing can be told of it."""
    if isinstance(state, np.ndarray) and state.dtype != object:
        return zlib.crc32(np.ascontiguousarray(state).reshape(-1).view(np.uint8).data)
    try:
        return zlib.crc32(pickle.dumps(state))
    except Exception:  # a foreign __reduce__ may raise anything
        return None


class OwnNumbers:
    """While entered, Python's and numpy's global generators run from a seed of their own.

    Afterwards they are where the caller left them; entered again, they run on.
    """

    def __init__(self, seed: int = 0) -> None:
        self._states: Any = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()

    def __enter__(self) -> None:
        self._swap()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._swap()

    def _swap(self) -> None:
        now = random.getstate(), np.random.get_state()
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])
        self._states = now

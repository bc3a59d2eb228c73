"""What an environment keeps outside of its objects: class attributes, globals, function defaults.

No snapshot holds these. They are found by reading the code of the classes of an environment and of
its objects, and the functions, classes and modules that this code names, except those of Python and
of large libraries.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym

from plangym_lite.envs.verify.reading import UNREAD, Reader

__all__ = ["Outside"]

MISSING = object()
Path = tuple[Any, ...]


class Outside:
    """Class attributes and globals of an environment, and which of them belong to its state.

    Those do that an episode changes and that ``reset`` with the same seed puts back. Others only
    count or collect. Databases, sockets and processes cannot be compared, and count as state.
    """

    def __init__(self, layers: Sequence[gym.Env]) -> None:
        self._kinds = dict.fromkeys(kind for layer in layers for kind in type(layer).__mro__)
        values = [value for layer in layers for value in vars(layer).values()]
        self._functions = [value for value in values if isinstance(value, types.FunctionType)]
        self._first: dict[str, Any] = {}
        self._opaque: set[str] = set()
        self.changed: dict[Path, Any] = {}  # by the path of a value, what it was at first

    def look(self, kinds: Iterable[Any]) -> None:
        """Compare with the first look, just after a reset; ``kinds``: classes of objects."""
        if not self._kinds:
            return
        self._kinds.update(dict.fromkeys(kinds))
        for name, present in self._read().items():
            first = self._first.setdefault(name, present)
            self.changed.update(_differing(first, present, (name,)))

    def put_back(self) -> list[str]:
        """What has changed between looks, and is now, after another reset, as at the first."""
        present: Any = self._read()
        back = {
            path[0]
            for path, before in self.changed.items()
            if not any(_differing(before, _at(present, path), path))
        }
        return sorted(back)

    @property
    def opaque(self) -> list[str]:
        """Names of what cannot be compared."""
        return sorted(self._opaque)

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(Exception):  # others' code, as in ``__repr__``, may raise anything
            reader = Reader(self._kinds, self._functions)
            self._opaque |= reader.opaque
            return reader.found
        return {}


def _differing(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The paths at which two contents differ, and what was there before."""
    if before is after or before is UNREAD or after is UNREAD:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            parts = before.get(key, MISSING), after.get(key, MISSING)
            yield from _differing(*parts, (*path, key))
    elif isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        for number, parts in enumerate(zip(before, after, strict=True)):
            yield from _differing(*parts, (*path, number))
    elif type(before) is not type(after) or before != after:
        yield path, before


def _at(content: Any, path: Path) -> Any:
    for key in path:
        is_there = isinstance(content, dict) or (isinstance(content, tuple) and key < len(content))
        if not is_there or (isinstance(content, dict) and key not in content):
            return MISSING
        content = content[key]
    return content

"""What an environment keeps outside of its objects: class attributes, globals, function defaults.

No snapshot holds these. They are found by reading the code of an environment, that of its classes
and of functions among its attributes, and the functions and classes that this code names, except
those of Python and of large libraries.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import functools
import itertools
import random
import sys
import types
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["Outside"]

LIBRARIES = frozenset(
    [
        "gymnasium",
        "numpy",
        "scipy",
        "torch",
        "jax",
        "jaxlib",
        "tensorflow",
        "mujoco",
        "dm_control",
        "dm_env",
        "pygame",
        "cv2",
        "PIL",
        "matplotlib",
        "ale_py",
        "Box2D",
        "pymunk",
        "pybullet",
        "minigrid",
        "shimmy",
        "plangym_lite",
        "pandas",
        "networkx",
        "numba",
        "typing_extensions",
        "stable_retro",
        "pettingzoo",
    ]
)
MOST = 5_000  # values that are compared; more are tables, which steps read
DEPTH = 4
PLAIN = (int, float, complex, str, bytes, bool, type(None))
MISSING, UNREAD = object(), object()
CACHED = type(functools.lru_cache(len))
FUNCTIONS = types.FunctionType, types.MethodType, functools.partial, CACHED


class Outside:
    """Class attributes and globals of an environment, and which of them belong to its state.

    Those do that an episode changes and that ``reset`` with the same seed puts back. Others only
    count or collect.
    """

    def __init__(self, layers: Sequence[gym.Env]) -> None:
        values = [value for layer in layers for value in vars(layer).values()]
        self._functions = [value for value in values if isinstance(value, FUNCTIONS)]
        self._kinds = [kind for layer in layers for kind in type(layer).__mro__ if _is_own(kind)]
        self._first: dict[str, Any] = {}
        self.changed: set[str] = set()

    def look(self) -> None:
        """Compare with the first look, just after a reset."""
        present = self._read()
        self._first = self._first or present
        self.changed.update(self._differing(present))

    def put_back(self) -> list[str]:
        """What has changed between looks, and is now, after another reset, as at the first."""
        return sorted(self.changed.difference(self._differing(self._read())))

    def _differing(self, present: dict[str, Any]) -> list[str]:
        return [
            name
            for name, before in self._first.items()
            if _differs(before, present.get(name, MISSING))
        ]

    def _read(self) -> dict[str, Any]:
        reader = _Reader()
        with contextlib.suppress(Exception):  # others' code, as in ``__repr__``, may raise anything
            for kind in self._kinds:
                reader.read(kind)
            for function in self._functions:
                reader.read(function, is_saved=True)
        return reader.found


class _Reader:
    """Collects values by name; each class and function is read once."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._seen: set[int] = set()
        self._left = MOST

    def read(self, value: Any, name: str = "", is_saved: bool = False) -> None:
        """Read a class or function and what it names, or else the value itself, if it has a name.

        ``is_saved``: it is part of the snapshot, and so are the variables of a local function.
        """
        value = value.func if isinstance(value, functools.partial) else value
        if isinstance(value, (staticmethod, classmethod, types.MethodType)):
            value = value.__func__
        value = value.fget if isinstance(value, property) and value.fget else value
        value = value.__wrapped__ if isinstance(value, CACHED) else value
        if isinstance(value, type):
            self._read_class(value)
        elif isinstance(value, types.FunctionType):
            self._read_function(value, is_saved and "<" in value.__qualname__)
        elif name and not isinstance(value, (types.ModuleType, gym.Space, property)):
            self.found[name] = self._content(value, DEPTH)

    def _read_class(self, kind: type) -> None:
        if id(kind) in self._seen or not _is_own(kind):
            return
        self._seen.add(id(kind))
        for base in kind.__bases__:
            self.read(base)
        for name, value in list(vars(kind).items()):
            if not name.startswith("__") and name != "_abc_impl":
                self.read(value, f"the class attribute {kind.__qualname__}.{name}")
        for member in kind if issubclass(kind, enum.Enum) else ():
            self.found[f"{kind.__qualname__}.{member.name}"] = self._content(vars(member), DEPTH)

    def _read_function(self, function: types.FunctionType, is_saved: bool) -> None:
        if id(function) in self._seen or not _is_own(function):
            return
        self._seen.add(id(function))
        where = f"{function.__module__}.{function.__qualname__}"
        kept = function.__defaults__, function.__kwdefaults__, vars(function)
        if any(kept) and not is_saved:
            self.found[f"defaults or attributes of {where}"] = self._content(kept, DEPTH)
        for cell_name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                name = "" if is_saved else f"the variable {cell_name} of {where}"
                self.read(cell.cell_contents, name, is_saved)
            except ValueError:  # an empty cell
                continue
        known = function.__globals__
        for name in _names_in(function.__code__):
            if name in known:
                self.read(known[name], f"the global {name} of {function.__module__}")

    def _content(self, value: Any, depth: int) -> Any:
        """A value to compare: numbers, texts, nested containers of them; a type for others."""
        self._left -= 1
        if self._left < 0 or depth == 0:
            return UNREAD
        if isinstance(value, PLAIN):
            return value
        if isinstance(value, np.ndarray):
            return UNREAD if value.nbytes > 1 << 16 or value.dtype.hasobject else value.tobytes()
        if isinstance(value, (list, tuple, collections.deque)):
            return tuple(self._content(part, depth - 1) for part in value)
        if isinstance(value, (dict, types.MappingProxyType)):
            return {_key(key): self._content(part, depth - 1) for key, part in value.items()}
        if isinstance(value, (set, frozenset)):
            return dict.fromkeys(map(_key, value))
        if isinstance(value, (itertools.count, bytearray)):
            return repr(value)
        if isinstance(value, (random.Random, np.random.RandomState, np.random.Generator)):
            return _numbers(value)
        if _is_own(type(value)) and not isinstance(value, gym.Env):
            return self._content(getattr(value, "__dict__", None), depth - 1)
        return type(value)


def _numbers(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    name = "getstate" if isinstance(generator, random.Random) else "get_state"
    return "" if type(generator) is random.SystemRandom else repr(getattr(generator, name)())


def _key(key: Any) -> Any:
    return key if isinstance(key, PLAIN) else repr(key) if isinstance(key, tuple) else id(key)


def _differs(before: Any, after: Any) -> bool:
    """Whether a value has changed. Dicts and sets that only grow are caches."""
    if isinstance(before, dict) and isinstance(after, dict):
        return any(_differs(part, after.get(key, MISSING)) for key, part in before.items())
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        return any(map(_differs, before, after))
    if before is after or UNREAD in (before, after):
        return False
    return type(before) is not type(after) or bool(before != after)


@functools.cache
def _names_in(code: types.CodeType) -> tuple[str, ...]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return (*code.co_names, *(name for part in inner for name in _names_in(part)))


def _is_own(made: Any) -> bool:
    """Whether a class or function is of the user's code or of a package of environments."""
    top = str(getattr(made, "__module__", "")).partition(".")[0]
    return top == "__main__" or (top not in LIBRARIES and top not in sys.stdlib_module_names)

"""Reads the class attributes and globals that the code of some classes names, to compare them."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import enum
import functools
import itertools
import logging
import random
import re
import sys
import types
from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

from plangym_lite.envs.snapshot.kinds import slots_of

__all__ = ["UNREAD", "Reader"]

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
MOST, MOST_OF_ONE = 10_000, 4_000  # values that are read; more are tables, which steps read
LARGEST = 1 << 20  # bytes of an array
DEPTH = 12
PLAIN = (int, float, complex, str, bytes, bool, type(None))
PLAIN_TYPES = frozenset(PLAIN)
FIXED = (types.ModuleType, gym.Space, gym.Env, re.Pattern, logging.Logger, logging.Handler)
SEQUENCES = (list, tuple, collections.deque)
RANDOM = (random.Random, np.random.RandomState, np.random.Generator)
OPAQUE = frozenset(("sqlite3", "_socket", "socket", "subprocess", "multiprocessing"))
UNREAD = object()
CACHED = type(functools.lru_cache(len))


class Reader:
    """Collects values by name; each class, function and object is read once.

    Attributes:
        found: what can be compared of each value: numbers, texts, tuples and dicts of them.
        opaque: names of databases, sockets and processes.
    """

    def __init__(self, kinds: Iterable[Any], saved: Iterable[Any] = ()) -> None:
        self.found: dict[str, Any] = {}
        self.opaque: set[str] = set()
        self._seen: dict[int, Any] = {}  # by id; kept alive, so that no id is used again
        self._todo = list(kinds)
        self._left, self._left_of_one = MOST, 0
        for function in filter(_is_own, saved):  # a snapshot has their variables
            names = _names_in(function.__code__)
            self._read_globals(function.__globals__, names, function.__module__)
        while self._todo:
            made = self._todo.pop()
            if id(made) not in self._seen and _is_own(made):
                self._seen[id(made)] = made
                (self._read_class if isinstance(made, type) else self._read_function)(made)

    def _read_class(self, kind: type) -> None:
        self._todo += kind.__bases__
        for name, value in list(vars(kind).items()):
            if not name.startswith("__") and name != "_abc_impl":
                self._read(value, f"the class attribute {kind.__qualname__}.{name}")
        for member in kind if issubclass(kind, enum.Enum) else ():
            self._read(vars(member), f"{kind.__qualname__}.{member.name}")

    def _read_function(self, function: types.FunctionType) -> None:
        where = f"{function.__module__}.{function.__qualname__}"
        kept = function.__defaults__, function.__kwdefaults__, vars(function)
        if any(kept):
            self._read(kept, f"defaults or attributes of {where}")
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # an empty cell
                self._read(cell.cell_contents, f"the variable {name} of {where}")
        self._read_globals(function.__globals__, _names_in(code), function.__module__)

    def _read_globals(self, known: dict[str, Any], names: tuple[str, ...], module: str) -> None:
        """Read the globals of these names, also those of modules among them."""
        for name in names:
            value = known.get(name, sys.modules.get(name))
            if not isinstance(value, types.ModuleType):
                if name in known:
                    self._read(value, f"the global {name} of {module}")
            elif id(value) not in self._seen and _is_own(value):
                self._seen[id(value)] = value
                self._read_globals(vars(value), names, value.__name__)
                del self._seen[id(value)]  # other functions name other globals

    def _read(self, value: Any, name: str) -> None:
        if name in self.found:
            return
        self._left_of_one = MOST_OF_ONE
        self.found[name] = self._content(value, DEPTH)
        if type(value).__module__.partition(".")[0] in OPAQUE:
            self.opaque.add(name)

    def _content(self, value: Any, depth: int) -> Any:
        """What can be compared of a value."""
        self._left -= 1
        self._left_of_one -= 1
        if isinstance(value, PLAIN):
            return value
        if type(value) in (tuple, list) and PLAIN_TYPES.issuperset(map(type, value)):
            self._left_of_one -= len(value)
            return tuple(value)
        if isinstance(value, np.generic):
            return value.tobytes()
        if isinstance(value, FIXED):
            return id(value)
        if isinstance(value, (type, types.FunctionType)):
            self._todo.append(value)
            return id(value)
        if isinstance(value, (staticmethod, classmethod)):
            return self._content(value.__func__, depth)
        if isinstance(value, CACHED):
            self._todo.append(value.__wrapped__)
            return tuple(value.cache_info())
        if id(value) in self._seen or min(self._left, self._left_of_one, depth) < 0:
            return UNREAD
        self._seen[id(value)] = value
        return self._parts(value, depth - 1)

    def _parts(self, value: Any, depth: int) -> Any:
        if isinstance(value, SEQUENCES):
            many = len(value) > self._left_of_one
            return UNREAD if many else tuple(self._content(part, depth) for part in value)
        if isinstance(value, (dict, types.MappingProxyType)):
            many = len(value) > self._left_of_one
            pairs = () if many else list(value.items())
            return UNREAD if many else {_key(key): self._content(v, depth) for key, v in pairs}
        if isinstance(value, (set, frozenset)):
            return dict.fromkeys(map(_key, value))
        if isinstance(value, property):
            return self._content((value.fget, value.fset), depth)
        if isinstance(value, functools.cached_property):
            return self._content(value.func, depth)
        if isinstance(value, types.MethodType):
            return self._content((value.__func__, value.__self__), depth)
        if isinstance(value, RANDOM):
            return _numbers(value)
        if isinstance(value, types.GeneratorType):
            frame = value.gi_frame
            return frame and (frame.f_lasti, self._content(dict(frame.f_locals), depth))
        if isinstance(value, contextvars.ContextVar):
            return self._content(value.get(None), depth)
        if isinstance(value, itertools.count):
            return repr(value)
        return self._of_object(value, depth)

    def _of_object(self, value: Any, depth: int) -> Any:
        kind = type(value)
        with contextlib.suppress(TypeError, ValueError, BufferError):  # arrays of any kind
            view = memoryview(value)
            return UNREAD if view.nbytes > LARGEST or view.format == "O" else view.tobytes()
        if kind.__module__.partition(".")[0] in LIBRARIES:
            return kind
        self._todo.append(kind)
        slots = {name: getattr(value, name, None) for name in slots_of(kind)}
        attributes = getattr(value, "__dict__", None)
        if slots or attributes:
            return kind, self._content({**slots, **(attributes or {})}, depth)
        if _is_own(kind):
            return kind
        with contextlib.suppress(Exception):  # what cannot be pickled
            return self._content(value.__reduce_ex__(4), depth)
        return kind


def _numbers(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    name = "getstate" if isinstance(generator, random.Random) else "get_state"
    return "" if type(generator) is random.SystemRandom else repr(getattr(generator, name)())


def _key(key: Any) -> Any:
    return key if isinstance(key, PLAIN) else repr(key) if isinstance(key, tuple) else id(key)


@functools.cache
def _names_in(code: types.CodeType) -> tuple[str, ...]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return (*code.co_names, *(name for part in inner for name in _names_in(part)))


def _is_own(made: Any) -> bool:
    """Whether a class, function or module is the user's or of a package of environments."""
    module = made.__name__ if isinstance(made, types.ModuleType) else made.__module__
    top = str(module).partition(".")[0]
    return top == "__main__" or (top not in LIBRARIES and top not in sys.stdlib_module_names)

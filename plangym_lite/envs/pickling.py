"""How the generic snapshot takes objects apart and finds what it left behind.

A dispatch table keeps the C pickler at its own speed: Python is called for the few kinds of
object that need it, and for nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle

__all__ = ["GENERATOR", "LOOKUP", "Reducers", "Unpickler"]


def _lookup(index: int, name: str | None) -> Any:
    """A layer or space: known to the snapshot that reads the pickle."""
    raise RuntimeError("stands for Snapshot.lookup inside a pickle")


def _generator(slot: int, numbers: tuple[int, ...]) -> np.random.Generator:
    """A generator: one that the snapshot reuses."""
    raise RuntimeError("stands for Snapshot.generator inside a pickle")


def _array(dtype: str, shape: tuple[int, ...], data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _scalar(dtype: str, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype)[0]


def _bare(cls: Any) -> Any:
    """An object of ``cls`` without calling its ``__init__``."""
    return cls.__new__(cls)


def _fill(target: Any, attributes: dict[str, Any]) -> None:
    """Give a bare object its attributes, past any ``__setstate__``, which might start afresh."""
    target.__dict__.update(attributes)


LOOKUP, GENERATOR = _lookup, _generator
"""What stands in a pickle for a layer or space, and for a generator."""


class Reducers(dict[type, Callable[[Any], Any]]):
    """How objects of a class are taken apart: a dispatch table that fills itself.

    Numbers and arrays go as bytes: numpy's own way of pickling them takes five times as long.
    """

    def __init__(self) -> None:
        self.generators: list[np.random.Generator] = []  # in the order of their slots
        self.references: dict[int, tuple[int, str | None]] = {}

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        if issubclass(kind, type):
            raise KeyError(kind)  # a class: pickled by its name
        for base, reducer in (
            ((gym.Env, spaces.Space, EzPickle), self._reference),
            (np.ndarray, _reduce_array if kind is np.ndarray else _reduce_as_usual),
            (np.random.Generator, self._generator),
            (np.generic, _reduce_scalar),
            (np.dtype, _reduce_dtype),
            (object, _reduce_as_usual),
        ):
            if issubclass(kind, base):
                self[kind] = reducer
                break
        return self[kind]

    def look_up(self, kind: type) -> None:
        """Look objects of this class up among the references from now on."""
        self[kind] = self._reference

    def _reference(self, value: Any) -> Any:
        place = self.references.get(id(value))
        if place is not None:
            return _lookup, place
        if not isinstance(value, (gym.Env, EzPickle)):
            return _reduce_as_usual(value)
        return _bare, (type(value),), value.__dict__, None, None, _fill

    def _generator(self, value: Any) -> Any:
        if type(value.bit_generator) is not np.random.PCG64:
            return _reduce_as_usual(value)
        self.generators.append(value)
        state = value.bit_generator.state
        core = state["state"]
        numbers = core["state"], core["inc"], state["has_uint32"], state["uinteger"]
        return _generator, (len(self.generators) - 1, numbers)


_reduce_as_usual = methodcaller("__reduce_ex__", pickle.HIGHEST_PROTOCOL)


def _reduce_array(value: np.ndarray) -> Any:
    dtype = value.dtype
    if dtype.isbuiltin != 1 or not value.flags.c_contiguous or dtype.hasobject:
        return _reduce_as_usual(value)
    return _array, (dtype.str, value.shape, value.tobytes())


def _reduce_scalar(value: np.generic) -> Any:
    if value.dtype.isbuiltin != 1 or isinstance(value, np.object_):
        return _reduce_as_usual(value)
    return _scalar, (value.dtype.str, value.tobytes())


def _reduce_dtype(value: np.dtype) -> Any:
    if value.isbuiltin != 1:
        return _reduce_as_usual(value)
    return np.dtype, (value.str,)  # numpy's own way makes a second dtype object


class Unpickler(pickle.Unpickler):
    """Reads snapshots; remembers what the names in them stand for."""

    known: dict[tuple[str, str], Any]  # by module and name: what was found before

    def find_class(self, module: str, name: str) -> Any:
        found = self.known.get((module, name))
        if found is None:
            found = self.known[module, name] = super().find_class(module, name)
        return found

"""The functions that the pickles inside states refer to. Never move this module or rename one.

A saved state refers to them by name, such as ``plangym_lite.pickled.array``, so that name must
keep its meaning. A new way to save an object gets a new name; the old ones stay.
"""

from __future__ import annotations

import importlib
import sys
import threading
import types
from typing import Any

import numpy as np

__all__ = [
    "array",
    "bare",
    "fill",
    "generator",
    "lock",
    "lookup",
    "method",
    "module",
    "random_numbers",
    "reentrant_lock",
    "scalar",
    "sequence",
    "simulated",
    "view",
]


def lookup(index: int) -> Any:
    """An object that belongs to the environment: the snapshot that reads the pickle has it."""
    raise RuntimeError("stands for Snapshot.lookup inside a pickle")


def generator(slot: int, kind: str, state: Any, seed: Any) -> np.random.Generator:
    """A numpy Generator; the snapshot reuses one object."""
    raise RuntimeError("stands for Snapshot.generator inside a pickle")


def random_numbers(slot: int, kind: str, state: Any) -> Any:
    """A RandomState or Python's Random; the snapshot reuses one object."""
    raise RuntimeError("stands for Snapshot.random_numbers inside a pickle")


def simulated(index: int, name: str, offset: int, shape: Any, strides: Any, dtype: Any) -> Any:
    """A view of the memory of a simulation that the snapshot has."""
    raise RuntimeError("stands for Snapshot.simulated inside a pickle")


def array(dtype: str, shape: tuple[int, ...], data: bytes, order: str = "C") -> np.ndarray:
    """An array that owns its memory."""
    if order == "C":
        return np.frombuffer(data, dtype).reshape(shape).copy()
    return np.frombuffer(data, dtype).reshape(shape, order="F").copy(order="F")


def view(
    owner: Any,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype,
    writeable: bool,
) -> np.ndarray:
    """A view of another array's memory."""
    if isinstance(owner, np.ndarray) and not owner.flags.c_contiguous:
        owner = owner.T
    found: np.ndarray = np.ndarray(shape, dtype, owner, offset, strides)
    if not writeable:
        found.flags.writeable = False
    return found


def scalar(dtype: str, data: bytes) -> np.generic:
    """A numpy scalar."""
    return np.frombuffer(data, dtype)[0]


def bare(cls: Any) -> Any:
    """An object of ``cls`` without calling its ``__init__``."""
    return object.__new__(cls)


def fill(target: Any, state: tuple[dict[str, Any] | None, dict[str, Any] | None]) -> None:
    """Set attributes and slots of an object, without its ``__setattr__`` and ``__setstate__``."""
    attributes, slots = state
    if attributes:
        target.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(target, name, value)


def method(function: Any, owner: Any) -> types.MethodType:
    """A bound method."""
    return types.MethodType(function, owner)


def module(name: str) -> types.ModuleType:
    """A module, imported if necessary."""
    return sys.modules.get(name) or importlib.import_module(name)


def lock() -> Any:
    """A lock that is not acquired."""
    return threading.Lock()


def reentrant_lock() -> Any:
    """A reentrant lock that is not acquired."""
    return threading.RLock()


def sequence(entropy: Any, spawn_key: Any, pool_size: int, children: int) -> Any:
    """A SeedSequence that has spawned ``children`` others."""
    return np.random.SeedSequence(
        entropy, spawn_key=spawn_key, pool_size=pool_size, n_children_spawned=children
    )

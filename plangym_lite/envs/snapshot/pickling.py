"""How the snapshot pickles objects, by their type.

:class:`Reducers` says how each object that is not of a basic type is pickled. For a type that
cannot be saved it raises :class:`NotUnderstoodError`. Nothing is left out silently.

- *Anchors* (layers, spaces, functions, objects with ``__del__``, simulations) stay with the
  environment. A pickle holds their numbers; what changes in them is saved beside it.
- Arrays that share memory still share it after a restore: a view is saved as its owner and offset.
- Random generators are saved as numbers and restored into generators that the snapshot reuses.
"""

from __future__ import annotations

import copyreg
import enum
import pickle
import random
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from plangym_lite import pickled
from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.envs.snapshot.anchors import atoms_of, is_handle
from plangym_lite.envs.snapshot.kinds import (
    builtin_base,
    is_display,
    is_pickled_whole,
    is_understood,
    slots_of,
    stays,
)

__all__ = [
    "LARGE",
    "PROTOCOL",
    "DisplayError",
    "NotUnderstoodError",
    "Pickler",
    "Reducers",
    "Unpickler",
]

PROTOCOL = 4  # the last protocol without out-of-band buffers
LARGE = 1 << 16
"""Bytes of an array. Larger ones are checked for whether they ever change."""
OWN_REFERENCES = 3  # references to an array's owner: one of the array, two in _view


class NotUnderstoodError(pickle.PicklingError):
    """An object cannot be saved in a snapshot."""


class DisplayError(NotUnderstoodError):
    """An object that only displays something."""


class Reducers(dict[type, Callable[[Any], Any]]):
    """By type, the function that reduces its objects for pickle; filled on demand.

    While ``discovering``, nothing is raised: types that are not understood are noted in
    ``problems``, and objects that stay with the environment become anchors.
    """

    def __init__(self) -> None:
        self.anchors: list[Any] = []
        self.numbers: dict[int, int] = {}  # of anchors, by id
        self.made: dict[int, dict[str, Any]] = {}  # initial numbers and strings of handles
        self.generators: list[Any] = []  # in the order of their slots
        self.simulations: Any = None  # a Simulations, if there are any
        self.discovering = False
        self.problems: dict[type, bool] = {}  # types not understood; whether they only display
        self.large: list[np.ndarray] = []  # discovered

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        self[kind] = reducer = self._choose(kind)
        return reducer

    def anchor(self, value: Any) -> None:
        """Make an object an anchor: it stays with the environment."""
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.anchors)
            if is_handle(value):
                self.made[self.numbers[id(value)]] = atoms_of(value)
            self.anchors.append(value)
            self._looked_up(type(value))

    def _looked_up(self, kind: type) -> None:
        """Look up objects of a type among the anchors first."""
        reducer = self[kind]
        if getattr(reducer, "__func__", None) not in LOOKING:
            self[kind] = lambda value: self._known(value) or reducer(value)

    def _known(self, value: Any) -> Any:
        number = self.numbers.get(id(value))
        return None if number is None else (pickled.lookup, (number,))

    def _choose(self, kind: type) -> Callable[[Any], Any]:
        if kind in EXACT:
            return getattr(self, EXACT[kind])
        if issubclass(kind, type):
            return lambda value: NotImplemented  # by its name
        if issubclass(kind, (gym.Env, spaces.Space, EnvSpec)):
            return self._anchored_or_instance
        if issubclass(kind, enum.Enum):
            return lambda value: (getattr, (type(value), value.name))
        if issubclass(kind, np.random.BitGenerator):
            return self._not_understood
        if issubclass(kind, np.generic):
            return _scalar
        if issubclass(kind, np.dtype):
            return _dtype
        if is_display(kind):
            return self._display
        if stays(kind) or _is_simulation(kind):
            return self._anchored
        if not is_understood(kind):
            return self._not_understood
        if hasattr(kind, "__del__"):
            return self._anchored
        is_usual = is_pickled_whole(kind) or builtin_base(kind) is not object
        return _as_usual if is_usual else _raw_of(kind)

    # ---- what stays with the environment --------------------------------------------------------

    def _anchored(self, value: Any) -> Any:
        known = self._known(value)
        if known is None and self.discovering:
            self.anchor(value)
            known = self._known(value)
        return known or self._not_understood(value)

    def _anchored_or_instance(self, value: Any) -> Any:
        """Environments and spaces: those found at the start by number, new ones by value."""
        if self.discovering:
            return self._anchored(value)
        return self._known(value) or _raw_of(type(value))(value)

    def _function(self, value: Any) -> Any:
        if _is_named(value):
            return NotImplemented
        return self._anchored(value)

    def _module(self, value: types.ModuleType) -> Any:
        if sys.modules.get(value.__name__) is value:
            return pickled.module, (value.__name__,)
        return self._anchored(value)

    def _not_understood(self, value: Any, shows: bool = False) -> Any:
        if self.discovering:
            self.problems.setdefault(type(value), shows)
            return int, ()
        error = DisplayError if shows else NotUnderstoodError
        raise error(f"a {type(value).__module__}.{type(value).__qualname__}")

    def _display(self, value: Any) -> Any:
        return self._known(value) or self._not_understood(value, shows=True)

    # ---- objects --------------------------------------------------------------------------------

    def _method(self, value: Any) -> Any:
        return pickled.method, (value.__func__, value.__self__)

    def _builtin(self, value: Any) -> Any:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return NotImplemented
        return getattr, (owner, value.__name__)

    def _lock(self, value: Any) -> Any:
        return self._not_understood(value) if value.locked() else (pickled.lock, ())

    def _reentrant_lock(self, value: Any) -> Any:
        return pickled.reentrant_lock, ()

    # ---- random numbers -------------------------------------------------------------------------

    def _slot(self, value: Any) -> int:
        self.generators.append(value)
        return len(self.generators) - 1

    def _generator(self, value: np.random.Generator) -> Any:
        bits: Any = value.bit_generator
        if type(bits) not in BIT_GENERATORS:
            return self._not_understood(value)
        state: Any = bits.state
        if state["bit_generator"] == "PCG64":
            core = state["state"]
            state = core["state"], core["inc"], state["has_uint32"], state["uinteger"]
        seed = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)
        origin = None
        if type(seed) is np.random.SeedSequence:
            origin = seed.entropy, seed.spawn_key, seed.pool_size, seed.n_children_spawned
        kind = type(bits).__name__
        return pickled.generator, (self._slot(value), kind, state, origin)

    def _random_numbers(self, value: Any) -> Any:
        kind = type(value).__name__
        state = value.get_state(legacy=False) if kind == "RandomState" else value.getstate()
        return pickled.random_numbers, (self._slot(value), kind, state)

    # ---- arrays ---------------------------------------------------------------------------------

    def _array(self, value: np.ndarray) -> Any:
        if value.base is not None:
            return self._view(value)
        if value.nbytes >= LARGE:
            known = self._known(value)
            if known is not None:
                return known
            if self.discovering:
                self.large.append(value)
        dtype, flags = value.dtype, value.flags
        if dtype.isbuiltin != 1 or dtype.hasobject or not flags.writeable:
            return _as_usual(value)
        if flags.c_contiguous:
            return pickled.array, (dtype.str, value.shape, value.tobytes())
        if flags.f_contiguous:
            return pickled.array, (dtype.str, value.shape, value.tobytes("F"), "F")
        return _as_usual(value)

    def _view(self, value: np.ndarray) -> Any:
        """A view of another array's memory."""
        owner: Any = value.base
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        if type(owner) is not np.ndarray:
            return self._foreign_view(value, owner)
        dtype, flags = value.dtype, value.flags
        alone = value.base is owner and sys.getrefcount(owner) <= OWN_REFERENCES
        simple = dtype.isbuiltin == 1 and not dtype.hasobject
        if alone and simple and flags.c_contiguous and flags.writeable:
            return pickled.array, (dtype.str, value.shape, value.tobytes())
        if dtype.hasobject or not (owner.flags.c_contiguous or owner.flags.f_contiguous):
            return _as_usual(value) if alone else self._not_understood(value)
        offset = _address(value) - _address(owner)
        return pickled.view, (owner, offset, value.shape, value.strides, dtype, flags.writeable)

    def _foreign_view(self, value: np.ndarray, owner: Any) -> Any:
        """An array whose memory does not belong to numpy."""
        if type(owner) is memoryview and owner.contiguous:
            whole: Any = owner.obj
            owner = whole if len(whole) == owner.nbytes else owner
        if type(owner) in (bytes, bytearray):
            start = _address(np.frombuffer(owner, np.uint8)) if len(owner) else _address(value)
            offset = _address(value) - start
            writeable = value.flags.writeable
            where = owner, offset, value.shape, value.strides, value.dtype, writeable
            return pickled.view, where
        if self.simulations is not None:
            place = self.simulations.place_of(value)
            if place is not None:
                shape = value.shape, value.strides, value.dtype
                return pickled.simulated, (*place, *shape)
        return self._not_understood(value)


EXACT: dict[Any, str] = {
    types.FunctionType: "_function",
    types.MethodType: "_method",
    types.BuiltinFunctionType: "_builtin",
    types.ModuleType: "_module",
    type(pickle.loads): "_builtin",
    np.ndarray: "_array",
    np.random.Generator: "_generator",
    np.random.RandomState: "_random_numbers",
    random.Random: "_random_numbers",
    GlobalNumbers: "_random_numbers",
    type(threading.Lock()): "_lock",
    type(threading.RLock()): "_reentrant_lock",
}
LOOKING = (Reducers._anchored, Reducers._anchored_or_instance, Reducers._function, Reducers._array)
BIT_GENERATORS = (
    *(np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937),
    *(np.random.Philox, np.random.SFC64),
)


def _is_named(value: Any) -> bool:
    """Whether a function is found under its name in its module, and has no closure or state."""
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _is_simulation(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "mujoco" and kind.__name__ in ("MjModel", "MjData")


def _raw_of(kind: type) -> Callable[[Any], Any]:
    """Reduce an object to class, attributes and slots, whatever its own ``__reduce__`` does."""
    names = slots_of(kind)
    if names:

        def raw(value: Any) -> Any:
            slots = {name: getattr(value, name) for name in names if hasattr(value, name)}
            attributes = getattr(value, "__dict__", None)
            return pickled.bare, (kind,), (attributes, slots), None, None, pickled.fill

        return raw
    fills = hasattr(kind, "__setstate__")  # which might reset the object
    make: tuple[Any, ...] = (pickled.bare, (kind,))
    if kind.__new__ is object.__new__:
        make = copyreg.__newobj__, (kind,)  # type: ignore[attr-defined]
    if fills:
        return lambda value: (*make, (vars(value), None), None, None, pickled.fill)
    return lambda value: (*make, vars(value) or None)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _as_usual(value: Any) -> Any:
    return value.__reduce_ex__(PROTOCOL)


def _scalar(value: np.generic) -> Any:
    if value.dtype.isbuiltin != 1 or isinstance(value, np.object_):
        return _as_usual(value)
    return pickled.scalar, (value.dtype.str, value.tobytes())


def _dtype(value: np.dtype) -> Any:
    if value.isbuiltin != 1:
        return _as_usual(value)
    return np.dtype, (value.str,)  # numpy's own reduction makes a second dtype object


class Pickler(pickle.Pickler):
    """Uses the reducers for everything that is not of a basic type."""

    reducers: Reducers

    def reducer_override(self, value: Any) -> Any:
        return self.reducers[type(value)](value)


class Unpickler(pickle.Unpickler):
    """Reads snapshots; caches the objects that the names in them refer to."""

    known: dict[tuple[str, str], Any]  # by module and name: objects found before

    def find_class(self, module: str, name: str) -> Any:
        found = self.known.get((module, name))
        if found is None:
            found = self.known[module, name] = super().find_class(module, name)
        return found

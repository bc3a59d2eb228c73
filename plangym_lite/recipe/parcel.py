"""A parcel: a constructor to be sent to another process, with everything that it needs there.

cloudpickle pickles classes and functions of a script or notebook by value. The copies in the other
process have no importable name, so their objects could not be pickled by name there, and neither
process could read the other's pickles. Therefore the other process also assigns the copies to the
names that they have here. The same is done for modules that only this process can import. Ids
registered in this program are registered in the other process, too.
"""

from __future__ import annotations

import enum
import functools
import importlib
import io
import os
import re
import sys
import threading
import types
import warnings
from collections import ChainMap
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from typing import Any, NamedTuple

import cloudpickle
import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from plangym_lite.recipe.reach import Reach, loaded, top_of
from plangym_lite.system import add_note, interrupts_held

__all__ = ["Parcel", "dumps", "dumps_each", "know", "names_of_main", "registered_specs", "unpack"]

PROVIDERS = {"gymnasium": "gymnasium.envs", "minigrid": "minigrid", "ale_py": "", "shimmy": ""}
"""Packages that register ids when imported, and the module whose text lists these ids."""

CANNOT_TRAVEL = "Not sent to workers: what cannot be pickled must stand in a module, not a script"
VERSION = re.compile(r"-v\d+$")
_KINDS = (type, types.FunctionType)
_here: dict[int, Any] = {}  # in a worker: objects that its parent can find by name
_LRU = type(functools.lru_cache(maxsize=1)(len))
_packing = threading.Lock()


def _release() -> None:
    """In a forked process: the thread that was packing is not there."""
    global _packing
    _packing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release)


class Parcel:
    """A constructor, and the specs of the ids that it may make, as they are now.

    Calling it registers the ids in this process and calls the constructor.
    """

    def __init__(self, constructor: Callable[[], Any]) -> None:
        self.constructor = constructor
        with interrupts_held():  # an alarm that raises would be taken for the constructor's error
            reach = Reach(constructor)
        self.walks_sets, self.is_singleton = reach.walks_sets, reach.has_singletons
        self.specs = registered_specs(reach.strings)
        self._bytes: bytes | None = None
        self.named: dict[int, Any] = {}  # packed by value and assigned to its name, by id

    @classmethod
    def of(cls, constructor: Any) -> Parcel:
        """The constructor as a parcel, or unchanged if it is one."""
        return constructor if isinstance(constructor, cls) else cls(constructor)

    def __call__(self) -> Any:
        _register(self.specs)
        return self.constructor()

    @interrupts_held()
    def pack(self) -> bytes:
        """The bytes for ``unpack``. They are made once: later changes have no effect."""
        if self._bytes is None:
            try:
                self._bytes, self.named = _dumped(self.constructor, self.specs)
            except Exception:  # an id's arguments may not pickle, and may not be needed
                specs = {name: spec for name, spec in self.specs.items() if _travels(spec)}
                try:
                    self._bytes, self.named = _dumped(self.constructor, specs)
                except Exception as error:
                    add_note(error, CANNOT_TRAVEL)
                    raise
        return self._bytes


def unpack(carried: Any) -> Callable[[], Any]:
    """The constructor of a parcel, or of its bytes; its classes and ids are registered here."""
    found: Any = cloudpickle.loads(carried) if isinstance(carried, bytes) else carried
    if not isinstance(found, tuple):
        return found
    specs, constructor, *_ = found
    _register(specs)
    return constructor


# ---- ids ----------------------------------------------------------------------------------------


def registered_specs(asked: set[str]) -> dict[str, EnvSpec]:
    """By id, the specs that another process would not have: those that this program registered, and
    those of ids among the strings ``asked``.
    """
    wanted = {text.rpartition(":")[2] for text in asked}
    specs: dict[str, EnvSpec] = {}
    for name, spec in list(gym.registry.items()):
        is_asked = name in wanted or VERSION.sub("", name) in wanted
        if is_asked or not _is_provided(name, spec.entry_point or spec.vector_entry_point):
            specs[name] = spec
    return specs


def _is_provided(name: str, entry_point: Any) -> bool:
    """Whether an id is registered whenever its package is imported."""
    module = PROVIDERS.get(top_of(entry_point))
    if module is None:
        return False
    return not module or "-WFC-" in name or f'"{name}"' in _text_of(module)


@functools.lru_cache(maxsize=8)
def _text_of(module: str) -> str:
    path = getattr(sys.modules.get(module), "__file__", None)
    if path is None:
        return ""
    with interrupts_held(), open(path, encoding="utf-8") as file:
        return file.read()


def _register(specs: dict[str, EnvSpec]) -> None:
    for name, spec in specs.items():
        top = top_of(spec.entry_point)
        if name not in gym.registry and top in PROVIDERS:
            with suppress(ImportError):  # making the id will raise a clearer error
                importlib.import_module(top)  # imported later, it would replace our spec
        if not _is_same(gym.registry.get(name), spec):
            gym.registry[name] = spec
    if specs:  # a package that is imported later may warn of it
        warnings.filterwarnings("ignore", ".*Overriding environment .* already in registry")


def _is_same(one: Any, other: EnvSpec) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays among the arguments
        return False


def _travels(spec: EnvSpec) -> bool:
    try:
        _dumped(None, {spec.id: spec})
    except Exception:  # a foreign __reduce__ may raise anything
        return False
    return True


# ---- by value, under their own names ------------------------------------------------------------


class _Names:
    """A marker at the end of a parcel, replaced by the names of what is packed by value."""


def dumps(value: Any, known: dict[int, Any] | None = None) -> bytes:
    """Pickle by value, except for ``known`` classes and functions, which are known by name.

    By value these would become second classes there, or all attributes of the existing ones would
    be set again. The default in a worker: those of its parcel.
    """
    buffer = io.BytesIO()
    _Sender(buffer, _here if known is None else known).dump(value)
    return buffer.getvalue()


def dumps_each(values: Sequence[Any], known: dict[int, Any]) -> tuple[bytes, np.ndarray]:
    """Pickle values one by one, each distinct object once; see ``dumps``. Returns the pickles, one
    after another, and start and end of each value's, [n, 2] int64.
    """
    buffer, places = io.BytesIO(), np.empty((len(values), 2), np.int64)
    sender = _Sender(buffer, known)
    found: dict[int, tuple[int, int]] = {}
    for row, value in enumerate(values):
        place = found.get(id(value))
        if place is None:
            start = buffer.tell()
            sender.dump(value)
            sender.clear_memo()
            place = found[id(value)] = start, buffer.tell()
        places[row] = place
    return buffer.getvalue(), places


def names_of_main() -> dict[int, Any]:
    """The classes and functions of ``__main__`` by id: a fork of this process has them too."""
    found = list(vars(sys.modules["__main__"]).values())
    mine = [each for each in found if isinstance(each, _KINDS) and each.__module__ == "__main__"]
    return {id(each): each for each in mine if _is_at_its_name(each)}


def know(named: dict[int, Any]) -> None:
    """In a worker: note objects that its parent can find by name."""
    _here.update(named)


def _is_at_its_name(obj: Any) -> bool:
    found = sys.modules.get(obj.__module__)
    return "." not in obj.__qualname__ and getattr(found, obj.__qualname__, None) is obj


def _cached_property(value: Any) -> Any:
    """How a cached property is pickled, without the lock that it has before Python 3.12."""
    return functools.cached_property, (value.func,), {"attrname": value.attrname}


class _Pickler(cloudpickle.Pickler):
    """cloudpickle that pickles cached properties."""

    own = {functools.cached_property: _cached_property}
    dispatch_table = ChainMap(own, cloudpickle.Pickler.dispatch_table)


class _Sender(_Pickler):
    """Pickles ``known`` objects by name."""

    def __init__(self, file: io.BytesIO, known: dict[int, Any]) -> None:
        super().__init__(file)
        self.known = known

    def reducer_override(self, obj: Any) -> Any:
        if self.known.get(id(obj)) is obj and obj is not None and _is_at_its_name(obj):
            return obj.__qualname__
        return super().reducer_override(obj)


def _dumped(constructor: Any, specs: dict[str, EnvSpec]) -> tuple[bytes, dict[int, Any]]:
    buffer = io.BytesIO()
    with _packing:
        packer = _Packer(buffer)
        try:
            packer.dump((specs, constructor, _Names(), _Names()))  # naming may pack more to name
        finally:
            for module in packer.registered:
                cloudpickle.unregister_pickle_by_value(module)
    named = [each for each in packer.named.values() if isinstance(each, _KINDS)]
    return buffer.getvalue(), {id(each): each for each in named}


class _Packer(_Pickler):
    """Pickles modules by value if another process cannot import them; notes them in ``named``."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.named: dict[tuple[str, str], Any] = {}
        self.registered: list[types.ModuleType] = []
        self._is_away: dict[str, bool] = {"__main__": True}

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is _Names:
            return _name, ([(*place, value) for place, value in self.named.items()],)
        if isinstance(obj, (type, types.FunctionType)):
            if self._goes_by_value(obj.__module__):
                self._note(obj)
                if "__slots__" in vars(obj):
                    return _with_slots(obj, super().reducer_override(obj))
        elif kind is _LRU:
            if self._goes_by_value(obj.__module__) or "<locals>" in obj.__qualname__:
                self._note(obj)
                return _cached, (obj.__wrapped__, obj.cache_parameters())
        elif kind is types.ModuleType:
            self._goes_by_value(obj.__name__)
        elif isinstance(obj, (EnvSpec, WrapperSpec)) and isinstance(obj.entry_point, str):
            place, _, called = obj.entry_point.partition(":")  # as in "__main__:Game"
            if self._goes_by_value(place) and loaded(obj.entry_point) is not None:
                self.named[place, called] = loaded(obj.entry_point)
        elif self._goes_by_value(kind.__module__):
            name = _name_for_itself(obj)
            if name is not None:
                self.named[kind.__module__, name] = obj
                return object.__new__, (kind,), getattr(obj, "__dict__", None) or None
        return super().reducer_override(obj)

    def _note(self, obj: Any) -> None:
        """Collect an object that can be found by its name in this process."""
        if _is_at_its_name(obj):
            self.named[obj.__module__, obj.__qualname__] = obj

    def _goes_by_value(self, module: Any) -> bool:
        if not isinstance(module, str):
            return False
        away = self._is_away.get(module)
        if away is None:
            away = self._is_away[module] = not _can_be_imported(module)
            known = cloudpickle.list_registry_pickle_by_value()
            if away and module in sys.modules and module not in known:
                cloudpickle.register_pickle_by_value(sys.modules[module])
                self.registered.append(sys.modules[module])
        return away


def _with_slots(kind: Any, reduced: Any) -> Any:
    """Add ``__slots__`` to cloudpickle's way of rebuilding a class, which loses them."""
    made_by = vars(kind).get("__orig_bases__", ())  # ``typing.NamedTuple`` makes its own slots
    if not isinstance(reduced, tuple) or isinstance(kind, enum.EnumMeta) or NamedTuple in made_by:
        return reduced
    make, (meta, name, bases, given, *others), (attributes, slot_state), *rest = reduced
    slots = types.MemberDescriptorType
    attributes = {key: value for key, value in attributes.items() if not isinstance(value, slots)}
    given = {**given, "__slots__": kind.__slots__}
    return make, (meta, name, bases, given, *others), (attributes, slot_state), *rest


def _name_for_itself(obj: Any) -> str | None:
    """The global name that an object's ``__reduce__`` returns, as singletons do."""
    kind = type(obj)
    if all(not {"__reduce__", "__reduce_ex__"} & vars(base).keys() for base in kind.__mro__[:-1]):
        return None
    try:
        reduced = obj.__reduce_ex__(5)
    except Exception:  # pickle will raise it again
        return None
    return reduced if isinstance(reduced, str) and "." not in reduced else None


def _can_be_imported(name: str) -> bool:
    """Whether another process could import a module that is loaded here."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return name != "__main__"
    module = sys.modules.get(name)
    if module is None:
        return False
    if "__builtins__" not in vars(module):
        return True  # made by an extension module when that is imported
    parent, _, _ = name.rpartition(".")
    if parent and not _can_be_imported(parent):
        return False
    spec = _found(name, getattr(sys.modules.get(parent), "__path__", None))
    if spec is None:
        return False
    ours = getattr(module, "__file__", None)
    if ours is None or not spec.has_location or spec.origin is None:
        return True
    return os.path.abspath(ours) == os.path.abspath(spec.origin)


def _found(name: str, path: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = None if find_spec is None else find_spec(name, path)
        if spec is not None:
            return spec
    return None


def _cached(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _name(named: list[tuple[str, str, Any]]) -> None:
    """Assign what was unpickled by value to its names."""
    for module, name, value in named:
        if module not in sys.modules:
            sys.modules[module] = types.ModuleType(module)
        setattr(sys.modules[module], name, value)
        if isinstance(value, _KINDS):
            _here[id(value)] = value
        inner = getattr(value, "__wrapped__", None)
        if isinstance(value, _LRU) and isinstance(inner, types.FunctionType):
            inner.__globals__[name] = value  # it may call itself

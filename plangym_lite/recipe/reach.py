"""What a constructor reaches: the functions, classes, ids and values that its code refers to.

Another interpreter has other ids registered and iterates over a set of strings in another order.
Both matter only if code uses them. So the code is inspected: that of the user and of the package of
the environment, not that of Python or of libraries.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from plangym_lite.recipe.recipe import Informed, Recipe

__all__ = ["Reach", "loaded", "top_of"]

ENGINES = frozenset(
    [
        *("ale_py", "Box2D", "dm_control", "dm_env", "gymnasium", "minigrid", "mujoco", "numpy"),
        *("plangym_lite", "shimmy", "stable_retro"),
    ]
)
"""Packages of environments that are not inspected: they are the same in every process."""

MOST = 20_000  # objects to inspect
SETS, SET_MAKERS = (set, frozenset), {"set", "frozenset", "hash"}
SET_CODES = {"BUILD_SET", "SET_ADD", "SET_UPDATE"}
COMBINED = {"-", "&", "|", "^", "BINARY_SUBTRACT", "BINARY_AND", "BINARY_OR", "BINARY_XOR"}
NUMBERS = (int, float, complex, np.number)


def top_of(thing: Any) -> str:
    """The package of a class, function or entry point; ``""`` where it has none."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    module = thing if isinstance(thing, str) else getattr(thing, "__module__", None)
    return module.partition(":")[0].partition(".")[0] if isinstance(module, str) else ""


class Reach:
    """A traversal of everything that ``root`` reaches: ``strings`` that were found, whether it
    ``walks_sets``, and whether it ``has_singletons``, engines that a process can have only once.

    It walks sets if there are sets, or code that makes sets, of anything but numbers: strings are
    iterated over in another order in another interpreter.
    """

    def __init__(self, root: Any) -> None:
        self.strings: set[str] = set()
        self.walks_sets = self.has_singletons = False
        self._packages = {top_of(kind) for kind in _kinds_in(root)}
        self._seen: dict[int, Any] = {}  # holds references, so that no id is reused
        self._todo: deque[Any] = deque([root])
        while self._todo and len(self._seen) < MOST:
            thing = self._todo.popleft()
            if id(thing) not in self._seen:
                self._seen[id(thing)] = thing
                with suppress(Exception):  # inspecting a foreign object may raise anything
                    self._visit(thing)

    def _visit(self, thing: Any) -> None:
        if isinstance(thing, str):
            if thing not in self.strings:
                self.strings.add(thing)
                self._todo.append(gym.registry.get(thing.rpartition(":")[2]))
        elif isinstance(thing, SETS):
            self._visit_set(thing)
        elif isinstance(thing, dict):
            self._todo.extend((*thing, *thing.values()))
        elif isinstance(thing, (list, tuple, deque)):
            self._todo.extend(thing)
        elif isinstance(thing, types.FunctionType):
            self._visit_function(thing)
        elif isinstance(thing, type):
            self._visit_class(thing)
        elif not isinstance(thing, (*NUMBERS, bytes, np.ndarray, types.ModuleType)):
            self._todo.extend(self._parts_of(thing))

    def _visit_set(self, thing: Iterable[Any]) -> None:
        members = list(thing)
        constant = isinstance(thing, frozenset)
        if not all(isinstance(member, NUMBERS) for member in members) or not (members or constant):
            self.walks_sets = True
        self._todo.extend(members)

    def _visit_class(self, kind: type) -> None:
        self.has_singletons = self.has_singletons or getattr(kind, "SINGLETON", False) is True
        if not self._is_users(kind):
            return
        self._todo.extend((*kind.__bases__, type(kind)))
        for name, value in vars(kind).items():
            is_python_s = name.startswith("__") and name.endswith("__")
            if not is_python_s or isinstance(value, types.FunctionType):
                self._todo.append(value)

    def _visit_function(self, function: types.FunctionType) -> None:
        if not self._is_users(function):
            return
        codes = list(_codes_in(function.__code__))
        names = {name for code in codes for name in code.co_names}
        known = function.__globals__
        for name in names & known.keys():
            value = known[name]
            if isinstance(value, types.ModuleType):
                if self._is_own(value.__name__):
                    inside = vars(value)
                    self._todo.extend(inside[other] for other in names & inside.keys())
            else:
                self._todo.append(value)
        makers = (names & SET_MAKERS) - known.keys()
        if function.__name__ == "__hash__":
            makers -= {"hash"}
        self.walks_sets = self.walks_sets or bool(makers) or any(map(_makes_sets, codes))
        for code in codes:
            self._todo.extend(value for value in code.co_consts if isinstance(value, (str, tuple)))
        self._todo.extend((function.__defaults__, function.__kwdefaults__, function.__dict__))
        for cell in function.__closure__ or ():
            try:
                self._todo.append(cell.cell_contents)
            except ValueError:  # an empty cell
                continue

    def _parts_of(self, thing: Any) -> Iterator[Any]:
        if isinstance(thing, Recipe):
            yield from (thing.target, thing.args, thing.kwargs)
        elif isinstance(thing, Informed):
            yield thing.recipe
        elif isinstance(thing, functools.partial):
            yield from (thing.func, thing.args, thing.keywords)
        elif isinstance(thing, (staticmethod, classmethod, types.MethodType)):
            yield from (thing.__func__, getattr(thing, "__self__", None))
        elif isinstance(thing, property):
            yield from (thing.fget, thing.fset, thing.fdel)
        elif isinstance(thing, (EnvSpec, WrapperSpec)):
            yield from (loaded(thing.entry_point), thing.kwargs)
            yield from getattr(thing, "additional_wrappers", ())
        elif "__wrapped__" in _own(thing):
            yield _own(thing)["__wrapped__"]
        elif self._is_users(type(thing)):
            yield type(thing)
            yield from _own(thing).values()
            for kind in type(thing).__mro__:
                slots = vars(kind).get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    with suppress(AttributeError):
                        yield object.__getattribute__(thing, name)

    def _is_users(self, thing: Any) -> bool:
        return self._is_own(getattr(thing, "__module__", None) or "")

    def _is_own(self, module: str) -> bool:
        top = module.partition(".")[0]
        if top in ENGINES or top in sys.stdlib_module_names:
            return top == "__main__"
        return top in self._packages or not _is_installed(top)


def _own(thing: Any) -> dict[str, Any]:
    """The ``__dict__`` of an object, past any ``__getattribute__`` of its class."""
    try:
        return object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return {}


@functools.lru_cache(maxsize=4096)
def _is_installed(top: str) -> bool:
    """Whether a package was installed, and so is not the user's code."""
    places = getattr(sys.modules.get(top), "__file__", None) or ""
    return "site-packages" in places or "dist-packages" in places


def _kinds_in(root: Any) -> Iterator[Any]:
    """The classes and functions that a constructor calls; their packages are inspected too."""
    if isinstance(root, Recipe):
        for part in (root.target, *root.args, *(root.kwargs or {}).values()):
            yield from _kinds_in(part)
    elif isinstance(root, Informed):
        yield from _kinds_in(root.recipe)
    elif isinstance(root, functools.partial):
        yield from _kinds_in(root.func)
    elif isinstance(root, str):
        yield from _kinds_in(gym.registry.get(root.rpartition(":")[2]))
    elif isinstance(root, EnvSpec):
        yield root.entry_point
    elif callable(root):
        yield root


def loaded(entry_point: Any) -> Any:
    """The object of an entry point, if its module is loaded."""
    if not isinstance(entry_point, str):
        return entry_point
    module, _, name = entry_point.partition(":")
    return getattr(sys.modules.get(module), name, None)


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _codes_in(value)


def _combines(step: dis.Instruction) -> bool:
    name = step.argrepr if step.opname == "BINARY_OP" else step.opname
    return name in COMBINED


def _makes_sets(code: types.CodeType) -> bool:
    """Whether code builds sets, or uses a constant set of strings other than for ``in``."""
    before: Any = None
    of_keys = "keys" in code.co_names  # differences and unions of dict keys are sets
    for step in dis.get_instructions(code):
        if step.opname in SET_CODES or (of_keys and _combines(step)):
            return True
        if isinstance(before, frozenset) and step.opname != "CONTAINS_OP":
            return True
        before = step.argval if step.opname == "LOAD_CONST" else None
        if isinstance(before, frozenset) and all(isinstance(part, NUMBERS) for part in before):
            before = None
    return False

"""A recipe: how an environment was made, so that it can be made again, here or elsewhere.

``informed``: results of examining it are passed on, so that its copies examine nothing.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import dis
import functools
import inspect
import threading
import types
import weakref
from argparse import Namespace
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Informed", "Recipe", "freeze", "informed", "original_of", "rebuild", "take_findings"]

_passed_on = threading.local()
MOST_BYTES = 1 << 20  # larger arrays are not copied
_originals: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # by frozen callable
CONTAINERS = (dict, list, set, tuple, OrderedDict, defaultdict, deque, bytearray, frozenset)
HOLDERS = (types.SimpleNamespace, Namespace)
WRITERS = frozenset(
    [
        *("append", "appendleft", "extend", "add", "update", "insert", "setdefault", "pop"),
        *("popleft", "popitem", "remove", "discard", "clear", "__setitem__", "__iadd__"),
    ]
)
WRITING_CODES = {"STORE_SUBSCR", "DELETE_SUBSCR"}


@dataclass(frozen=True)
class Recipe:
    """A callable and its arguments.

    Calling the recipe makes the object again. ``clone``, pickling and the workers use it.
    """

    target: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None

    def __call__(self) -> Any:
        return self.target(*self.args, **(self.kwargs or {}))

    def replace(self, **overrides: Any) -> Recipe:
        """A recipe with some arguments replaced; ``overrides`` replace positional ones, too."""
        if not overrides:
            return self
        if not self.args:
            return Recipe(self.target, (), {**(self.kwargs or {}), **overrides})
        bound = inspect.signature(self.target).bind(*self.args, **(self.kwargs or {}))
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            elif kind is inspect.Parameter.VAR_POSITIONAL:
                raise TypeError(f"{self.target} takes *{name}: pass arguments by name to clone it")
            else:
                named[name] = value
        return Recipe(self.target, (), {**named, **overrides})


# ---- copies of arguments, so that later changes have no effect ----------------------------------


def freeze(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A copy of the value, so that later changes of it have no effect.

    Containers, namespaces, dataclasses and arrays of up to a megabyte are copied, at any depth,
    also in the arguments of a ``functools.partial`` and in the closure and defaults of a function.
    All other objects are kept: classes, models, large arrays, objects of other classes. If nothing
    was copied, the value itself is returned. Containers in a closure are kept if the function
    writes to containers or if they are empty: they may be meant for others to read.

    ``original_of`` returns the callable that a frozen one was made from.
    """
    memo = {} if memo is None else memo
    known = memo.get(id(value))
    if known is not None:
        return known[1]
    frozen = _frozen(value, memo)
    memo[id(value)] = value, frozen  # keeps the value, so that its id is not reused
    return frozen


def original_of(value: Any) -> Any:
    """The callable that a frozen one was made from; any other value unchanged."""
    try:
        return _originals.get(value, value)
    except TypeError:  # no weak reference or hash
        return value


def _frozen(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind is np.ndarray and value.nbytes <= MOST_BYTES and not value.dtype.hasobject:
        return value.copy(order="K") if value.flags.writeable else value
    if kind in (bytearray, deque, set):
        return copy.copy(value)  # elements of sets are immutable
    if kind in (list, dict, OrderedDict, defaultdict):
        return _fill(value, copy.copy(value), memo)
    if kind is tuple or (isinstance(value, tuple) and hasattr(kind, "_make")):
        parts = [freeze(part, memo) for part in value]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return tuple(parts) if kind is tuple else kind._make(parts)
    if kind is functools.partial:
        return _frozen_partial(value, memo)
    if kind is types.FunctionType:
        return _frozen_function(value, memo)
    is_data = dataclasses.is_dataclass(value) and not isinstance(value, type)
    if kind in HOLDERS or (is_data and not (callable(value) or hasattr(value, "reset"))):
        return _frozen_holder(value, memo)
    return value


def _fill(value: Any, new: Any, memo: dict[int, Any]) -> Any:
    """A copy of a list or dict with frozen elements; it may contain itself."""
    memo[id(value)] = value, new
    for key, part in list(enumerate(value) if isinstance(value, list) else value.items()):
        new[key] = freeze(part, memo)
    return new


def _frozen_holder(value: Any, memo: dict[int, Any]) -> Any:
    """A namespace, or an object of a dataclass."""
    new = copy.copy(value)
    memo[id(value)] = value, new
    names = [*getattr(value, "__dict__", ()), *(f.name for f in _fields(value))]
    for name in dict.fromkeys(names):
        if hasattr(value, name):
            part = getattr(value, name)
            frozen = freeze(part, memo)
            if frozen is not part:
                object.__setattr__(new, name, frozen)
    return new


def _fields(value: Any) -> tuple[Any, ...]:
    return dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()


def _frozen_partial(value: functools.partial[Any], memo: dict[int, Any]) -> Any:
    function, args = freeze(value.func, memo), freeze(value.args, memo)
    keywords = {name: freeze(part, memo) for name, part in value.keywords.items()}
    same = all(keywords[name] is part for name, part in value.keywords.items())
    if same and function is value.func and args is value.args:
        return value
    new = functools.partial(function, *args, **keywords)
    new.__dict__.update(value.__dict__)
    _originals[new] = original_of(value)
    return new


def _frozen_function(function: types.FunctionType, memo: dict[int, Any]) -> Any:
    """The function itself, unless its closure or a default has something to copy."""
    memo[id(function)] = function, function  # it may refer to itself
    if _writes(function.__code__):
        return function
    cells = function.__closure__ or ()
    new_cells = tuple(_frozen_cell(cell, memo) for cell in cells)
    old_defaults, old_named = function.__defaults__ or (), function.__kwdefaults__ or {}
    defaults = tuple(_frozen_unless_empty(part, memo) for part in old_defaults)
    named = {name: _frozen_unless_empty(part, memo) for name, part in old_named.items()}
    old = (*cells, *old_defaults, *old_named.values())
    new_parts = (*new_cells, *defaults, *named.values())
    if all(new is before for new, before in zip(new_parts, old, strict=True)):
        return function
    own = types.CellType()
    new_cells = tuple(own if _holds(cell, function) else cell for cell in new_cells)
    new = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        defaults or None,
        new_cells or None,
    )
    own.cell_contents = new
    new.__kwdefaults__ = named or None
    new.__qualname__, new.__module__ = function.__qualname__, function.__module__
    new.__doc__, new.__annotations__ = function.__doc__, function.__annotations__
    new.__dict__.update(function.__dict__)
    _originals[new] = original_of(function)
    return new


def _frozen_cell(cell: types.CellType, memo: dict[int, Any]) -> types.CellType:
    try:
        value = cell.cell_contents
    except ValueError:  # nothing in it yet
        return cell
    frozen = _frozen_unless_empty(value, memo)
    return cell if frozen is value else types.CellType(frozen)


def _holds(cell: types.CellType, value: Any) -> bool:
    try:
        return cell.cell_contents is value
    except ValueError:  # nothing in it yet
        return False


def _frozen_unless_empty(value: Any, memo: dict[int, Any]) -> Any:
    return value if isinstance(value, CONTAINERS) and not value else freeze(value, memo)


def _writes(code: types.CodeType) -> bool:
    """Whether a function writes to containers; which ones is not known."""
    if WRITERS.intersection(code.co_names):
        return True
    if any(step.opname in WRITING_CODES for step in dis.get_instructions(code)):
        return True
    return any(isinstance(part, types.CodeType) and _writes(part) for part in code.co_consts)


def rebuild(recipe: Recipe, state: Any) -> Any:
    """The environment made again, in ``state`` if that is not ``None``."""
    env = recipe()
    if state is not None:
        if env.batch_spec.state_shape is not None and not isinstance(state, np.ndarray):
            env.outgrow(quiet=True)  # as the states of the original have
        env.set_state(state)
    return env


# ---- what was found out about it ----------------------------------------------------------------


@dataclass
class Informed:
    """A recipe with the findings about its environment."""

    recipe: Callable[[], Any]
    findings: Any

    def __call__(self) -> Any:
        with informed(self.findings):
            return self.recipe()


@contextlib.contextmanager
def informed(findings: Any) -> Iterator[None]:
    """The first environment made in this context uses ``findings`` and examines nothing."""
    before, _passed_on.findings = getattr(_passed_on, "findings", None), findings
    try:
        yield
    finally:
        _passed_on.findings = before


def take_findings() -> Any:
    """The findings about the environment that is being made, or ``None``. Clears them."""
    findings, _passed_on.findings = getattr(_passed_on, "findings", None), None
    return findings

"""Copies: elements of spaces in the dtypes of their spaces, nested actions, and infos.

A value that a call returned never changes afterwards, and editing it does not change the
environment. :func:`own_copy` says how each type of value is copied.
"""

from __future__ import annotations

import copy
import types
import weakref
from collections import OrderedDict, defaultdict
from enum import Enum
from typing import Any

import numpy as np
from gymnasium import Env, spaces

from plangym_lite.errors import InvalidStepError

__all__ = [
    "ARRAY_SPACES",
    "ATOMS",
    "DOUBLE",
    "SINGLE",
    "copy_element",
    "fit_box",
    "fit_element",
    "own_action",
    "own_copy",
    "own_info",
    "row_of",
]

ARRAY_SPACES: tuple[Any, ...] = (
    spaces.Box,
    spaces.Discrete,
    spaces.MultiDiscrete,
    spaces.MultiBinary,
)
"""Spaces whose elements are one array of fixed shape and dtype."""

WHOLE = np.dtype(np.int64)
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
NUMPY_SCALARS = {kind for kind in np.sctypeDict.values() if kind is not np.void}
ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, range, *NUMPY_SCALARS})
"""Immutable types. (Not ``np.void``: it may be a view of a row of a structured array.)"""

SHARED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.GeneratorType,
    weakref.ref,
    Enum,
    Env,
    spaces.Space,
)
"""Types that are not copied: code, and objects that are not data."""


def own_info(info: dict[str, Any]) -> dict[str, Any]:
    """A copy of an info for the caller. Fast if it holds only numbers and strings."""
    for value in info.values():
        if type(value) not in ATOMS:
            memo: dict[int, Any] = {}
            return {key: own_copy(part, memo) for key, part in info.items()}
    return {**info}


def own_copy(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A deep copy of data; ``memo`` as for :func:`copy.deepcopy`.

    Arrays and views become new arrays that own their memory (subclasses are kept). The elements of
    object arrays, dicts, lists, tuples, sets and plain objects are copied recursively; references
    to one object stay references to one copy. Objects with a ``__deepcopy__`` or their own pickling
    go through ``copy.deepcopy``. Not copied: immutable values, functions, classes, modules,
    environments, spaces, objects with ``__del__``, and what cannot be copied.
    """
    kind = type(value)
    if kind in ATOMS:
        return value
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, SHARED) or hasattr(kind, "__del__"):
        return value
    try:
        made = _copy_of(value, kind, memo)
    except Exception:  # objects of others can fail in any way
        return value
    memo[id(value)] = made
    return made


def _copy_of(value: Any, kind: type, memo: dict[int, Any]) -> Any:
    made: Any
    if isinstance(value, np.ndarray):
        return _copy_of_array(value, memo)
    if kind is dict or kind is OrderedDict or kind is defaultdict:
        made = memo[id(value)] = copy.copy(value)
        for key, part in value.items():
            made[key] = own_copy(part, memo)
        return made
    if kind is list:
        made = memo[id(value)] = []
        made.extend(own_copy(part, memo) for part in value)
        return made
    if kind is tuple:
        return tuple(own_copy(part, memo) for part in value)
    if isinstance(value, tuple) and hasattr(kind, "_fields") and not hasattr(value, "__dict__"):
        return tuple.__new__(kind, (own_copy(part, memo) for part in value))
    if kind is set or kind is frozenset:
        return kind(own_copy(part, memo) for part in value)
    if isinstance(value, types.MappingProxyType):
        return types.MappingProxyType(own_copy(dict(value), memo))
    if _is_plain(kind):
        return _copy_of_object(value, kind, memo)
    return copy.deepcopy(value, memo)


def _copy_of_array(array: np.ndarray, memo: dict[int, Any]) -> np.ndarray:
    if array.dtype.kind == "O":
        flat = np.empty(array.size, object)
        for place, part in enumerate(array.ravel().tolist()):
            flat[place] = own_copy(part, memo)
        return flat.reshape(array.shape)
    return copy.deepcopy(array, memo) if array.dtype.hasobject else array.copy()


def _is_plain(kind: type) -> bool:
    """Whether objects of a class consist of their attributes only."""
    default = (
        kind.__new__ is object.__new__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
    )
    own = ("__deepcopy__", "__copy__", "__setstate__")
    state = getattr(kind, "__getstate__", None)
    return (
        default
        and not any(hasattr(kind, name) for name in own)
        and state is getattr(object, "__getstate__", None)
    )


def _copy_of_object(value: Any, kind: type, memo: dict[int, Any]) -> Any:
    state = value.__reduce_ex__(4)[2]  # the attributes: a dict, or a dict and a dict of slots
    parts = state if isinstance(state, tuple) else (state,)
    made: Any = object.__new__(kind)
    memo[id(value)] = made
    try:
        for attributes in parts:
            for name, part in (attributes or {}).items():
                object.__setattr__(made, name, own_copy(part, memo))
    except Exception:
        del memo[id(value)]
        raise
    return made


# ---- elements of spaces -------------------------------------------------------------------------


def copy_element(space: Any, element: Any) -> Any:
    """A copy of an observation, in the dtypes of its space; errors as of :func:`fit_element`."""
    if isinstance(space, ARRAY_SPACES):
        if type(element) is int and space.dtype == WHOLE and not space.shape:
            return np.int64(element)
        copied = np.array(_fit_array(space, element))
        return copied if copied.ndim else copied[()]
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return _by_leaves(copy_element, space, element)
    return own_copy(element)


def fit_element(space: Any, element: Any) -> Any:
    """The observation in the dtypes of its space; arrays are copied only to change the dtype.

    ``InvalidStepError``: the shape is wrong, or the space's dtype cannot hold the values.
    """
    if isinstance(space, ARRAY_SPACES):
        return _fit_array(space, element)
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return _by_leaves(fit_element, space, element)
    return element


def row_of(space: Any, columns: Any, row: int) -> Any:
    """One observation out of the observations of a batch."""
    if isinstance(space, spaces.Dict):
        return {key: row_of(part, columns[key], row) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        parts = zip(space.spaces, columns, strict=True)
        return tuple(row_of(part, column, row) for part, column in parts)
    return columns[row]


def own_action(space: Any, action: Any) -> Any:
    """A copy of a nested action; ``ValueError`` and the like if it is not in its space."""
    if isinstance(space, spaces.Dict):
        if not isinstance(action, dict) or action.keys() != space.spaces.keys():
            raise ValueError("not a dict with its keys")
        return {key: own_action(part, action[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(action, (tuple, list, np.ndarray)):
            raise TypeError("not a tuple")
        return tuple(own_action(*pair) for pair in zip(space, action, strict=True))
    if isinstance(space, spaces.OneOf) and isinstance(action, tuple):
        which, element = action
        if not isinstance(which, (int, np.integer)) or not 0 <= which < len(space.spaces):
            raise ValueError("no such part")
        return which, own_action(space.spaces[which], element)
    if isinstance(space, spaces.Sequence) and not space.stack and isinstance(action, tuple):
        return tuple(own_action(space.feature_space, element) for element in action)
    if not isinstance(space, spaces.Box):
        if not space.contains(action):
            raise ValueError("not in its space")
        own = np.array(action, space.dtype) if isinstance(space, ARRAY_SPACES) else action
        return own_copy(own[()] if isinstance(own, np.ndarray) else own)
    array = np.array(action)
    is_inside = array.dtype.kind in "biuf" and array.shape == space.shape
    if not is_inside or not ((array >= space.low) & (array <= space.high)).all():
        raise ValueError("not in its box")
    array = fit_box(space, array)
    return array if array.ndim else array[()]


def fit_box(space: Any, array: np.ndarray) -> np.ndarray:
    """Native float32 or float64 for such arrays; for others the space's dtype."""
    kind = array.dtype
    if kind in (SINGLE, DOUBLE):
        return array
    if kind.kind == "f" and kind.itemsize in (4, 8):
        return array.astype(kind.newbyteorder("="), copy=False)
    return array.astype(space.dtype, copy=False)


def _by_leaves(function: Any, space: Any, element: Any) -> Any:
    try:
        if isinstance(space, spaces.Dict):
            return {key: function(part, element[key]) for key, part in space.spaces.items()}
        pairs = zip(space, element, strict=True)
        return tuple(function(part, leaf) for part, leaf in pairs)
    except (KeyError, TypeError, IndexError) as error:
        raise _misfit(space, f"{element!r:.200}, which has other parts") from error
    except ValueError as error:
        if isinstance(error, InvalidStepError):
            raise
        raise _misfit(space, f"{element!r:.200}, which has other parts") from error


def _fit_array(space: Any, element: Any) -> np.ndarray:
    array = element
    if type(element) is not np.ndarray:
        try:
            array = np.asarray(element)
        except Exception as error:
            raise _misfit(space, f"{element!r:.200}, which is no array") from error
    if array.dtype == space.dtype and array.shape == space.shape:
        return array
    if array.shape != space.shape:
        raise _misfit(space, f"one of shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise _misfit(space, f"{element!r:.200} of dtype {array.dtype}, which are no numbers")
    with np.errstate(invalid="ignore", over="ignore"):
        fitted = array.astype(space.dtype)
    if space.dtype.kind in "biu" and not np.array_equal(fitted, array):
        raise _misfit(space, f"numbers of dtype {array.dtype} that {space.dtype} cannot hold")
    return fitted


def _misfit(space: Any, what: str) -> InvalidStepError:
    return InvalidStepError(
        f"the environment's observation space says {space}, but it gave {what}: mend its "
        "observation_space, or wrap it (gymnasium.wrappers.TransformObservation)"
    )

"""Which types a snapshot understands. This is decided by type, never by name.

A type is understood if everything that may change in its objects is visible from Python: attributes
and slots of classes written in Python, containers, numbers, arrays, generators. Internal data of
compiled modules (contacts of a physics engine, a compiled model, a partly consumed iterator) is not
understood, even if the object can be pickled.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import functools
import logging
import operator
import pathlib
import re
import struct
import types
import uuid

import numpy as np

__all__ = ["builtin_base", "is_display", "is_pickled_whole", "is_understood", "slots_of", "stays"]

POINTER = struct.calcsize("P")
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made at run time, as by a class statement

PICKLED_WHOLE: tuple[type, ...] = (
    *(int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset),
    *(range, slice, type(None), type(Ellipsis), type(NotImplemented), BaseException),
    *(collections.deque, collections.OrderedDict, collections.defaultdict, array.array),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal),
    *(re.Pattern, uuid.UUID, pathlib.PurePath, types.SimpleNamespace, types.GenericAlias),
    *(functools.partial, operator.itemgetter, operator.attrgetter, operator.methodcaller),
    *(type(iter([])), type(iter(())), type(iter(range(0))), type(iter(""))),
    *(enum.Enum, logging.Logger, np.ufunc, types.BuiltinFunctionType, np.random.SeedSequence),
)
"""Compiled types, with their subclasses, whose pickle holds the whole object."""

PYGAME_DATA = ("Rect", "FRect", "Color", "Vector2", "Vector3")
"""Classes of pygame that display nothing, whose pickle holds the whole object."""
DISPLAY_LIBRARIES = frozenset(
    ("pygame", "pyglet", "OpenGL", "glfw", "matplotlib", "tkinter", "_tkinter", "moderngl", "PIL")
)
"""Libraries whose objects display or draw something."""
RENDERERS = ("gymnasium.envs.mujoco.mujoco_rendering.", "mujoco.renderer.", "mujoco.rendering.")
"""Types that draw a simulation and hold no state of it."""


def slots_of(kind: type) -> tuple[str, ...]:
    """The names of the slots of a class, including inherited ones."""
    return tuple(
        name
        for base in kind.__mro__
        for name, value in vars(base).items()
        if isinstance(value, types.MemberDescriptorType)
    )


def is_pickled_whole(kind: type) -> bool:
    """Whether the pickle of an object holds all of it, even if its class is compiled."""
    return issubclass(kind, PICKLED_WHOLE)


def builtin_base(kind: type) -> type:
    """``object``, or the list, dict or the like that holds part of the objects of a class."""
    return next(base for base in kind.__mro__ if not base.__flags__ & HEAP_TYPE)


def is_understood(kind: type) -> bool:
    """Whether objects consist of attributes, slots and the content of a builtin base class."""
    solid = builtin_base(kind)
    if solid is not object:
        return issubclass(solid, PICKLED_WHOLE) or _is_pygame_data(kind)
    if issubclass(kind, PICKLED_WHOLE):
        return True
    hidden = sum(offset > 0 for offset in (kind.__dictoffset__, kind.__weakrefoffset__))
    expected = object.__basicsize__ + POINTER * (len(slots_of(kind)) + hidden)
    return kind.__basicsize__ <= expected


def is_display(kind: type) -> bool:
    """Whether objects of a type display or draw something."""
    if _is_pygame_data(kind):
        return False
    return any(base.__module__.partition(".")[0] in DISPLAY_LIBRARIES for base in kind.__mro__)


def stays(kind: type) -> bool:
    """Whether objects of a type stay with the environment and hold none of its state."""
    return f"{kind.__module__}.{kind.__qualname__}".startswith(RENDERERS)


def _is_pygame_data(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "pygame" and kind.__qualname__ in PYGAME_DATA

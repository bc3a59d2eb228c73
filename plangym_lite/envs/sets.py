"""Sets in a state. A pickle holds what is in a set, not in which order the set is walked.

That order depends on how the set came about: on its size at its largest, and on what was removed. A
set that is built again from its elements is walked in the same order most of the time, not always.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["walk_otherwise"]

CLOSED_KINDS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, np.ndarray)
ATOMS = (str, bytes, int, float, bool, type(None), np.generic)
MOST_OBJECTS = 200_000


def walk_otherwise(roots: Iterable[Any]) -> tuple[bool, bool]:
    """Whether there are sets behind some objects; whether one would be walked in another order."""
    todo, found = list(roots), False
    seen: set[int] = set()
    while todo and len(seen) < MOST_OBJECTS:
        value = todo.pop()
        if isinstance(value, ATOMS) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (set, frozenset)) and len(value) > 1:
            found = True
            order = list(value)
            if list(set(order)) != order:
                return True, True
        if isinstance(value, (*CLOSED_KINDS, gym.Space, gym.Env)):
            continue
        todo += gc.get_referents(value)
    return found, False

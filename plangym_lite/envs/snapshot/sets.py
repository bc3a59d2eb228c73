"""Sets in a state. A pickle holds the elements of a set, not its iteration order.

The order depends on the history of the set: its largest size and the elements removed. A set that
is rebuilt from its elements usually has the same iteration order, but not always.
"""

from __future__ import annotations

import gc
import types
from collections import Counter
from collections.abc import Container, Iterable
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["walk_sets"]

CLOSED_KINDS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, np.ndarray)
ATOMS = (str, bytes, int, float, bool, type(None), np.generic)
MOST_OBJECTS = 200_000


def walk_sets(roots: Iterable[Any], closed: Container[int]) -> tuple[Counter[int], bool]:
    """Find the sets that some objects refer to, not looking into those whose ids are in ``closed``.

    Returns:
        The hashes of all sets of more than one element, counted; and whether all sets would keep
        their iteration order when rebuilt.
    """
    todo, is_stable = list(roots), True
    seen: set[int] = set()
    found: Counter[int] = Counter()
    while todo and len(seen) < MOST_OBJECTS:
        value = todo.pop()
        if isinstance(value, ATOMS) or id(value) in seen or id(value) in closed:
            continue
        seen.add(id(value))
        if isinstance(value, (set, frozenset)) and len(value) > 1:
            order = list(value)
            found[hash(frozenset(order))] += 1
            by_address = any(type(part).__hash__ is object.__hash__ for part in order)
            is_stable = is_stable and not by_address and list(set(order)) == order
        if not isinstance(value, (*CLOSED_KINDS, gym.Space, gym.Env)):
            todo += gc.get_referents(value)
    return found, is_stable

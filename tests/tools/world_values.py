"""Nested values of environments as copies that can be compared place by place.

This file, and the rest of the judge, share nothing with ``plangym_lite.testing``: what is under
test must not be its own judge.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

__all__ = ["Entry", "Noise", "compare", "freeze", "tell"]

Entry = dict[str, Any]
"""The leaves of one answer by their path. Arrays are copies, other leaves what they were."""

CLOCKS = frozenset({"info['episode']['t']"})
"""Entries that Gymnasium's own wrappers read from a clock."""


def freeze(value: Any, path: str, out: Entry | None = None, depth: int = 0) -> Entry:
    """The leaves of a nested value, by path; arrays of numbers stay whole, and are copied."""
    out = {} if out is None else out
    if depth > 12:
        out[path] = "..."
    elif isinstance(value, dict):
        out[path + "{}"] = sorted(map(repr, value))
        for key, part in value.items():
            freeze(part, f"{path}[{key!r}]", out, depth + 1)
    elif isinstance(value, (list, tuple)) and not _is_numeric_list(value):
        out[path + ".len"] = len(value)
        for index, part in enumerate(value):
            freeze(part, f"{path}[{index}]", out, depth + 1)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        freeze(value.tolist(), path, out, depth + 1)
    elif isinstance(value, (np.ndarray, np.generic, bool, int, float, complex, list, tuple)):
        out[path] = np.array(value)
    elif isinstance(value, (str, bytes, type(None))):
        out[path] = value
    else:
        out[path] = _pickled(value)
    return out


def _is_numeric_list(value: Any) -> bool:
    return len(value) > 8 and all(isinstance(part, (int, float)) for part in value)


def _pickled(value: Any) -> Any:
    """Objects are compared by class and pickle; those that have none by class alone."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "__array__"):  # a tensor
        return np.array(value)
    try:
        return name, pickle.dumps(value)
    except Exception:  # a foreign __reduce__ may raise anything
        return name, None


class Noise:
    """The places where two plain runs differ: whole leaves, or single elements of arrays."""

    def __init__(self) -> None:
        self.masks: dict[str, Any] = dict.fromkeys(CLOCKS, True)
        self.settled = False  # set after a first pair of runs

    def learn(self, one: Entry, other: Entry) -> None:
        """Add the places in which ``one`` and ``other`` differ."""
        for path in {*one, *other}:
            a, b = one.get(path), other.get(path)
            if _equal(a, b) or self.masks.get(path) is True:
                continue
            if not (_is_array(a) and _is_array(b) and a.shape == b.shape and a.shape):
                self.masks[path] = True
                continue
            unequal, mask = _unequal(a, b), self.masks.get(path)
            known = mask is not None and mask.shape == unequal.shape
            if self.settled and not (known and (unequal <= mask).all()):
                self.masks[path] = True  # it moves about: other elements may be noisy as well
            else:
                self.masks[path] = unequal | mask if known else unequal

    def covers_some(self, entry: Entry) -> bool:
        """Whether a whole leaf of an observation is noise."""
        return any(self.masks.get(path) is True for path in entry if path.startswith("obs"))

    def told(self) -> list[str]:
        """The noisy places, for the report."""
        known = [path for path in self.masks if path not in CLOCKS]
        return [
            path if self.masks[path] is True else f"{path} ({int(self.masks[path].sum())} elements)"
            for path in known
        ]


def compare(want: Entry, got: Entry, noise: Noise, *, more: bool = False) -> str | None:
    """The first difference outside ``noise``; ``more`` lets ``got`` have further entries."""
    for path in [*want, *(path for path in got if path not in want and not more)]:
        if more and path.endswith("{}"):
            continue  # lists of keys: what is missing shows by itself
        a, b, mask = want.get(path), got.get(path), noise.masks.get(path)
        if mask is True or _equal(a, b):
            continue
        if mask is not None and _is_array(a) and _is_array(b) and a.shape == b.shape:
            unequal = _unequal(a, b)
            if unequal.shape == mask.shape and not (unequal & ~mask).any():
                continue
        if path not in got:
            return f"{path} is missing"
        return f"{path}: {tell(a)} wanted, {tell(b)} got{_where(a, b)}"
    return None


def tell(value: Any, limit: int = 50) -> str:
    """A value on one short line."""
    if isinstance(value, np.ndarray):
        value = value.tolist() if value.size <= 6 else f"<array {value.shape} {value.dtype}>"
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _where(a: Any, b: Any) -> str:
    if not (_is_array(a) and _is_array(b) and a.shape == b.shape and a.size > 6):
        return ""
    unequal = _unequal(a, b)
    first = tuple(int(index) for index in np.argwhere(unequal)[0])
    return f" ({int(unequal.sum())} of {a.size} differ, first {first}: {a[first]!r}, {b[first]!r})"


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _equal(a: Any, b: Any) -> bool:
    if _is_array(a) != _is_array(b):
        return False
    if _is_array(a):
        return a.shape == b.shape and not _unequal(a, b).any()
    return type(a) is type(b) and bool(a == b)


def _unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays of one shape differ in value; NaN equals itself."""
    unequal = np.asarray(a != b)
    if a.dtype.kind in "fc" and b.dtype.kind in "fc":
        unequal &= ~(np.isnan(a) & np.isnan(b))
    return unequal

"""Whether two values are bit-identical, and where they differ first.

A value is compared element by element: dicts by key, lists and tuples by index,
structured, masked and object arrays by their elements. Types, dtypes and shapes count. Numbers are
compared by their bits: ``NaN`` equals itself, ``0.0`` is not ``-0.0``, a float32 is not a float64.
Other objects are the same if they are equal, or if their pickles are.
"""

from __future__ import annotations

import contextlib
import pickle
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

__all__ = [
    "NO_NOISE",
    "Difference",
    "Noise",
    "assert_same",
    "differences",
    "noise_between",
    "same_space",
]

CLOCKS = frozenset({"info['episode']['t']"})
"""Entries that Gymnasium's wrappers read from a clock: they are not part of a state."""

NAMED = 4
"""Elements of one array that :meth:`Noise.names` lists one by one."""

DICTS = (dict, types.MappingProxyType)
NUMBERS = (np.ndarray, np.generic, float, complex)
MISSING: Any = object()


class Difference(AssertionError):
    """Two values that should be the same are not. The message says where."""


@dataclass(frozen=True)
class Noise:
    """Places that are not compared: whole leaves, and single elements of arrays."""

    whole: frozenset[str] = frozenset()
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)  # True: left out

    def __bool__(self) -> bool:
        return bool(self.whole or self.parts)

    @property
    def paths(self) -> list[str]:
        """The leaves with noise in them."""
        return sorted({*self.whole, *self.parts})

    def within(self, *fields: str) -> Noise:
        """The noise in values whose path begins with one of ``fields``."""
        parts = {path: mask for path, mask in self.parts.items() if path.startswith(fields)}
        return Noise(frozenset(path for path in self.whole if path.startswith(fields)), parts)

    def names(self) -> list[str]:
        """The places by name: ``obs[3]`` is one element of an array."""
        names = sorted(self.whole)
        for path, mask in sorted(self.parts.items()):
            places = np.argwhere(mask).tolist()
            if len(places) > NAMED:
                names.append(f"{path} ({len(places)} of {mask.size} numbers)")
            else:
                names += [f"{path}[{', '.join(map(str, place))}]" for place in places]
        return names


NO_NOISE = Noise()


def assert_same(expected: Any, got: Any, path: str = "value") -> None:
    """Raise :class:`Difference` with the first place at which two values differ."""
    for where, text in differences(expected, got, path):
        raise Difference(f"{where}: {text}")


def differences(
    expected: Any, got: Any, path: str, noise: Noise = NO_NOISE, *, may_add: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield ``(path, how they differ)`` for each leaf in which two values differ.

    Args:
        expected, got: the values.
        path: their name in messages: ``"obs"`` has leaves such as ``obs['goal'][2]``.
        noise: places that are not compared.
        may_add: whether dicts in ``got`` may have more keys.
    """
    for leaf, one, other in _leaves(expected, got, path, noise):
        if one is MISSING and may_add:
            continue
        text = _difference(one, other, noise.parts.get(leaf))
        if text is not None:
            yield leaf, text


def noise_between(pairs: Iterable[tuple[Any, Any, str]]) -> Noise:
    """Where values that should be equal differ: pairs of them, each with its path."""
    whole: set[str] = set()
    parts: dict[str, np.ndarray] = {}
    for expected, got, path in pairs:
        for leaf, one, other in _leaves(expected, got, path, NO_NOISE):
            if leaf in whole or _difference(one, other, None) is None:
                continue
            mask, known = _wrong(one, other), parts.get(leaf)
            if mask is None or (known is not None and known.shape != mask.shape):
                whole.add(leaf)
                parts.pop(leaf, None)
            else:
                parts[leaf] = mask if known is None else known | mask
    return Noise(frozenset(whole), parts)


# ---- leaves -------------------------------------------------------------------------------------


def _leaves(
    one: Any, other: Any, path: str, noise: Noise, above: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """The pairs of leaves of two values, with ``MISSING`` if only one of them has a leaf."""
    pair = id(one), id(other)
    if path in CLOCKS or path in noise.whole or pair in above:  # a value may contain itself
        return
    parts = _parts(one, other)
    if parts is None:
        yield path, one, other
        return
    if isinstance(one, (list, tuple)) and len(one) != len(other):
        yield path, one, other
    for suffix, part, other_part in parts:
        yield from _leaves(part, other_part, path + suffix, noise, (*above, pair))


def _parts(one: Any, other: Any) -> list[tuple[str, Any, Any]] | None:
    """The pairs of elements of two containers of one type; ``None``: they are leaves."""
    if isinstance(one, DICTS) and isinstance(other, DICTS):
        keys = [*one, *(key for key in other if key not in one)]
        return [(f"[{key!r}]", one.get(key, MISSING), other.get(key, MISSING)) for key in keys]
    if type(one) is not type(other):
        return None
    if isinstance(one, (list, tuple)):
        pairs = zip(one, other, strict=False)
        return [(f"[{index}]", *pair) for index, pair in enumerate(pairs)]
    if not isinstance(one, (np.ndarray, np.void)):
        return None
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return None
    if isinstance(one, np.ma.MaskedArray):
        masks = np.ma.getmaskarray(one), np.ma.getmaskarray(other)
        return [(".data", one.data, other.data), (".mask", *masks)]
    if one.dtype.names:
        return [(f"[{name!r}]", one[name], other[name]) for name in one.dtype.names]
    if one.dtype == object:
        return [("", one.tolist(), other.tolist())]
    return None


def _difference(expected: Any, got: Any, mask: np.ndarray | None) -> str | None:
    """How two leaves differ outside ``mask``; ``None``: they do not."""
    if got is MISSING:
        return "missing"
    if expected is MISSING:
        return f"unexpected: {_short(got)}"
    if type(expected) is not type(got):
        return f"expected {_typed(expected)}, got {_typed(got)}"
    if isinstance(expected, NUMBERS):
        return _number_difference(np.asarray(expected), np.asarray(got), mask)
    if isinstance(expected, (list, tuple)):
        return f"expected length {len(expected)}, got {len(got)}"
    if expected is got or _are_equal(expected, got):
        return None
    return f"expected {_short(expected)}, got {_short(got)}"


def _number_difference(
    expected: np.ndarray, got: np.ndarray, mask: np.ndarray | None
) -> str | None:
    if (expected.shape, expected.dtype) != (got.shape, got.dtype):
        return (
            f"expected shape {expected.shape} of {expected.dtype}, "
            f"got shape {got.shape} of {got.dtype}"
        )
    if expected.tobytes() == got.tobytes():
        return None
    if expected.ndim == 0:
        return f"expected {expected.item()!r}, got {got.item()!r}"
    wrong = _unlike(expected, got)
    if mask is not None and mask.shape == wrong.shape:
        wrong &= ~mask
        if not wrong.any():
            return None
    first = tuple(int(index) for index in np.argwhere(wrong)[0])
    return (
        f"expected {expected[first].item()!r}, got {got[first].item()!r} at {list(first)}; "
        f"{int(wrong.sum())} of {wrong.size} numbers differ"
    )


def _wrong(expected: Any, got: Any) -> np.ndarray | None:
    """Which elements of two arrays differ; ``None`` if they cannot be compared by element."""
    arrays = isinstance(expected, np.ndarray) and isinstance(got, np.ndarray)
    if not arrays or (expected.shape, expected.dtype) != (got.shape, got.dtype):
        return None
    return _unlike(expected, got) if expected.ndim else None


def _unlike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    bits = [
        np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(*array.shape, -1)
        for array in (one, other)
    ]
    return (bits[0] != bits[1]).any(-1)


def _are_equal(expected: Any, got: Any) -> bool:
    """Whether two objects or their pickles are equal; a foreign ``__eq__`` may raise anything."""
    with contextlib.suppress(Exception):
        if bool(expected == got):
            return True
    with contextlib.suppress(Exception):
        return pickle.dumps(expected) == pickle.dumps(got)
    return False


def _typed(value: Any) -> str:
    return f"{_short(value)} ({type(value).__name__})"


def _short(value: Any, limit: int = 60) -> str:
    """``repr(value)`` on one line of at most ``limit`` characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a foreign __repr__ may raise anything
        text = object.__repr__(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def same_space(one: spaces.Space, other: spaces.Space) -> bool:
    """Whether two spaces are equal; those of a class without ``==`` if class, shape, dtype are."""
    if isinstance(one, spaces.Dict) and isinstance(other, spaces.Dict):
        return one.keys() == other.keys() and all(same_space(one[key], other[key]) for key in one)
    if isinstance(one, spaces.Tuple) and isinstance(other, spaces.Tuple):
        return len(one) == len(other) and all(map(same_space, one, other))
    if type(one).__eq__ is not object.__eq__:
        return bool(one == other)
    kinds = [(type(space).__module__, type(space).__qualname__) for space in (one, other)]
    return kinds[0] == kinds[1] and (one.shape, one.dtype) == (other.shape, other.dtype)

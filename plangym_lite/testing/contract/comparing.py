"""Comparing what environments answer, bit for bit, and saying where two answers part."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

__all__ = [
    "NO_NOISE",
    "Difference",
    "Noise",
    "differences",
    "noise_between",
    "row_of",
    "shortly",
    "size_of",
]

CLOCKS = frozenset({"info['episode']['t']"})
"""Entries that Gymnasium's wrappers read from a clock: no state can hold them."""
NAMED = 4  # numbers of one array that a note names one by one


class Difference(AssertionError):
    """Two answers that should be the same are not. The message says where."""


@dataclass(frozen=True)
class Noise:
    """Places that are left out: whole leaves, and single elements of arrays."""

    whole: frozenset[str] = frozenset()
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)  # True: left out

    def __bool__(self) -> bool:
        return bool(self.whole or self.parts)

    def names(self) -> list[str]:
        """The places by name: ``obs[3]`` is one number of an array."""
        names = sorted(self.whole)
        for path, mask in sorted(self.parts.items()):
            places = np.argwhere(mask).tolist()
            if len(places) > NAMED:
                names.append(f"{path} ({len(places)} of {mask.size} numbers)")
            else:
                names += [f"{path}[{', '.join(map(str, place))}]" for place in places]
        return names


NO_NOISE = Noise()


def differences(
    expected: Any, got: Any, path: str, noise: Noise = NO_NOISE
) -> Iterator[tuple[str, str]]:
    """Yield ``(path, how they differ)`` for each leaf in which two nested values differ.

    Numbers and arrays are compared by type and bits: ``NaN`` equals itself, ``0.0`` is not ``-0.0``
    and a float32 is not a float64. What is known as ``noise`` is left out.
    """
    for leaf, one, other, text in _leaves(expected, got, path, noise):
        mask = noise.parts.get(leaf) if noise.parts else None
        text = text or _leaf_difference(one, other, mask)
        if text is not None:
            yield leaf, text


def noise_between(pairs: Iterable[tuple[Any, Any, str]]) -> Noise:
    """Where values that should be equal differ: pairs of them, each with its path."""
    whole: set[str] = set()
    parts: dict[str, np.ndarray] = {}
    for expected, got, path in pairs:
        for leaf, one, other, text in _leaves(expected, got, path, NO_NOISE):
            if leaf in whole or (text is None and _leaf_difference(one, other) is None):
                continue
            mask = None if text is not None else _wrong(one, other)
            known = parts.get(leaf)
            if mask is None or (known is not None and known.shape != mask.shape):
                whole.add(leaf)
                parts.pop(leaf, None)
            else:
                parts[leaf] = mask if known is None else known | mask
    return Noise(frozenset(whole), parts)


def _leaves(
    expected: Any, got: Any, path: str, noise: Noise
) -> Iterator[tuple[str, Any, Any, str | None]]:
    """The leaves of two nested values side by side; a text where their nesting differs."""
    if path in CLOCKS or path in noise.whole:
        return
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in [*expected, *(key for key in got if key not in expected)]:
            inner = f"{path}[{key!r}]"
            if key in got and key in expected:
                yield from _leaves(expected[key], got[key], inner, noise)
            elif inner not in noise.whole and inner not in CLOCKS:
                text = "missing" if key not in got else f"unexpected: {shortly(got[key])}"
                yield inner, None, None, text
    elif isinstance(expected, (list, tuple)) and type(expected) is type(got):
        if len(expected) != len(got):
            yield path, expected, got, f"expected length {len(expected)}, got {len(got)}"
        for index, (one, other) in enumerate(zip(expected, got, strict=False)):
            yield from _leaves(one, other, f"{path}[{index}]", noise)
    elif _hold_objects(expected, got):
        yield from _leaves(expected.tolist(), got.tolist(), path, noise)
    else:
        yield path, expected, got, None


def _hold_objects(expected: Any, got: Any) -> bool:
    """Whether both are arrays of objects of one shape, to be compared object by object."""
    arrays = isinstance(expected, np.ndarray) and isinstance(got, np.ndarray)
    return arrays and expected.dtype == got.dtype == object and expected.shape == got.shape


def _leaf_difference(expected: Any, got: Any, mask: np.ndarray | None = None) -> str | None:
    if type(expected) is not type(got):
        return f"expected {_typed(expected)}, got {_typed(got)}"
    if isinstance(expected, (np.ndarray, np.generic, float)):
        return _number_difference(np.asarray(expected), np.asarray(got), mask)
    if expected is got or _equal(expected, got):
        return None
    return f"expected {shortly(expected)}, got {shortly(got)}"


def _number_difference(
    expected: np.ndarray, got: np.ndarray, mask: np.ndarray | None = None
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
    wrong = (_bits(expected) != _bits(got)).any(-1)
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
    """Which elements of two arrays differ; ``None`` where they cannot be told apart."""
    arrays = isinstance(expected, np.ndarray) and isinstance(got, np.ndarray)
    if not arrays or (expected.shape, expected.dtype) != (got.shape, got.dtype):
        return None
    if expected.ndim == 0 or expected.dtype == object:
        return None
    return (_bits(expected) != _bits(got)).any(-1)


def _bits(array: np.ndarray) -> np.ndarray:
    """The bytes of each number, along a new last axis."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(*array.shape, array.dtype.itemsize)


def _equal(expected: Any, got: Any) -> bool:
    try:
        return bool(expected == got) or pickle.dumps(expected) == pickle.dumps(got)
    except Exception:  # a foreign __eq__ or __reduce__ may raise anything
        return False


def _typed(value: Any) -> str:
    return f"{shortly(value)} ({type(value).__name__})"


def shortly(value: Any, limit: int = 60) -> str:
    """``repr(value)`` on one line of at most ``limit`` characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def row_of(space: Any, columns: Any, row: int) -> Any:
    """One observation out of the observations of a batch."""
    if isinstance(space, spaces.Dict):
        return {key: row_of(part, columns[key], row) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        parts = zip(space.spaces, columns, strict=True)
        return tuple(row_of(part, column, row) for part, column in parts)
    return columns[row]


def size_of(state: Any) -> int:
    """Bytes of a state: of its array, or of its pickle."""
    return state.nbytes if isinstance(state, np.ndarray) else len(pickle.dumps(state))

"""Comparing what environments answer, bit for bit, and saying where two answers part."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

__all__ = ["Difference", "differences", "is_clock", "row_of", "shortly", "size_of"]

CLOCKS = frozenset({"info['episode']['t']"})
"""Entries that Gymnasium's wrappers read from a clock: no state can hold them."""


class Difference(AssertionError):
    """Two answers that should be the same are not. The message says where."""


def is_clock(path: str) -> bool:
    """Whether an entry of a step is known to be read from a clock."""
    return path in CLOCKS


def differences(expected: Any, got: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield ``(path, how they differ)`` for each leaf in which two nested values differ.

    Numbers and arrays are compared by type and bits: ``NaN`` equals itself, ``0.0`` is not ``-0.0``
    and a float32 is not a float64.
    """
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in [*expected, *(key for key in got if key not in expected)]:
            inner = f"{path}[{key!r}]"
            if key not in got or key not in expected:
                yield inner, "missing" if key not in got else f"unexpected: {shortly(got[key])}"
            else:
                yield from differences(expected[key], got[key], inner)
    elif isinstance(expected, (list, tuple)) and type(expected) is type(got):
        if len(expected) != len(got):
            yield path, f"expected length {len(expected)}, got {len(got)}"
        for index, (one, other) in enumerate(zip(expected, got, strict=False)):
            yield from differences(one, other, f"{path}[{index}]")
    elif _hold_objects(expected, got):
        yield from differences(expected.tolist(), got.tolist(), path)
    else:
        text = _leaf_difference(expected, got)
        if text is not None:
            yield path, text


def _hold_objects(expected: Any, got: Any) -> bool:
    """Whether both are arrays of objects of one shape, to be compared object by object."""
    arrays = isinstance(expected, np.ndarray) and isinstance(got, np.ndarray)
    return arrays and expected.dtype == got.dtype == object and expected.shape == got.shape


def _leaf_difference(expected: Any, got: Any) -> str | None:
    if type(expected) is not type(got):
        return f"expected {_typed(expected)}, got {_typed(got)}"
    if isinstance(expected, (np.ndarray, np.generic, float)):
        return _number_difference(np.asarray(expected), np.asarray(got))
    if expected is got or _equal(expected, got):
        return None
    return f"expected {shortly(expected)}, got {shortly(got)}"


def _number_difference(expected: np.ndarray, got: np.ndarray) -> str | None:
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
    first = tuple(int(index) for index in np.argwhere(wrong)[0])
    return (
        f"expected {expected[first].item()!r}, got {got[first].item()!r} at {list(first)}; "
        f"{int(wrong.sum())} of {wrong.size} numbers differ"
    )


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

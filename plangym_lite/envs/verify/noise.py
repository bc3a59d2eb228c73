"""Results of a run as tokens that can be stored and compared bit for bit.

A *tape* holds the results of each move. Two tapes are compared place by place: a place is one
element of an array, or a leaf that is not an array. Places at which two equal runs of the
environment itself differ are *noise*; only these places are left out of comparisons.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Noise", "Tape", "attempt", "differences", "noise_of", "tokens_of"]

CLOCK = "info['episode']['t']"
"""Info entries that Gymnasium's RecordEpisodeStatistics reads from a clock."""

Tape = list[dict[str, Any]]
"""The results of each move: tokens by their path."""

Noise = dict[str, Any]
"""By path, a mask of the elements that are noise; ``None``: all of them."""


def attempt(function: Callable[[], Any]) -> tuple[Any, str]:
    """The result of ``function`` and ``""``, or ``None`` and the error that it raised."""
    try:
        return function(), ""
    except Exception as error:  # a foreign environment may raise anything
        return None, f"{type(error).__name__}: {error}"


def tokens_of(value: Any, path: str) -> dict[str, Any]:
    """The leaves of a nested value, by path, as copies that can be compared bit for bit."""
    if isinstance(value, dict):
        parts = [(f"{path}[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}[{index}]", part) for index, part in enumerate(value)]
    elif isinstance(value, np.ndarray):
        return {path: repr(value) if value.dtype.hasobject else np.array(value)}
    elif isinstance(value, (np.generic, float)):
        return {path: (type(value), np.asarray(value).tobytes(), repr(value))}
    elif isinstance(value, (int, str, bytes, bool, type(None))):
        return {path: value}
    else:
        data, error = attempt(lambda: pickle.dumps(value))
        return {path: (type(value), data if not error else None)}
    return {name: token for key, part in parts for name, token in tokens_of(part, key).items()}


def differences(expected: Tape, got: Tape, noise: Noise | None = None) -> dict[str, str]:
    """How a tape differs from the expected one: the first difference of each path, in order.

    Paths that are only in ``got`` are ignored: our infos have additional entries.
    """
    found: dict[str, str] = {}
    for step, (one, other) in enumerate(zip(expected, got, strict=False)):
        for path in one:
            if path in found or path == CLOCK:
                continue
            excused = (noise or {}).get(path, False)
            if excused is None:
                continue
            text = _difference(one[path], other.get(path, "(missing)"), excused)
            if text:
                found[path] = f"step {step}: {text}"
        if "raised" in other and "raised" not in one:
            return {"an error": f"step {step}: {other['raised']}"}
    if len(expected) != len(got):
        found["moves"] = f"{len(expected)} expected, {len(got)} seen"
    return found


def noise_of(one: Tape, other: Tape) -> Noise:
    """The places at which two tapes of equal runs differ."""
    noise: Noise = {}
    for first, second in zip(one, other, strict=False):
        for path in [*first, *(path for path in second if path not in first)]:
            pair = first.get(path), second.get(path)
            if noise.get(path, False) is None or path == CLOCK or not _difference(*pair, False):
                continue
            if not _are_alike(*pair):
                noise[path] = None
            elif path not in noise or noise[path].shape == pair[0].shape:  # type: ignore[union-attr]
                noise[path] = noise.get(path, False) | _unlike(*pair)
            else:
                noise[path] = None
    return noise


def _are_alike(one: Any, other: Any) -> bool:
    """Whether both are arrays of the same shape and dtype."""
    arrays = isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
    return arrays and (one.shape, one.dtype) == (other.shape, other.dtype)


def _unlike(one: Any, other: Any) -> np.ndarray:
    """Where two arrays of the same shape differ bitwise."""
    bits = [
        np.ascontiguousarray(each).reshape(-1).view(np.uint8).reshape(*each.shape, -1)
        for each in (one, other)
    ]
    return (bits[0] != bits[1]).any(-1)


def _difference(one: Any, other: Any, excused: Any) -> str:
    if _are_alike(one, other):
        if one.tobytes() == other.tobytes():
            return ""
        unlike = _unlike(one, other)
        if excused is not False and excused.shape == unlike.shape:
            unlike &= ~excused
        if not unlike.any():
            return ""
    elif not isinstance(one, np.ndarray) and not isinstance(other, np.ndarray) and one == other:
        return ""
    return f"{_told(one)} expected, {_told(other)} seen"


def _told(token: Any) -> str:
    if isinstance(token, tuple) and len(token) == 3:
        token = token[2]
    text = " ".join(str(token.tolist() if isinstance(token, np.ndarray) else token).split())
    return text if len(text) <= 60 else text[:57] + "..."

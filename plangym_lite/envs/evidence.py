"""What an exam of :mod:`.certify` sees, as tokens that can be kept and compared bit for bit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Tape", "attempt", "differences", "tokens_of"]

CLOCK = "info['episode']['t']"
"""What Gymnasium's RecordEpisodeStatistics reads from a clock."""

Tape = list[dict[str, Any]]
"""What was seen after each move: tokens by their path."""


def attempt(function: Callable[[], Any]) -> tuple[Any, str]:
    """What ``function`` returns, and the error that it raises instead."""
    try:
        return function(), ""
    except Exception as error:  # a foreign environment may raise anything
        return None, f"{type(error).__name__}: {error}"


def tokens_of(value: Any, path: str) -> dict[str, Any]:
    """The leaves of a nested value as copies that can be compared bit for bit."""
    if isinstance(value, dict):
        parts = [(f"{path}[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}[{index}]", part) for index, part in enumerate(value)]
    elif isinstance(value, (np.ndarray, np.generic, float)):
        array = np.asarray(value)
        if array.dtype.hasobject:
            return {path: repr(value)}
        return {path: (type(value), array.shape, array.dtype, array.tobytes())}
    elif isinstance(value, (int, str, bytes, bool, type(None))):
        return {path: value}
    else:
        data, error = attempt(lambda: pickle.dumps(value))
        return {path: (type(value), data if not error else None)}
    return {name: token for key, part in parts for name, token in tokens_of(part, key).items()}


def differences(expected: Tape, got: Tape) -> dict[str, str]:
    """How two tapes differ, by path; the first difference of each, in order."""
    found: dict[str, str] = {}
    if len(expected) != len(got):
        found["moves"] = f"{len(expected)} before, {len(got)} after"
    for step, (one, other) in enumerate(zip(expected, got, strict=False)):
        for path in [*one, *(path for path in other if path not in one)]:
            if path not in found and path != CLOCK and one.get(path) != other.get(path):
                told = _told(one.get(path)), _told(other.get(path))
                found[path] = f"step {step}: {told[0]} before, {told[1]} after"
    return found


def _told(token: Any) -> str:
    if isinstance(token, tuple) and len(token) == 4:
        token = np.frombuffer(token[3], token[2]).reshape(token[1]).tolist()
    text = " ".join(repr(token).split())
    return text if len(text) <= 60 else text[:57] + "..."

"""Recordings of the results of an environment, for bitwise comparison.

A *recording* holds an entry for each move: values by name, or the error that was raised. Places at
which two equal runs of the environment itself differ are *noise*; only these are not compared.
"""

from __future__ import annotations

import pickle
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.errors import InvalidStepError
from plangym_lite.nested import NO_NOISE, Noise, differences, noise_between

__all__ = [
    "Entry",
    "Recording",
    "attempt",
    "compare",
    "entry_of",
    "is_invalid",
    "is_over",
    "kept",
    "legal_or_next",
    "noise_of",
]

Entry = dict[str, Any]
"""The results of a move: obs, reward, terminated, truncated and info, or the error."""

Recording = list[Entry]

RAISED = "raised"
OUR_KEYS = ("n_step", "dt")  # of infos
ATOMS = (np.generic, int, float, complex, str, bytes, bool, type(None))


@dataclass(frozen=True, repr=False)
class Opaque:
    """A recorded object: two are equal if they have the same type and the same pickle, if any."""

    kind: type
    pickled: bytes | None

    def __repr__(self) -> str:
        return f"{self.kind.__qualname__} {(self.pickled or b'').hex()[-40:]}"


def attempt(function: Callable[[], Any]) -> tuple[Any, str]:
    """The result of ``function`` and ``""``, or ``None`` and the error that it raised."""
    try:
        return function(), ""
    except Exception as error:  # a foreign environment may raise anything
        return None, f"{type(error).__name__}: {error}"


def entry_of(answer: Callable[[], tuple[Any, Any, bool, bool, Any]]) -> Entry:
    """The entry of what ``answer()`` returns: obs, reward, terminated, truncated and info."""
    made, error = attempt(lambda: _seen(*answer()))
    return {RAISED: error} if made is None else made


def _seen(obs: Any, reward: Any, terminated: bool, truncated: bool, info: Any) -> Entry:
    info = {key: info[key] for key in info if key not in OUR_KEYS} if info else {}
    return {
        "obs": kept(obs),
        "reward": attempt(lambda: 0.0 + float(np.asarray(reward).item()))[0],
        "terminated": bool(terminated),
        "truncated": bool(truncated),
        "info": kept(info),
    }


def kept(value: Any, above: tuple[int, ...] = ()) -> Any:
    """A copy of the value that later changes of its parts do not affect."""
    if isinstance(value, ATOMS) and type(value) is not np.void:
        return value
    if id(value) in above:
        return Opaque(type(value), None)
    above = (*above, id(value))
    if isinstance(value, (dict, types.MappingProxyType)):
        return {key: kept(part, above) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [kept(part, above) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.copy()
    if isinstance(value, np.ndarray) and value.dtype == object:
        flat = np.empty(value.size, object)
        for place, part in enumerate(value.ravel().tolist()):
            flat[place] = kept(part, above)
        return flat.reshape(value.shape)
    if isinstance(value, (set, frozenset)) and all(isinstance(part, ATOMS) for part in value):
        return frozenset(value)
    return Opaque(type(value), attempt(lambda: pickle.dumps(value))[0])


def is_over(entry: Entry) -> bool:
    """Whether the episode ends with this entry."""
    return RAISED in entry or entry["terminated"] or entry["truncated"]


def is_invalid(entry: Entry) -> bool:
    """Whether the environment returned something else than Gymnasium asks for."""
    return entry.get(RAISED, "").startswith(InvalidStepError.__name__)


def legal_or_next(space: Any, action: Any, info: Any) -> Any:
    """The action; if ``info["action_mask"]`` forbids it, the next one that it allows."""
    mask = info.get("action_mask") if isinstance(info, dict) else None
    if mask is None or not isinstance(space, spaces.Discrete) or np.shape(mask) != (space.n,):
        return action
    legal = np.flatnonzero(mask) + space.start
    if not legal.size:
        return action
    return type(action)(legal[np.searchsorted(legal, action) % legal.size])


def compare(expected: Recording, got: Recording, noise: Noise = NO_NOISE) -> dict[str, str]:
    """How a recording differs from the expected one: the first difference of each place, in order.

    Entries that are only in ``got`` are ignored: our infos have additional ones.
    """
    found: dict[str, str] = {}
    for step, (one, other) in enumerate(zip(expected, got, strict=False)):
        if is_invalid(one) and is_invalid(other):
            continue  # the texts name different environments
        if RAISED in other and RAISED not in one:
            return {"an error": f"step {step}: {other[RAISED]}"}
        for name in one:
            values = one[name], other.get(name, "(missing)")
            for path, text in differences(*values, name, noise, may_add=True):
                found.setdefault(path, f"step {step}: {text}")
    if len(expected) != len(got):
        found["moves"] = f"{len(expected)} expected, {len(got)} seen"
    return found


def noise_of(one: Recording, other: Recording) -> Noise:
    """The places at which two equal runs differ."""
    return noise_between(
        (first.get(name), second.get(name), name)
        for first, second in zip(one, other, strict=False)
        for name in dict.fromkeys([*first, *second])
    )

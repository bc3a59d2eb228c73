"""Pickles of any length in arrays of fixed length: the length, the pickle, zeros. Infos."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = ["CAPACITY_STEP", "LENGTH_BYTES", "intern_keys", "pack", "pack_info", "unpack"]

LENGTH_BYTES = 4
CAPACITY_STEP = 64  # bytes


def intern_keys(value: Any) -> Any:
    """``value``, with the keys of nested dicts interned, as those that stand in code are.

    A pickle tells which equal strings are one object: so a restored state is saved as the same.
    """
    if type(value) is tuple:
        return tuple(map(intern_keys, value))
    if type(value) is dict:
        items = [(key, intern_keys(part)) for key, part in value.items()]
        value.clear()
        value.update((sys.intern(key) if type(key) is str else key, part) for key, part in items)
    return value


def pack(data: bytes, out: np.ndarray, env: Any, too_long: type[Exception]) -> np.ndarray:
    """Write a state of ``env``, a pickle, into ``out``, [S] uint8, or raise ``too_long``."""
    end = LENGTH_BYTES + len(data)
    if end > len(out):
        raise too_long(
            f"a state of {env!r} needs {end} bytes, more than state_capacity={len(out)}: pass a "
            "larger one, or array_state=False"
        )
    out[:LENGTH_BYTES] = np.frombuffer(len(data).to_bytes(LENGTH_BYTES, "little"), np.uint8)
    out[LENGTH_BYTES:end] = np.frombuffer(data, np.uint8)
    out[end:] = 0
    return out


def pack_info(info: dict[str, Any]) -> bytes:
    """An info as a pickle, without the entries that cannot be pickled."""
    try:
        return pickle.dumps(info)
    except Exception:  # a user's class may raise anything
        return pickle.dumps({name: info[name] for name in info if _is_picklable(info[name])})


def _is_picklable(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True


def unpack(state: np.ndarray, env: Any) -> bytes:
    """The pickle in a state of ``env``; ``InvalidStateError`` if there is none."""
    data = state.tobytes()
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    if end > len(data):
        raise InvalidStateError(f"not a state of {env!r}: {end} bytes in {len(data)}")
    return data[LENGTH_BYTES:end]

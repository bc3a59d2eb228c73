"""States on disk: ``save_states`` and ``load_states``, in numpy's ``.npz`` format.

A file carries the fingerprint of its environment, which includes the layout of its states; other
environments refuse it. It is read without unpickling anything. Opaque states and those of the
generic snapshot are, or hold, pickles, and restoring a pickle can run any code: they are refused
unless ``trusted=True``.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.errors import InvalidStateError
from plangym_lite.states.archive import reading
from plangym_lite.validation import check_states

__all__ = ["load_states", "save_states", "state_columns"]

FORMAT = 1
"""Version of the file format."""
LAYOUT = re.compile(r"layout=([0-9.]+)")


def save_states(path: str | os.PathLike[str], env: PlanEnv, states: Any) -> None:
    """Write states of ``env`` to ``path``: a ``[B, S]`` array, or a sequence of states.

    Raises:
        InvalidStateError: they are not states of ``env``.
    """
    columns = state_columns(env, states)
    with open(path, "wb") as file:
        np.savez(file, **columns)


def state_columns(env: PlanEnv, states: Any) -> dict[str, Any]:
    """The arrays that ``save_states`` writes, for a file that holds more than states."""
    rows = check_states(env.batch_spec, states)
    columns: dict[str, Any] = {"fingerprint": np.array(env.fingerprint), "format": np.array(FORMAT)}
    if env.batch_spec.state_shape is None:
        pickles = [np.frombuffer(pickle.dumps(state), np.uint8) for state in rows]
        columns["lengths"] = np.array([len(data) for data in pickles], np.int64)
        columns["pickles"] = np.concatenate([np.zeros(0, np.uint8), *pickles])
    else:
        shape, dtype = env.batch_spec.state_shape, env.batch_spec.state_dtype
        columns["states"] = np.array(rows, dtype).reshape(len(rows), *shape)
    return columns


def load_states(path: str | os.PathLike[str], env: PlanEnv, *, trusted: bool = False) -> Any:
    """The states in ``path``, for ``env``: a ``[B, S]`` array, or ``[B]`` objects if opaque.

    Args:
        path: a file that ``save_states`` wrote.
        env: the environment that the states are for.
        trusted: accept states that hold pickles. Use it only if you would let the author of the
            file run any code here. It has no effect if ``env.states_are_data``.

    Raises:
        InvalidStateError: the file holds no states, states of another environment, or pickles.
    """
    with reading(path, "states") as columns:
        fingerprint = str(columns["fingerprint"])
        written = int(columns.get("format", np.array(FORMAT)))
    _check_origin(path, fingerprint, written, env)
    if not (trusted or env.states_are_data):
        raise InvalidStateError(
            f"states of {env!r} hold pickles, which can run any program when they are restored: "
            f"if you trust whoever wrote {path}, pass trusted=True"
        )
    opaque = env.batch_spec.state_shape is None
    missing = {"pickles", "lengths"} - set(columns) if opaque else {"states"} - set(columns)
    if missing:
        raise InvalidStateError(f"{path} holds no states: it lacks {sorted(missing)}")
    if opaque:
        return _unpickled(columns["pickles"].tobytes(), columns["lengths"].tolist())
    return check_states(env.batch_spec, columns["states"])


def _check_origin(path: Any, fingerprint: str, written: int, env: PlanEnv) -> None:
    if written != FORMAT:
        raise InvalidStateError(
            f"{path} was written in format {written} by another version of plangym_lite; this one "
            f"reads format {FORMAT}"
        )
    if fingerprint == env.fingerprint:
        return
    theirs, ours = (LAYOUT.search(text) for text in (fingerprint, env.fingerprint))
    if theirs and ours and theirs[1] != ours[1]:
        named = LAYOUT.sub(ours[0], fingerprint)
        if named.partition(" states=")[0] == env.fingerprint.partition(" states=")[0]:
            raise InvalidStateError(
                f"{path} holds states of layout {theirs[1]}, and this version of plangym_lite "
                f"reads layout {ours[1]}: {fingerprint}; this one is: {env.fingerprint}"
            )
    raise InvalidStateError(
        f"{path} holds states of another environment or version: {fingerprint}; "
        f"this one is: {env.fingerprint}"
    )


def _unpickled(data: bytes, lengths: Sequence[int]) -> np.ndarray:
    states = np.empty(len(lengths), object)
    start = 0
    for row, length in enumerate(lengths):
        states[row] = pickle.loads(data[start : start + length])
        start += length
    return states

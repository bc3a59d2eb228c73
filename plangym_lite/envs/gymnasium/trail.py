"""Trail: a state that is replayed: how the episode began, its actions, where it was seeded."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from plangym_lite.nested import ARRAY_SPACES
from plangym_lite.stable import register, stable_reduce

__all__ = ["Place", "Root", "Trail", "actions_in", "to_bytes"]

FLOATS = frozenset("efd")  # half, single and double, as numpy's type characters


class Root(NamedTuple):
    """How an episode began."""

    seed: int
    options: bytes | None  # pickled
    wrappers: bytes | None  # the state of the wrappers before the reset

    def __reduce__(self) -> tuple[Any, ...]:
        return stable_reduce("Root", *self)


register("Root", Root)


class Place(NamedTuple):
    """A state of an episode: how it got there."""

    frames: bytes = b""  # the actions, one after another
    seeds: tuple[tuple[int, int], ...] = ()  # length of the actions before, and what was seeded

    def is_on_the_way(self, there: Place) -> bool:
        """Whether the episode came by here before it was ``there``."""
        count, length = len(self.seeds), len(self.frames)
        return (
            there.frames.startswith(self.frames)
            and there.seeds[:count] == self.seeds
            and all(at >= length for at, _ in there.seeds[count:])
        )


class Trail(NamedTuple):
    """A state: picklable and comparable; its size grows with the episode."""

    root: Root
    frames: bytes  # the actions, one after another
    ended: int
    seeds: tuple[tuple[int, int], ...] = ()  # see Place

    def __reduce__(self) -> tuple[Any, ...]:
        return stable_reduce("Trail", *self)


register("Trail", Trail)


def _is_short(space: Any) -> bool:
    return isinstance(space, spaces.Discrete) and space.n <= 256


def to_bytes(space: Any, action: Any) -> bytes:
    """An action as bytes that can be joined and split; of a ``Box`` the first says the dtype."""
    if _is_short(space):
        return bytes((int(action) - int(space.start),))
    if isinstance(space, spaces.Box):
        array = np.asarray(action)
        kind: str = array.dtype.char
        if kind not in FLOATS or space.dtype.kind != "f":
            array, kind = array.astype(space.dtype), " "
        return kind.encode() + array.tobytes()
    if isinstance(space, ARRAY_SPACES):
        return np.asarray(action, space.dtype).tobytes()
    return pickle.dumps(action)


def actions_in(space: Any, frames: bytes) -> Iterator[Any]:
    """The actions of a space that ``to_bytes`` made these bytes of."""
    if _is_short(space):
        for number in frames:
            yield space.dtype.type(number + space.start)
    elif isinstance(space, spaces.Box):
        yield from _boxes_in(space, frames)
    elif isinstance(space, ARRAY_SPACES):
        shape: Any = space.shape
        for action in np.frombuffer(frames, space.dtype).reshape(-1, *shape):
            yield np.array(action) if shape else action
    else:
        stream = io.BytesIO(frames)
        while stream.tell() < len(frames):
            yield pickle.load(stream)


def _boxes_in(space: spaces.Box, frames: bytes) -> Iterator[Any]:
    size, at = int(np.prod(space.shape, dtype=int)), 0
    while at < len(frames):
        kind = frames[at : at + 1].decode()
        dtype = space.dtype if kind == " " else np.dtype(kind)
        end = at + 1 + size * dtype.itemsize
        action = np.frombuffer(frames[at + 1 : end], dtype).reshape(space.shape)
        yield action.copy() if space.shape else action[()]
        at = end

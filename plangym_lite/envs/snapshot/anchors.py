"""Anchors: objects that stay with their environment. Which of their content is part of a state."""

from __future__ import annotations

import functools
import struct
import types
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle, RecordConstructorArgs

from plangym_lite.envs.generators.generator import (
    GENERATOR_WORDS,
    generator_to_words,
    words_to_generator,
)
from plangym_lite.envs.snapshot.kinds import slots_of, stays

__all__ = [
    "action_spaces",
    "atoms_of",
    "checksum_of",
    "content_of",
    "has_attributes",
    "is_handle",
    "put_back",
    "space_words",
    "words_to_spaces",
]

SPACE_WORDS = struct.Struct(f"<{1 + GENERATOR_WORDS}I")
NO_GENERATOR = bytes(SPACE_WORDS.size)
ATOMS = (int, float, str, bytes, bool, type(None))
CONSTANT_NAMES = frozenset({"spec", "_cached_spec", "metadata", "_metadata"})
"""Attributes that Gymnasium defines to describe an environment."""


def checksum_of(array: np.ndarray) -> int:
    """A checksum of the content of an array."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)


def action_spaces(layers: Sequence[gym.Env]) -> Iterator[Any]:
    """The action spaces and their subspaces, whose generators draw actions."""
    todo: list[Any] = [layer.action_space for layer in layers]
    seen: set[int] = set()
    while todo:
        space = todo.pop(0)
        if space is None or id(space) in seen:
            continue
        seen.add(id(space))
        yield space
        inner = getattr(space, "spaces", ())
        todo += inner.values() if isinstance(inner, dict) else list(inner)
        todo += [getattr(space, name, None) for name in ("feature_space", "node_space")]


def content_of(anchor: Any, skipped: set[str], made: dict[str, Any] | None = None) -> Any:
    """The content of an anchor that may change, without the ``skipped`` attributes; ``made``: its
    initial atoms.
    """
    if isinstance(anchor, types.FunctionType):
        return _function_content(anchor)
    if isinstance(anchor, (spaces.Space, np.ndarray)) or not has_attributes(anchor):
        return None
    kind: Any = type(anchor)
    names: Any = _constant_names(kind)
    if skipped:
        names = names | skipped
    attributes = vars(anchor)
    if made:
        names = names | _unchanged(anchor, made)
    if names:
        attributes = {key: value for key, value in attributes.items() if key not in names}
    slots = _slots_of(kind)
    if not slots:
        return attributes, None
    return attributes, {key: getattr(anchor, key) for key in slots if hasattr(anchor, key)}


@functools.lru_cache(4096)
def _slots_of(kind: Any) -> tuple[str, ...]:
    return slots_of(kind)


def is_handle(anchor: Any) -> bool:
    """Whether other code may identify it by a number or string that it holds."""
    return has_attributes(anchor) and not isinstance(anchor, gym.Env)


def atoms_of(handle: Any) -> dict[str, Any]:
    """Numbers and strings of a handle; initial values belong to it, not to the state."""
    return {key: value for key, value in vars(handle).items() if isinstance(value, ATOMS)}


def _unchanged(handle: Any, made: dict[str, Any]) -> set[str]:
    present = atoms_of(handle)
    return {key for key, value in made.items() if present.get(key, made) == value}


def words_to_spaces(words: bytes, found: Sequence[Any]) -> None:
    """Restore the generators of action spaces from ``space_words``."""
    for index, space in enumerate(found):
        given, *numbers = SPACE_WORDS.unpack_from(words, index * SPACE_WORDS.size)
        if not given:
            space._np_random = None
            continue
        if space._np_random is None:
            space._np_random = np.random.default_rng(0)
        words_to_generator(numbers, space._np_random)


def space_words(space: Any) -> bytes:
    """The generator of an action space as bytes of fixed length."""
    generator = space._np_random
    if generator is None or type(generator.bit_generator) is not np.random.PCG64:
        return NO_GENERATOR
    return SPACE_WORDS.pack(1, *generator_to_words(generator))


def has_attributes(anchor: Any) -> bool:
    """Whether attributes of an anchor are part of the state."""
    if isinstance(anchor, gym.Env):
        return True
    kind = type(anchor)
    return hasattr(kind, "__del__") and hasattr(anchor, "__dict__") and not stays(kind)


@functools.lru_cache(4096)
def _constant_names(kind: Any) -> frozenset[str]:
    """Attributes in which Gymnasium's classes keep how an environment was made."""
    names = CONSTANT_NAMES if issubclass(kind, gym.Env) else frozenset()
    if issubclass(kind, RecordConstructorArgs):
        names |= {"_saved_kwargs"}
    if issubclass(kind, EzPickle):
        names |= {"_ezpickle_args", "_ezpickle_kwargs"}
    return names


def _function_content(function: types.FunctionType) -> Any:
    """What may change in a function: closure, defaults, attributes."""
    cells = tuple(_cell_content(cell) for cell in function.__closure__ or ())
    content = cells, function.__defaults__, function.__kwdefaults__, function.__dict__ or None
    return None if content == ((), None, None, None) else content


def _cell_content(cell: Any) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # empty
        return ()


def put_back(anchor: Any, content: Any, skipped: set[str], made: dict[str, Any]) -> None:
    """Restore the content of an anchor."""
    if isinstance(anchor, types.FunctionType):
        cells, anchor.__defaults__, anchor.__kwdefaults__, attributes = content
        for cell, (*value,) in zip(anchor.__closure__ or (), cells, strict=True):
            if value:
                cell.cell_contents = value[0]
        anchor.__dict__.clear()
        anchor.__dict__.update(attributes or {})
        return
    attributes, slots = content
    kind: Any = type(anchor)
    present, stay = vars(anchor), _constant_names(kind) | skipped
    attributes = {**made, **attributes} if made else attributes
    for name in [name for name in present if name not in attributes and name not in stay]:
        del present[name]  # set after the state was saved
    for name in skipped & attributes.keys():
        del attributes[name]
    present.update(attributes)
    if [name for name in present if name in attributes] != list(attributes):
        others = {name: value for name, value in present.items() if name not in attributes}
        present.clear()  # in the order of the state, so that it is saved alike everywhere
        present.update({**others, **attributes})
    for name in _slots_of(kind) if slots is not None else ():
        if name in slots:
            object.__setattr__(anchor, name, slots[name])
        elif hasattr(anchor, name):
            object.__delattr__(anchor, name)

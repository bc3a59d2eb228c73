"""The generic snapshot: save and restore any pure-Python environment, layer by layer.

A Gymnasium environment is a stack of wrappers around a base. What changes while it runs are the
attributes of those layers and the numpy generators they hold. A snapshot pickles all of it in one
go, so that what two layers share stays shared. Inside that pickle

- layers and spaces travel as references: they stay with the environment that is restored;
- numpy Generators travel as the integers of their bit generator;
- other environments, and whatever hides behind ``EzPickle``, travel as class and ``__dict__``,
  because their own pickling hands back a fresh, un-reset environment without a word.

Functions, modules, windows and what cannot be pickled stay with the target; ``left_out`` names
them. State that lives in C objects, closures, globals, files or clocks is out of reach.
"""

from __future__ import annotations

import io
import pickle
import types
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from plangym_lite.envs.pickling import GENERATOR, LOOKUP, Reducers, Unpickler

__all__ = ["Snapshot", "layers_of"]

CONSTANT_NAMES = frozenset(
    {"env", "spec", "metadata", "_metadata", "_cached_spec", "_saved_kwargs"}
    | {"observation_space", "action_space", "_observation_space", "_action_space"}
    | {"_ezpickle_args", "_ezpickle_kwargs"}
)
"""Attributes that describe an environment and do not change while it runs."""

SCREEN_NAMES = frozenset(
    ("screen", "surf", "clock", "window", "viewer", "isopen", "mujoco_renderer")
)
"""Attributes that hold windows and renderers."""

STAYING_TYPES = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, spaces.Space)


def layers_of(env: gym.Env) -> list[gym.Env]:
    """``[env, env.env, ...]`` down to the base."""
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


class Snapshot:
    """Saves and restores the layers of one environment.

    Args:
        layers: the layers, outermost first.
        below: layers that are not saved, though what is saved may refer to them.
    """

    def __init__(self, layers: list[gym.Env], below: Sequence[gym.Env] = ()) -> None:
        self.layers = layers
        self._below = below
        self.left_out: list[set[str]] = [set() for _ in layers]
        self._first_names = [frozenset(layer.__dict__) for layer in layers]
        self._spaces = list(
            {id(layer.action_space): layer.action_space for layer in layers}.values()
        )
        self._generators: list[np.random.Generator] = []
        self._restore_generators = True
        self._places: dict[tuple[int, str | None], Any] = {}
        self._reducers = Reducers()
        self._references = self._reducers.references
        self._globals: dict[tuple[str, str], Any] = {
            (LOOKUP.__module__, LOOKUP.__name__): self.lookup,
            (GENERATOR.__module__, GENERATOR.__name__): self.generator,
        }
        self._probe()

    def save(self, extra: Any = None) -> bytes:
        """The layers' state, and ``extra`` with it, as one pickle."""
        try:
            return self._pickle(self._everything(extra))
        except (pickle.PicklingError, TypeError, AttributeError):
            self._probe()  # an attribute that was not there before
            return self._pickle(self._everything(extra))

    def load(self, data: bytes | memoryview, generators: bool = True) -> Any:
        """Restore what ``save`` saved, in place; return its ``extra``.

        ``generators=False`` leaves the environment's random generators where they are.
        """
        self._restore_generators = generators
        if not generators:  # whatever runs now runs on
            self._pickle(self._everything(None))
            self._generators = self._reducers.generators
        unpickler = Unpickler(io.BytesIO(data))
        unpickler.known = self._globals
        attributes, space_generators, extra = unpickler.load()
        stay = zip(self.left_out, self._staying, strict=True)
        for layer, saved, (left_out, staying) in zip(self.layers, attributes, stay, strict=True):
            present = layer.__dict__
            for name in [name for name in present if name not in saved and name not in staying]:
                del present[name]  # born since
            for name in left_out and left_out & saved.keys():  # a window where there was none yet
                del saved[name]
            present.update(saved)
        for space, generator in zip(self._spaces, space_generators, strict=True):
            if generator is not None:
                space._np_random = generator
        return extra

    def keep(self, layer: int, name: str) -> None:
        """An attribute of a layer stays with the target, wherever other attributes lead to it."""
        self._refer(getattr(self.layers[layer], name), (layer, name))

    def _everything(self, extra: Any) -> tuple[Any, ...]:
        return self._attributes(), [space._np_random for space in self._spaces], extra

    def _pickle(self, value: Any) -> bytes:
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = self._reducers
        self._reducers.generators = []
        pickler.dump(value)
        return buffer.getvalue()

    def _attributes(self) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in layer.__dict__.items() if name not in skipped}
            for layer, skipped in zip(self.layers, self._skipped, strict=True)
        ]

    def _probe(self) -> None:
        """Find what stays with the target, and what can be referred to."""
        for index, layer in enumerate([*self.layers, *self._below]):
            self._refer(layer, (index, None))
            for name in ("action_space", "observation_space"):
                self._refer(getattr(layer, name), (index, name))
            for name, value in layer.__dict__.items():
                if isinstance(value, spaces.Space):
                    self._refer(value, (index, name))
        self._remember_names()
        for attributes, left_out in zip(self._attributes(), self.left_out, strict=True):
            for name, value in attributes.items():
                if isinstance(value, STAYING_TYPES) or not self._can_be_pickled(value):
                    left_out.add(name)
        self._remember_names()

    def _remember_names(self) -> None:
        """Of each layer: the names not saved, and the names that are not deleted either."""
        self._skipped = [CONSTANT_NAMES | SCREEN_NAMES | left_out for left_out in self.left_out]
        self._staying = [
            skipped | first for skipped, first in zip(self._skipped, self._first_names, strict=True)
        ]

    def _refer(self, value: Any, place: tuple[int, str | None]) -> None:
        self._references.setdefault(id(value), place)
        self._reducers.look_up(type(value))
        self._places[place] = value

    def _can_be_pickled(self, value: Any) -> bool:
        try:
            self._pickle(value)
        except Exception:  # whatever a foreign __reduce__ raises: it cannot be pickled
            return False
        return True

    def lookup(self, index: int, name: str | None) -> Any:
        """The layer or space that a reference in a pickle means here."""
        return self._places[index, name]

    def generator(self, slot: int, numbers: tuple[int, ...]) -> np.random.Generator:
        """The ``slot``-th generator of a pickle; one object is reused for every restore."""
        while len(self._generators) <= slot:
            self._generators.append(np.random.default_rng(0))
        if self._restore_generators:
            state, inc, has_uint32, uinteger = numbers
            self._generators[slot].bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {"state": state, "inc": inc},
                "has_uint32": has_uint32,
                "uinteger": uinteger,
            }
        return self._generators[slot]

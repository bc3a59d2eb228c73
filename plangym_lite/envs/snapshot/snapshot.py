"""The generic snapshot: save and restore an environment that is written in Python.

A Gymnasium environment is a stack of wrappers around a base. While it runs, the attributes of these
layers change, and those of the objects that they refer to. A snapshot pickles all of them at once
(see :mod:`.pickling`), so that shared objects stay shared, and restores them in place: layers and
other objects whose identity matters are kept.

Objects that the snapshot does not understand are not left out: ``problems`` names them before
anything is saved, and ``save`` raises. Only windows and images created by drawing are left out.
State in class attributes, globals, files or clocks cannot be saved.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from plangym_lite import pickled
from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.envs.snapshot.anchors import (
    action_spaces,
    checksum_of,
    content_of,
    has_attributes,
    put_back,
    space_words,
    words_to_spaces,
)
from plangym_lite.envs.snapshot.packing import intern_keys
from plangym_lite.envs.snapshot.pickling import (
    PROTOCOL,
    DisplayError,
    NotUnderstoodError,
    Pickler,
    Reducers,
    Unpickler,
)
from plangym_lite.envs.snapshot.sets import walk_sets
from plangym_lite.errors import InvalidStateError

__all__ = [
    "Snapshot",
    "has_replaced_methods",
    "layers_of",
    "mute",
    "mute_films",
    "saved_and_films",
    "unmute",
]

FILMS: tuple[type, ...] = (gym.wrappers.RecordVideo,)
"""Layers that are not saved and record nothing during batches, verification and replays."""
PASSED = ("reset", "step", "render")
NOTHING: set[str] = set()
MOST_ROUNDS = 20  # of discovering anchors


def layers_of(env: gym.Env) -> list[gym.Env]:
    """``[env, env.env, ...]`` down to the base."""
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def has_replaced_methods(layers: Iterable[gym.Env]) -> bool:
    """Whether a method was replaced on one of the layers, as by ``env.step = ...``."""
    return any(
        callable(value)
        and hasattr(type(layer), name)
        and not str(getattr(value, "__module__", "")).startswith("plangym_lite.")
        for layer in layers
        for name, value in vars(layer).items()
    )


class Snapshot:
    """Saves and restores the layers of one environment.

    Args:
        layers: the layers, outermost first.
        below: layers that are not saved, though saved objects may refer to them.
        constants: indices of the large arrays found at the start that never change.
        fields: for each MuJoCo simulation the arrays of its model that change.
        leaving: attributes of the last layer that are not saved here, but by the adapter.
    """

    def __init__(
        self,
        layers: Sequence[gym.Env],
        below: Sequence[gym.Env] = (),
        constants: Sequence[int] = (),
        fields: tuple[tuple[str, ...], ...] = (),
        leaving: Iterable[str] = (),
    ) -> None:
        self.left_out: dict[int, set[str]] = {}  # by anchor: attributes that only display
        self._reducers = Reducers()
        self._fields = fields
        for layer in (*layers, *below):
            self._reducers.anchor(layer)
        self._n_layers, self._below = len(layers), set(range(len(layers), len(layers) + len(below)))
        if leaving:
            self.left_out[len(layers) - 1] = set(leaving)
        self._has_sets = False
        self._generators: list[Any] = []
        self._running: dict[str, list[Any]] = {}  # by kind, those that run on during a restore
        self._restore_generators = True
        self._globals = {
            (pickled.__name__, made.__name__): mine
            for made, mine in (
                (pickled.lookup, self._anchors.__getitem__),
                (pickled.generator, self._generator),
                (pickled.random_numbers, self._random_numbers),
                (pickled.simulated, lambda *place: self.simulations.view(*place)),
            )
        }
        self.discover()
        self.large = list(self._reducers.large)  # arrays found at the start
        self.constants = [self.large[number] for number in constants if number < len(self.large)]
        for array in self.constants:
            self._reducers.anchor(array)

    # ---- discovery ------------------------------------------------------------------------------

    def discover(self) -> None:
        """Find the anchors and what is not understood, in the present state."""
        reducers = self._reducers
        reducers.discovering, reducers.problems, reducers.large = True, {}, []
        self._action_spaces = list(action_spaces(self._layers()))
        try:
            for _ in range(MOST_ROUNDS):
                known = len(reducers.anchors), self.simulations is None
                reducers.large, reducers.problems = [], {}
                try:
                    self._pickle(self._contents())
                except Exception as error:  # a foreign __reduce__ may raise anything
                    reducers.problems[type(error)] = False
                    break
                self._learn_simulations()
                if (len(reducers.anchors), self.simulations is None) == known:
                    break
            self.sets, self._is_stable = self._walk_sets()
            self._has_sets |= bool(self.sets)
        finally:
            reducers.discovering = False

    def problems(self) -> list[str]:
        """What a snapshot cannot hold. Call this before an image is drawn."""
        found = [f"{kind.__module__}.{kind.__qualname__}" for kind in self._reducers.problems]
        if not self._is_stable:
            found.append("a set that would come back in another order")
        return sorted(found)

    def unchanging(self, before: Sequence[int]) -> tuple[int, ...]:
        """Indices of the large arrays found at the start that still exist unchanged."""
        present = {id(array) for array in self._reducers.large}
        pairs = zip(self.large, before, strict=True)
        return tuple(
            number
            for number, (array, checksum) in enumerate(pairs)
            if id(array) in present and checksum_of(array) == checksum
        )

    @property
    def kinds(self) -> list[type]:
        """The types of all objects that were found, except basic ones."""
        return list(self._reducers)

    def _learn_simulations(self) -> None:
        if self._reducers.simulations is None:
            if not any(type(each).__module__.startswith("mujoco.") for each in self._anchors):
                return
            from plangym_lite.envs.snapshot.mjdata import Simulations

            label = str(getattr(self._layers()[-1], "frame_skip", ""))
            self._reducers.simulations = Simulations(self._anchors, self._fields, label)
        self._reducers.simulations.learn()

    @property
    def simulations(self) -> Any:
        return self._reducers.simulations

    @property
    def _anchors(self) -> list[Any]:
        return self._reducers.anchors

    def _layers(self) -> list[gym.Env]:
        return self._anchors[: self._n_layers]

    # ---- saving ---------------------------------------------------------------------------------

    def save(self, extra: Any = None) -> bytes:
        """The layers' state, with ``extra``, as one pickle; or ``NotUnderstoodError``."""
        if self._has_sets and not self._walk_sets()[1]:
            raise NotUnderstoodError("a set would come back in another order")
        try:
            return self._pickle(self._everything(extra))
        except DisplayError:
            self._leave_out_displays()
            return self._pickle(self._everything(extra))

    def _everything(self, extra: Any) -> tuple[Any, ...]:
        simulated = None if self.simulations is None else self.simulations.save()
        spaces = b"".join(space_words(space) for space in self._action_spaces)
        left_out = self.left_out or None
        return self._contents(), spaces, simulated, left_out, extra

    def _contents(self) -> list[Any]:
        return [
            None
            if number in self._below
            else content_of(
                anchor, self.left_out.get(number, NOTHING), self._reducers.made.get(number)
            )
            for number, anchor in enumerate(self._anchors)
        ]

    def generators(self, discover: bool = False) -> list[Any]:
        """The generators of a state: the base's, those of layers from the inside out, of other
        objects, of action spaces, global ones.

        ``discover`` skips what cannot be saved; then nothing can be saved any more.
        """
        reducers, contents = self._reducers, self._contents()
        reducers.discovering = discover
        base: Any = self._layers()[-1].unwrapped
        found = {id(base.np_random): base.np_random}
        for content in [*contents[: self._n_layers][::-1], contents]:
            try:
                self._pickle(content)
            except Exception:  # a foreign __reduce__ may raise anything
                if not discover:
                    raise
            found.update((id(each), each) for each in reducers.generators if id(each) not in found)
        spaces = [space._np_random for space in self._action_spaces]
        found.update((id(each), each) for each in spaces if each is not None)
        return sorted(found.values(), key=lambda each: isinstance(each, GlobalNumbers))

    def sizes(self) -> list[tuple[str, int]]:
        """Attributes and how many bytes each would take alone, largest first."""
        found = [
            (f"{type(anchor).__name__}.{name}", len(self._pickle(value)))
            for number, anchor in enumerate(self._anchors)
            if number not in self._below and has_attributes(anchor)
            for name, value in vars(anchor).items()
        ]
        return sorted(found, key=lambda part: -part[1])

    def _leave_out_displays(self) -> None:
        for number, anchor in enumerate(self._anchors):
            if number in self._below or not has_attributes(anchor):
                continue
            for name, value in vars(anchor).items():
                try:
                    if name not in self.left_out.get(number, ()):
                        self._pickle(value)
                except DisplayError:
                    self.left_out.setdefault(number, set()).add(name)

    def _pickle(self, value: Any) -> bytes:
        buffer = io.BytesIO()
        pickler = Pickler(buffer, PROTOCOL)
        pickler.reducers = self._reducers
        self._reducers.generators = []
        try:
            pickler.dump(value)
        except RecursionError as error:
            raise RecursionError("objects that lead to each other too deeply") from error
        return buffer.getvalue()

    def _walk_sets(self) -> tuple[Any, bool]:
        """The content of sets, and whether all would be restored in the same order."""
        return walk_sets(self._contents(), self._reducers.numbers)

    # ---- restoring ------------------------------------------------------------------------------

    def load(self, data: bytes | memoryview, generators: bool = True) -> Any:
        """Restore in place what ``save`` saved, or not its ``generators``; return ``extra``."""
        self._restore_generators = generators
        if not generators:  # the present generators run on
            self._pickle(self._everything(None))
            self._running = {_kind_of(each): [] for each in self._reducers.generators}
            for each in self._reducers.generators[::-1]:
                self._running[_kind_of(each)].append(each)
        unpickler = Unpickler(io.BytesIO(data))
        unpickler.known = self._globals
        contents, words, simulated, left_out, extra = unpickler.load()
        if len(contents) != len(self._anchors):
            raise InvalidStateError(f"{len(contents)} parts instead of {len(self._anchors)}")
        if simulated is not None:
            self.simulations.check(simulated)
        for number, content in enumerate(contents):
            if content is not None:
                skipped = self.left_out.get(number, set()) | (left_out or {}).get(number, set())
                made = self._reducers.made.get(number, {})
                put_back(self._anchors[number], content, skipped, made)
        if simulated is not None:
            self.simulations.load(simulated)
        if generators:
            words_to_spaces(words, self._action_spaces)
        return intern_keys(extra)

    # ---- the objects that a pickle refers to ----------------------------------------------------

    def _in_slot(self, slot: int, make: Any, fits: Any) -> Any:
        while len(self._generators) <= slot:
            self._generators.append(None)
        if not fits(self._generators[slot]):
            self._generators[slot] = make()
        return self._generators[slot]

    def _generator(self, slot: int, kind: str, state: Any, origin: Any) -> np.random.Generator:
        """Generator number ``slot`` of a pickle; each restore reuses the same object."""
        if not self._restore_generators and self._running.get(kind):
            return self._running[kind].pop()

        def make() -> np.random.Generator:
            seed = 0 if origin is None else pickled.sequence(*origin)
            return np.random.Generator(getattr(np.random, kind)(seed))

        found = self._in_slot(slot, make, lambda present: _came_from(present, kind, origin))
        if kind == "PCG64":
            number, inc, has_uint32, uinteger = state
            state = {
                "bit_generator": kind,
                "state": {"state": number, "inc": inc},
                "has_uint32": has_uint32,
                "uinteger": uinteger,
            }
        found.bit_generator.state = state
        return found

    def _random_numbers(self, slot: int, kind: str, state: Any) -> Any:
        if not self._restore_generators and self._running.get(kind):
            return self._running[kind].pop()
        wanted, fresh = NUMBERS[kind]
        found = self._in_slot(slot, fresh, lambda present: type(present) is wanted)
        (found.set_state if kind == "RandomState" else found.setstate)(state)
        return found


NUMBERS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "RandomState": (np.random.RandomState, lambda: np.random.RandomState(0)),
    "Random": (random.Random, lambda: random.Random(0)),
    "GlobalNumbers": (GlobalNumbers, GlobalNumbers),
}
"""By the type's name in a pickle, how a generator is made whose state is then overwritten."""


def _kind_of(generator: Any) -> str:
    return type(getattr(generator, "bit_generator", generator)).__name__


def _came_from(present: Any, kind: str, origin: Any) -> bool:
    """Whether a generator has the given type and seed sequence, so that it spawns the same."""
    if type(present) is not np.random.Generator or type(present.bit_generator).__name__ != kind:
        return False
    seed: Any = getattr(present.bit_generator, "seed_seq", None)
    if origin is None or type(seed) is not np.random.SeedSequence:
        return origin is None
    return origin == (seed.entropy, seed.spawn_key, seed.pool_size, seed.n_children_spawned)


# ---- wrappers that record films: not part of the state; batches record nothing -------------------


def mute(layer: Any) -> None:
    """Let a layer forward calls without recording."""
    for name in PASSED:
        setattr(layer, name, getattr(layer.env, name))


def unmute(layer: Any) -> None:
    """Let it record again."""
    for name in PASSED:
        vars(layer).pop(name, None)


def mute_films(env: gym.Env) -> None:
    """Stop the wrappers around an environment from recording films."""
    for layer in saved_and_films(layers_of(env))[1]:
        mute(layer)


def saved_and_films(layers: list[gym.Env]) -> tuple[list[gym.Env], list[gym.Env]]:
    """The layers that are saved, and those that record films."""
    films = [layer for layer in layers if isinstance(layer, FILMS)]
    return [layer for layer in layers if layer not in films], films

"""Environments that draw from the global generators of ``random`` and ``numpy.random``.

Such an environment gets its own copy of them, which is part of its state. While it runs the copy is
swapped in, and afterwards the caller's generators are restored unchanged.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import random
import types
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from plangym_lite.envs.generators.generator import RandomMemory

__all__ = [
    "GlobalNumbers",
    "OwnGlobals",
    "draws_globally",
    "global_numbers",
    "shared_kept",
    "shared_seeded",
]


class GlobalNumbers:
    """A copy of the global generators of numpy and Python, or new ones from a seed.

    Inside the context the global generators continue from the copy; at exit the copy is updated and
    the caller's generators are restored.
    """

    def __init__(self, seed: int | None = None) -> None:
        with contextlib.nullcontext() if seed is None else shared_seeded(seed):
            self._saved = np.zeros(RandomMemory.NBYTES, np.uint8)
            self._python = random.getstate()
            memory = _memory_of(_bits())
            memory.drawn()
            memory.save(self._saved)

    def seed(self, numpy_seed: np.random.SeedSequence, seed: np.random.SeedSequence) -> None:
        generator = np.random.RandomState(np.random.MT19937(numpy_seed))
        self._saved = np.zeros(RandomMemory.NBYTES, np.uint8)
        RandomMemory(generator).save(self._saved)
        self._python = random.Random(int(seed.generate_state(1, np.uint64)[0])).getstate()

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *error: object) -> None:
        self._swap()

    def _swap(self) -> None:
        memory, outside, python = _memory_of(_bits()), np.empty_like(self._saved), random.getstate()
        memory.drawn()
        memory.save(outside)
        memory.load(self._saved)
        random.setstate(self._python)
        self._saved, self._python = outside, python

    def getstate(self) -> tuple[bytes, Any]:
        return self._saved.tobytes(), self._python

    def setstate(self, state: tuple[bytes, Any]) -> None:
        self._saved = np.frombuffer(state[0], np.uint8)
        self._python = state[1]


def _bits() -> Any:
    shared: Any = np.random.mtrand
    return shared._rand._bit_generator


@functools.lru_cache(maxsize=1)
def _memory_of(bits: Any) -> RandomMemory:
    shared: Any = np.random.mtrand
    return RandomMemory(shared._rand)


class OwnGlobals(gym.Wrapper):
    """Runs an environment with its own copy of the global generators."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.numbers = GlobalNumbers()

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        with self.numbers:
            return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        with self.numbers:
            return self.env.step(action)

    def render(self) -> Any:
        with self.numbers:
            return self.env.render()


@contextlib.contextmanager
def shared_kept() -> Iterator[None]:
    """Restore the global generators at exit."""
    numpy_numbers, python_numbers = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpy_numbers)
        random.setstate(python_numbers)


@contextlib.contextmanager
def shared_seeded(seed: int) -> Iterator[None]:
    """Seed the global generators with ``seed``; restore them at exit."""
    with shared_kept():
        np.random.seed(seed)
        random.seed(seed)
        yield


def global_numbers() -> Any:
    """The state of the global generators."""
    kind, key, *rest = np.random.get_state()
    return kind, np.asarray(key).tobytes(), *rest, random.getstate()


def draws_globally(layers: Iterable[Any]) -> bool:
    """Whether the code of layers, as far as it can be read, uses the global generators."""
    kinds = {base for layer in layers for base in type(layer).__mro__}
    own = [kind for kind in kinds if not kind.__module__.startswith(("gymnasium.", "builtins"))]
    return any(
        _asks(function)
        for kind in own
        for value in vars(kind).values()
        for function in [getattr(value, "__func__", value)]
        if isinstance(function, types.FunctionType)
    )


def _asks(function: types.FunctionType) -> bool:
    known, code = function.__globals__, function.__code__
    shared = [name for name in code.co_names if _is_shared(known.get(name), code)]
    if not shared:
        return any(_draws(known.get(name)) for name in code.co_names)
    steps = [step for step in dis.get_instructions(function) if step.opname != "CACHE"]
    for step, after, last in zip(steps, steps[1:], [*steps[2:], None], strict=False):
        if step.opname not in ("LOAD_GLOBAL", "LOAD_NAME") or step.argval not in shared:
            continue
        module = known[step.argval]
        if module is np:
            if after.argval == "random" and last and _is_global(np.random, last.argval):
                return True
        elif _is_global(module, after.argval):
            return True
    return False


def _is_global(module: Any, name: Any) -> bool:
    """Whether what has that name in a module may draw from its global generator."""
    value = getattr(module, str(name), None)
    return not isinstance(value, (type, types.ModuleType)) and value is not np.random.default_rng


def _is_shared(value: Any, code: types.CodeType) -> bool:
    """Whether it is a module with the global generators, or refers to one."""
    return value is random or value is np.random or (value is np and "random" in code.co_names)


def _draws(value: Any) -> bool:
    """Whether it is a method of a global generator, as from ``from random import choice``."""
    owner = getattr(value, "__self__", None)
    return owner is not None and (owner is random._inst or owner is np.random.mtrand._rand)

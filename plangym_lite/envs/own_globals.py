"""Environments that draw from the generators that all of Python shares.

Such an environment gets generators of its own, and as soon as it has run the shared ones are put
back: the caller's never move, and the environment's are part of its state.
"""

from __future__ import annotations

import contextlib
import dis
import random
import types
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["OwnGlobals", "draws_globally", "global_numbers", "shared_kept", "shared_seeded"]

ITS_OWN_GENERATORS = frozenset(
    [
        "default_rng",
        "Generator",
        "RandomState",
        "SeedSequence",
        "BitGenerator",
        "Random",
        "SystemRandom",
        "PCG64",
        "PCG64DXSM",
        "MT19937",
        "Philox",
        "SFC64",
        "mtrand",
    ]
)
"""What may be taken from ``numpy.random`` and ``random`` without drawing from what is shared."""


class OwnGlobals(gym.Wrapper):
    """Runs an environment on generators of its own, which begin where the shared ones are."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.numpy_numbers, self.python_numbers = np.random.RandomState(), random.Random()
        self.numpy_numbers.set_state(np.random.get_state())
        self.python_numbers.setstate(random.getstate())

    @contextlib.contextmanager
    def _swapped(self) -> Iterator[None]:
        with shared_kept():
            np.random.set_state(self.numpy_numbers.get_state())
            random.setstate(self.python_numbers.getstate())
            try:
                yield
            finally:
                self.numpy_numbers.set_state(np.random.get_state())
                self.python_numbers.setstate(random.getstate())

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        with self._swapped():
            return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        with self._swapped():
            return self.env.step(action)

    def render(self) -> Any:
        with self._swapped():
            return self.env.render()


@contextlib.contextmanager
def shared_kept() -> Iterator[None]:
    """Afterwards the shared generators are as before."""
    numpy_numbers, python_numbers = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpy_numbers)
        random.setstate(python_numbers)


@contextlib.contextmanager
def shared_seeded(seed: int) -> Iterator[None]:
    """The shared generators begin at ``seed``; afterwards they are as before."""
    with shared_kept():
        np.random.seed(seed)
        random.seed(seed)
        yield


def global_numbers() -> Any:
    """Where the shared generators are."""
    kind, key, *rest = np.random.get_state()
    return kind, np.asarray(key).tobytes(), *rest, random.getstate()


def draws_globally(layers: Iterable[Any]) -> bool:
    """Whether the code of layers, as far as it can be read, asks the shared generators."""
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
        if known[step.argval] is np:
            if after.argval == "random" and last and last.argval not in ITS_OWN_GENERATORS:
                return True
        elif after.argval not in ITS_OWN_GENERATORS:
            return True
    return False


def _is_shared(value: Any, code: types.CodeType) -> bool:
    """Whether it is a module with the shared generators, or leads to one."""
    return value is random or value is np.random or (value is np and "random" in code.co_names)


def _draws(value: Any) -> bool:
    """Whether it is a function of the shared generators: ``from random import choice``."""
    owner = getattr(value, "__self__", None)
    return owner is not None and (owner is random._inst or owner is np.random.mtrand._rand)

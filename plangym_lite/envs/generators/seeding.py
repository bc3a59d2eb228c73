"""Seeding of the random generators of an environment, all from one number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from plangym_lite.envs.generators.generator import RandomMemory
from plangym_lite.envs.generators.shared import GlobalNumbers

__all__ = ["bytes_of_seed", "seed_all"]


def seed_all(generators: Iterable[Any], seed: int) -> Callable[[], None]:
    """Seed generators in place; return what puts them back where they were.

    The ``k``-th of them becomes what numpy makes of ``SeedSequence(seed).spawn(n)[k]``. A
    :class:`GlobalNumbers` counts as two: numpy's and Python's.
    """
    undo: list[Callable[[], None]] = []
    number = 0
    for generator in generators:
        if isinstance(generator, GlobalNumbers):
            undo.append(partial(generator.setstate, generator.getstate()))
            generator.seed(_child(seed, number), _child(seed, number + 1))
            number += 1
        else:
            undo.append(_seed(generator, _child(seed, number)))
        number += 1

    def put_back() -> None:
        for each in undo:
            each()

    return put_back


def _child(seed: int, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(number,))


def _seed(generator: Any, seed: np.random.SeedSequence) -> Callable[[], None]:
    if isinstance(generator, np.random.Generator):  # a new bit generator: also for ``spawn``
        bits: Any = generator.bit_generator
        np.random.Generator.__init__(generator, type(bits)(seed))
        return partial(np.random.Generator.__init__, generator, bits)
    if isinstance(generator, np.random.RandomState):
        state: Any = generator.get_state(legacy=False)
        kind = getattr(np.random, state["bit_generator"])
        generator.set_state(np.random.RandomState(kind(seed)).get_state(legacy=False))
        return partial(generator.set_state, state)
    if isinstance(generator, random.Random):
        undo = partial(generator.setstate, generator.getstate())
        generator.seed(int(seed.generate_state(1, np.uint64)[0]))
        return undo
    state = generator.state  # of a bit generator of numpy
    generator.state = type(generator)(seed).state
    return partial(setattr, generator, "state", state)


@lru_cache(maxsize=1024)
def bytes_of_seed(seed: int) -> np.ndarray:
    """``[RandomMemory.NBYTES]`` what ``seed_all`` makes of an environment's only generator."""
    numbers, out = np.random.RandomState(0), np.empty(RandomMemory.NBYTES, np.uint8)
    seed_all([numbers], seed)
    RandomMemory(numbers).save(out)
    return out

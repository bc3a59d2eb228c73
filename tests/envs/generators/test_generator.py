"""numpy's generators as words, read where they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import InvalidStateError
from plangym_lite.envs.generators import generator as generators
from plangym_lite.envs.generators.generator import (
    GENERATOR_WORDS,
    GeneratorMemory,
    generator_to_words,
    words_to_generator,
)


def drawn(generator):
    """What it draws: whole and half numbers, so that what is left over counts."""
    return generator.random(5).tolist(), generator.integers(9, size=5, dtype=np.uint32).tolist()


def advanced(seed, halves):
    generator = np.random.default_rng(seed)
    generator.integers(10, size=halves, dtype=np.uint32)  # an odd number leaves half of one
    return generator


@given(seed=st.integers(0, 2**64), halves=st.integers(0, 9))
def test_the_words_of_a_generator(seed, halves):
    generator = advanced(seed, halves)
    words = generator_to_words(generator)
    assert len(words) == GENERATOR_WORDS
    assert all(0 <= word < 2**32 for word in words)
    other = np.random.default_rng()
    words_to_generator(np.array(words, float), other)
    assert drawn(other) == drawn(generator)


@given(
    seed=st.integers(0, 2**64),
    halves=st.integers(0, 9),
    place=st.integers(0, 3),
    dtype=st.sampled_from([np.uint32, np.float64]),
)
def test_memory_reads_and_writes_the_same_words(seed, halves, place, dtype):
    generator, other = advanced(seed, halves), np.random.default_rng()
    row = np.full(place + GENERATOR_WORDS + 1, 7, dtype)
    memory = GeneratorMemory(place)
    memory.save(generator, row)
    words = slice(place, place + GENERATOR_WORDS)
    assert row[words].tolist() == generator_to_words(generator)
    assert (np.delete(row, words) == 7).all()
    memory.load(row, other)
    assert generator_to_words(other) == generator_to_words(generator)
    assert drawn(other) == drawn(generator)
    memory.load(row, generator)  # back from other to the first, which has drawn since
    assert generator_to_words(generator) == row[words].tolist()


def test_memory_is_where_numpy_keeps_it():
    memory = GeneratorMemory()
    memory.save(np.random.default_rng(1), np.empty(GENERATOR_WORDS))
    assert memory._rest is not None, "this numpy's generators are saved the slow way"


def test_another_layout_is_noticed_and_the_slow_way_taken(monkeypatch):
    generator, other = advanced(5, 3), advanced(6, 0)
    real = generators.generator_to_words
    row = np.empty(GENERATOR_WORDS)
    memory = GeneratorMemory()
    shuffled = [*real(generator)[:2], *reversed(real(generator)[2:])]
    monkeypatch.setattr(generators, "generator_to_words", lambda generator: shuffled)
    memory._find(generator)
    monkeypatch.undo()
    assert memory._rest is None
    memory.save(generator, row)
    assert row.tolist() == generator_to_words(generator)
    memory._generator = other  # as if it had been found to lie elsewhere
    memory.load(row, other)
    assert drawn(other) == drawn(generator)


def test_only_pcg64_has_words():
    for save in (generator_to_words, lambda g: GeneratorMemory().save(g, np.empty(10))):
        with pytest.raises(InvalidStateError, match="MT19937"):
            save(np.random.Generator(np.random.MT19937(0)))

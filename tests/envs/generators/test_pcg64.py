"""Generators of many rows at once: the same bits as numpy's, one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite.envs.generators.generator import (
    GENERATOR_WORDS,
    generator_to_words,
    words_of_seed,
)
from plangym_lite.envs.generators.pcg64 import numbers_of, random_of, words_of, words_of_seeds


@given(seed=st.integers(0, 2**64), draws=st.integers(0, 3))
def test_many_generators_draw_what_each_would(seed, draws):
    generators = [np.random.default_rng([seed, number]) for number in range(5)]
    for generator in generators:
        generator.integers(5, size=draws, dtype=np.uint32)
    words = np.array([generator_to_words(generator) for generator in generators], np.uint32)
    drawn, numbers = random_of(numbers_of(words))
    assert drawn.tolist() == [generator.random() for generator in generators]
    words_of(numbers, words)
    assert words.shape == (5, GENERATOR_WORDS)
    assert words.tolist() == [generator_to_words(generator) for generator in generators]


@given(seeds=st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 2**32)))
def test_many_seeds_give_what_numpy_makes_of_each(seeds):
    found = words_of_seeds(np.array(seeds, np.int64))
    assert found.shape == (len(seeds), GENERATOR_WORDS)
    for seed, words in zip(seeds, found, strict=True):
        child = np.random.SeedSequence(seed).spawn(1)[0]
        assert words.tolist() == generator_to_words(np.random.Generator(np.random.PCG64(child)))
        assert words.tolist() == words_of_seed(seed).tolist()

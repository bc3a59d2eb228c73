"""ale-py's generator, forwards and backwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangym_lite import InvalidStateError
from plangym_lite.envs.atari import ale_state
from plangym_lite.envs.atari.ale_state import (
    CALM_FRAMES,
    CALM_TEXT,
    MT_WORDS,
    draw_until,
    generator_from,
    generator_text,
    rewind,
)

DRAWS = st.integers(0, 3 * MT_WORDS)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), first=DRAWS, then=DRAWS)
def test_what_was_drawn_is_drawn_again(seed, first, then):
    generator = np.random.MT19937(seed)
    generator.random_raw(first, output=False)
    start = generator_text(generator)
    expected = generator.random_raw(then)
    end = generator_text(generator)
    assert np.array_equal(draw_until(generator_from(start), end), expected)
    assert np.array_equal(rewind(generator, then).random_raw(then), expected)
    assert generator_text(generator) == end


def test_a_place_that_is_never_met(monkeypatch):
    monkeypatch.setattr(ale_state, "MOST_BLOCKS", 3)
    with pytest.raises(InvalidStateError, match="never"):
        draw_until(np.random.MT19937(1), generator_text(np.random.MT19937(2)))


def test_no_action_sticks_by_the_calm_generator():
    assert (generator_from(CALM_TEXT).random_raw(2 * CALM_FRAMES) == 2**32 - 1).all()

"""The Mersenne Twister of ale-py: as text, drawn from until a place is met, and run backwards."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = [
    "CALM_FRAMES",
    "CALM_TEXT",
    "MT_TEXT",
    "MT_WORDS",
    "ZERO_TEXT",
    "draw_until",
    "generator_from",
    "generator_text",
    "put_generator",
    "rewind",
]

MT_WORDS = 624
MT_TEXT = re.compile(rb"(?:\d+ ){%d}\d+" % MT_WORDS)
ZERO_TEXT = b"0 " * MT_WORDS + b"0"
"""A generator that is quicker to write out than one of ten-digit numbers."""
CALM_TEXT = b"%d " % 0x12DD9BB3 * MT_WORDS + b"0"
"""A generator whose next ``MT_WORDS`` numbers are the largest: with it no action sticks."""
CALM_FRAMES = MT_WORDS // 2  # ale-py draws for two players in each frame
MOST_BLOCKS = 1 << 16  # to draw before a place counts as one that is never met
MIDDLE = 397
FACTOR = np.uint32(0x9908B0DF)
UPPER, LOWER = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)


def generator_text(generator: np.random.MT19937) -> bytes:
    """``generator`` as ale-py writes it."""
    state = generator.state["state"]
    return b" ".join(b"%d" % word for word in (*state["key"].tolist(), state["pos"]))


def generator_from(text: bytes) -> np.random.MT19937:
    """The generator that ale-py wrote as ``text``."""
    words = [int(word) for word in text.split()]
    return put_generator(np.random.MT19937(0), np.array(words[:MT_WORDS]), words[MT_WORDS])


def put_generator(
    generator: np.random.MT19937, key: np.ndarray, position: int
) -> np.random.MT19937:
    """Put ``generator`` where its key and position say; return it."""
    state: Any = {"key": key.astype(np.uint32), "pos": position}
    generator.state = {"bit_generator": "MT19937", "state": state}
    return generator


def draw_until(generator: np.random.MT19937, text: bytes) -> np.ndarray:
    """Draw from ``generator`` until it is the one of ``text``; return what was drawn."""
    target = generator_from(text).state["state"]
    n_draws = (target["pos"] - generator.state["state"]["pos"]) % MT_WORDS
    drawn = [generator.random_raw(n_draws)]
    while not np.array_equal(generator.state["state"]["key"], target["key"]):
        if len(drawn) > MOST_BLOCKS:
            raise InvalidStateError("a reset left ale-py's generator where it never comes by")
        drawn.append(generator.random_raw(MT_WORDS))
    return np.concatenate(drawn)


def rewind(generator: np.random.MT19937, n_draws: int) -> np.random.MT19937:
    """Take back the last ``n_draws`` draws of ``generator``; return it."""
    state = generator.state["state"]
    key, position = state["key"].copy(), state["pos"] - n_draws
    while position < 0:
        key, position = _block_before(key), position + MT_WORDS
    return put_generator(generator, key, position)


def _block_before(new: np.ndarray) -> np.ndarray:
    """The ``MT_WORDS`` words from which the twister made ``new``."""
    old, split = np.zeros_like(new), MT_WORDS - MIDDLE
    late = _untwist(new[split:] ^ new[:MIDDLE])  # upper bit of one word, the rest of the next
    old[split:] = late & UPPER
    old[split + 1 :] |= late[:-1] & LOWER
    early = _untwist(new[:split] ^ old[MIDDLE:])
    old[:split] = early & UPPER
    old[1 : split + 1] |= early & LOWER
    old[0] |= _untwist(old[-1:] ^ old[MIDDLE - 1 : MIDDLE])[0] & LOWER
    return old


def _untwist(mixed: np.ndarray) -> np.ndarray:
    is_odd = (mixed & UPPER) != 0
    return np.where(is_odd, ((mixed ^ FACTOR) << 1) | 1, mixed << 1).astype(np.uint32)

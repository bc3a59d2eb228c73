"""A ``numpy.random.RandomState`` saved and restored in 1 us.

numpy's ``get_state`` and ``set_state`` take 40 us. Here the words of the generator are read and
written in place. Only the spare normal number, which is stored elsewhere, uses numpy's methods, and
only if it differs.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from plangym_lite.errors import NotCloneableError

__all__ = ["RandomMemory"]

KEYS = 624


class RandomMemory:
    """Saves and restores one ``RandomState``.

    Draws between two calls of ``save`` are noticed by the generator's words. Code that may have
    used only the spare normal number must call ``drawn``.
    """

    NBYTES = 4 * (KEYS + 2) + 16

    def __init__(self, random: np.random.RandomState) -> None:
        self._random = random
        bits = random._bit_generator
        if type(bits) is not np.random.MT19937:
            raise NotCloneableError(f"a RandomState on {type(bits).__name__} cannot be saved")
        address = bits.ctypes.state_address
        words: Any = (ctypes.c_uint32 * (KEYS + 1)).from_address(address)
        self._words = np.frombuffer(words, np.uint32)
        self._seen = np.zeros(KEYS + 1, np.uint32)
        self._spare = np.zeros(2)  # whether there is one; its value
        self._known = False
        state: Any = random.get_state()
        if not np.array_equal(self._words[:KEYS], state[1]) or self._words[KEYS] != state[2]:
            raise NotCloneableError("this numpy keeps its MT19937 where it was not expected")

    def drawn(self) -> None:
        """Note that numbers may have been drawn."""
        self._known = False

    def save(self, out: np.ndarray) -> None:
        """Write the generator into ``out``, [NBYTES] uint8."""
        if not self._known or (self._words != self._seen).any():
            state: Any = self._random.get_state()
            self._spare[:] = state[3:]
            self._seen[:] = self._words
            self._known = True
        out[:16] = self._spare.view(np.uint8)
        out[16:-4] = self._words.view(np.uint8)
        out[-4:] = 0

    def load(self, row: np.ndarray) -> None:
        """Restore what ``save`` wrote."""
        spare = np.frombuffer(row[:16].tobytes())
        if not self._known or (self._words != self._seen).any() or (spare != self._spare).any():
            words = np.frombuffer(row[16:].tobytes(), np.uint32)
            state = "MT19937", words[:KEYS], int(words[KEYS]), int(spare[0]), float(spare[1])
            self._random.set_state(state)
            self._spare[:] = spare
            self._known = True
        self._words.view(np.uint8)[:] = row[16:-4]
        self._seen[:] = self._words

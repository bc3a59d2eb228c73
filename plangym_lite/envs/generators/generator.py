"""numpy's generators, saved and restored in place.

That of Gymnasium's environments, a PCG64, is ten numbers below 2**32:

::

    has a spare half? | spare half | state (4 words, lowest first) | increment (4 words)

numpy's own ``state``, a nested dict of long integers, takes 10 us. :class:`GeneratorMemory` reads
and writes the numbers in place.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStateError, NotCloneableError

__all__ = [
    "GENERATOR_WORDS",
    "GeneratorMemory",
    "RandomMemory",
    "generator_to_words",
    "words_of_seed",
    "words_to_generator",
]

GENERATOR_WORDS = 10
SHIFTS = (0, 32, 64, 96)
KEYS = 624  # words of a Mersenne Twister


def generator_to_words(generator: np.random.Generator) -> list[int]:
    """A PCG64 generator as ``GENERATOR_WORDS`` integers below 2**32."""
    state = generator.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise InvalidStateError(f"expected a PCG64 generator, got {state['bit_generator']}")
    words = [state["has_uint32"], state["uinteger"]]
    for number in (state["state"]["state"], state["state"]["inc"]):
        words += [(number >> shift) & 0xFFFFFFFF for shift in SHIFTS]
    return words


@functools.lru_cache(maxsize=4096)
def words_of_seed(seed: int) -> np.ndarray:
    """``[GENERATOR_WORDS]`` what ``seed_all`` makes of an environment's only generator."""
    bits: Any = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0,)))
    numbers = bits.state["state"]
    data = b"".join(numbers[name].to_bytes(16, "little") for name in ("state", "inc"))
    return np.frombuffer(bytes(8) + data, "<u4")


def words_to_generator(words: Any, generator: np.random.Generator) -> None:
    """Set ``generator`` to the state in ``words``, from ``generator_to_words``."""
    has_uint32, uinteger, *numbers = (int(word) for word in words)
    state, inc = (
        sum(word << shift for word, shift in zip(four, SHIFTS, strict=True))
        for four in (numbers[:4], numbers[4:])
    )
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": inc},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


class GeneratorMemory:
    """Saves and restores any generator; fastest if it has the bit generator of the call before.

    If numpy's memory is not laid out as expected, ``state`` is used, which is slower. ``place`` is
    the offset of the words in the rows given to ``save`` and ``load``.
    """

    def __init__(self, place: int = 0) -> None:
        self._all_words = slice(place, place + GENERATOR_WORDS)
        self._two_words = slice(place, place + 2)
        self._eight_words = slice(place + 2, place + GENERATOR_WORDS)
        self._bits: Any = None  # the bit generator of the last call
        self._rest: np.ndarray | None = None  # the spare half, in numpy's memory
        self._numbers: Any = None

    def save(self, generator: np.random.Generator, out: np.ndarray) -> None:
        """Write the generator's words into their place in ``out``, a row of any numbers."""
        if generator.bit_generator is not self._bits:
            self._find(generator)
        if self._rest is None:
            out[self._all_words] = generator_to_words(generator)
        else:
            out[self._two_words] = self._rest
            out[self._eight_words] = self._numbers

    def load(self, row: np.ndarray, generator: np.random.Generator) -> None:
        self.write(row[self._all_words], generator)

    def write(self, words: np.ndarray, generator: np.random.Generator) -> None:
        if generator.bit_generator is not self._bits:
            self._find(generator)
        if self._rest is None:
            words_to_generator(words.tolist(), generator)
        else:
            self._rest[:] = words[:2]
            self._numbers[:] = words[2:]

    def _find(self, generator: np.random.Generator) -> None:
        expected = generator_to_words(generator)
        bits: Any = generator.bit_generator
        address = bits.ctypes.state_address  # a pointer to the numbers, then the spare half
        numbers: Any = ctypes.c_uint32 * 8
        rest: Any = ctypes.c_uint32 * 2
        pointer = ctypes.c_void_p.from_address(address).value or 0
        after = address + ctypes.sizeof(ctypes.c_void_p)
        self._bits, self._rest = bits, None
        if 0 < pointer - address < bits.__sizeof__():  # both are inside numpy's object
            left = np.frombuffer(rest.from_address(after), np.uint32)
            found = np.frombuffer(numbers.from_address(pointer), np.uint32)
            if [*left.tolist(), *found.tolist()] == expected:
                self._rest, self._numbers = left, found


class RandomMemory:
    """Saves and restores one ``RandomState``, in 1 us; its own methods take 40 us.

    The words are read and written in place. Only the spare normal number, which is stored
    elsewhere, needs numpy's methods, and only if it differs. Draws between two calls of ``save``
    are noticed by the words. Code that may have used only the spare normal number must call
    ``drawn``.
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
        if not self._known or (self._words != self._seen).any():
            state: Any = self._random.get_state()
            self._spare[:] = state[3:]
            self._seen[:] = self._words
            self._known = True
        out[:16] = self._spare.view(np.uint8)
        out[16:-4] = self._words.view(np.uint8)
        out[-4:] = 0

    def load(self, row: np.ndarray) -> None:
        spare = np.frombuffer(row[:16].tobytes())
        if not self._known or (self._words != self._seen).any() or (spare != self._spare).any():
            words = np.frombuffer(row[16:].tobytes(), np.uint32)
            state = "MT19937", words[:KEYS], int(words[KEYS]), int(spare[0]), float(spare[1])
            self._random.set_state(state)
            self._spare[:] = spare
            self._known = True
        self._words.view(np.uint8)[:] = row[16:-4]
        self._seen[:] = self._words

"""numpy's PCG64 generator, which Gymnasium's environments use, as ten numbers below 2**32.

::

    has a spare half? | spare half | state (4 words, lowest first) | increment (4 words)

numpy's own ``state``, a nested dict of long integers, takes 10 us. :class:`GeneratorMemory` reads
and writes the numbers in place. For batches there are columns of 64-bit numbers, ``[B]`` each: state
and increment, the higher half of each first.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = [
    "GENERATOR_WORDS",
    "GeneratorMemory",
    "advanced",
    "generator_to_words",
    "numbers_of",
    "words_of",
    "words_of_seed",
    "words_of_seeds",
    "words_to_generator",
]

GENERATOR_WORDS = 10
SHIFTS = (0, 32, 64, 96)
LOW_HALF, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64
MULTIPLIER_HIGH, MULTIPLIER_LOW = np.uint64(MULTIPLIER >> 64), np.uint64(MULTIPLIER & (2**64 - 1))


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


def words_of_seeds(seeds: np.ndarray) -> np.ndarray:
    """``[B, GENERATOR_WORDS]`` the same for ``[B]`` seeds, by numpy's formulas for SeedSequence."""
    seeds = seeds.astype(np.uint64)
    pool = np.zeros((4, len(seeds)), np.uint32)
    pool[0], pool[1] = seeds & LOW_HALF, seeds >> HALF
    pool = _hashed(pool, POOL_HASHES[0])
    for source, hashes in enumerate(POOL_HASHES[1:5]):
        mixed = _mixed(pool, _hashed(pool[source], hashes))
        mixed[source] = pool[source]
        pool = mixed
    pool = _mixed(pool, _hashed(np.uint32(0), POOL_HASHES[5]))  # 0: the spawn key
    low, high = _hashed(np.concatenate([pool, pool]), STATE_HASHES[0]).reshape(4, 2, -1).swapaxes(0, 1)
    more_first, first, more_inc, inc = low | high.astype(np.uint64) << HALF
    more_inc, inc = more_inc << ONE | inc >> np.uint64(63), inc << ONE | ONE
    first = first + inc
    more_first = more_first + more_inc + (first < inc)
    words = np.zeros((len(seeds), GENERATOR_WORDS), np.uint32)
    words_of(advanced([more_first, first, more_inc, inc]), words)
    return words


def _hashes(first: int, factor: int, rows: list[list[int]]) -> np.ndarray:
    """``[..., 2, n, 1]`` what :func:`_hashed` combines ``n`` words with, for places in a chain."""
    chain = np.array([first * pow(factor, k, 2**32) % 2**32 for k in range(22)], np.uint32)
    places = np.array(rows)
    return np.stack([chain[places], chain[places + 1]], 1)[..., None]


ONE, HALF_WORD = np.uint64(1), np.uint32(16)
MIXES = [[0, 4, 5, 6], [7, 0, 8, 9], [10, 11, 0, 12], [13, 14, 15, 0]]  # 0: not used
POOL_HASHES = _hashes(0x43B0D7E5, 0x931E8875, [[0, 1, 2, 3], *MIXES, [16, 17, 18, 19]])
STATE_HASHES = _hashes(0x8B51F9DD, 0x58F38DED, [list(range(8))])
MIX_LEFT, MIX_RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)


def _hashed(words: Any, hashes: np.ndarray) -> np.ndarray:
    words = (words ^ hashes[0]) * hashes[1]
    return words ^ words >> HALF_WORD


def _mixed(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    words = MIX_LEFT * left - MIX_RIGHT * right
    return words ^ words >> HALF_WORD


def numbers_of(words: np.ndarray) -> list[np.ndarray]:
    """State and increment, two columns each, of generators as ``[B, GENERATOR_WORDS]`` words."""
    state, more_state, inc, more_inc = np.ascontiguousarray(words[:, 2:]).view("<u8").T.copy()
    return [more_state, state, more_inc, inc]


def words_of(numbers: list[np.ndarray], words: np.ndarray) -> None:
    """Write the numbers from ``numbers_of`` into the words of the generators."""
    more_state, state, more_inc, inc = numbers
    columns = np.array([state, more_state, inc, more_inc], "<u8").T
    words[:, 2:GENERATOR_WORDS] = np.ascontiguousarray(columns).view("<u4")


def advanced(numbers: list[np.ndarray]) -> list[np.ndarray]:
    """The numbers of generators after their next draw."""
    high, low, more_inc, inc = numbers
    product = high * MULTIPLIER_LOW + low * MULTIPLIER_HIGH + _high_product(low, MULTIPLIER_LOW)
    low = low * MULTIPLIER_LOW + inc
    return [product + more_inc + (low < inc), low, more_inc, inc]


def _high_product(column: np.ndarray, number: np.uint64) -> np.ndarray:
    """The upper 64 bits of the 128-bit product."""
    high, low = column >> HALF, column & LOW_HALF
    number_high, number_low = number >> HALF, number & LOW_HALF
    middle = high * number_low + ((low * number_low) >> HALF)
    other = low * number_high + (middle & LOW_HALF)
    return high * number_high + (middle >> HALF) + (other >> HALF)


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

    If numpy's memory is not laid out as expected, ``state`` is used, which is slower.

    Args:
        place: offset of the words in the rows given to ``save`` and ``load``.
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
        """Restore what ``save`` wrote."""
        self.write(row[self._all_words], generator)

    def write(self, words: np.ndarray, generator: np.random.Generator) -> None:
        """Set ``generator`` to its words alone."""
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

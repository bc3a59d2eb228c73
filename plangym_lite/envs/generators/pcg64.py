"""PCG64 generators of many rows at once, as columns of 64-bit numbers.

``numbers`` are four columns, ``[B]`` each: state and increment, the higher half of each first. They
are converted from and to ``[B, GENERATOR_WORDS]`` words (``generator.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.envs.generators.generator import GENERATOR_WORDS

__all__ = ["numbers_of", "random_of", "words_of", "words_of_seeds"]

MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
MULTIPLIER_HIGH, MULTIPLIER_LOW = np.uint64(MULTIPLIER >> 64), np.uint64(MULTIPLIER & (2**64 - 1))
LOW_HALF, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
ONE, HALF_WORD = np.uint64(1), np.uint32(16)
TO_UNIT = 1.0 / 2**53
MIX_LEFT, MIX_RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)  # of SeedSequence


def numbers_of(words: np.ndarray) -> list[np.ndarray]:
    """The numbers of generators."""
    state, more_state, inc, more_inc = np.ascontiguousarray(words[:, 2:]).view("<u8").T.copy()
    return [more_state, state, more_inc, inc]


def words_of(numbers: list[np.ndarray], words: np.ndarray) -> None:
    """Write the numbers into the words of the generators."""
    more_state, state, more_inc, inc = numbers
    columns = np.array([state, more_state, inc, more_inc], "<u8").T
    words[:, 2:GENERATOR_WORDS] = np.ascontiguousarray(columns).view("<u4")


def random_of(numbers: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The result of each generator's ``random()``, and the generators afterwards."""
    numbers = _advanced(numbers)
    high, low = numbers[:2]
    mixed, turn = high ^ low, high >> np.uint64(58)
    output = (mixed >> turn) | (mixed << ((np.uint64(64) - turn) & np.uint64(63)))
    return (output >> np.uint64(11)) * TO_UNIT, numbers


def words_of_seeds(seeds: np.ndarray) -> np.ndarray:
    """The words of generators from ``[B]`` seeds, each as ``words_of_seed`` gives it.

    These are numpy's formulas of ``SeedSequence(seed, spawn_key=(0,))`` and ``PCG64``.
    """
    seeds = seeds.astype(np.uint64)
    pool = np.zeros((4, len(seeds)), np.uint32)
    pool[0], pool[1] = seeds & LOW_HALF, seeds >> HALF
    pool = _hashed(pool, POOL_HASHES[0])
    for source, hashes in enumerate(POOL_HASHES[1:]):
        mixed = _mixed(pool, _hashed(pool[source], hashes))
        mixed[source] = pool[source]
        pool = mixed
    pool = _mixed(pool, SPAWN_KEY)
    low, high = _hashed(np.concatenate([pool, pool]), STATE_HASHES).reshape(4, 2, -1).swapaxes(0, 1)
    more_first, first, more_inc, inc = low | high.astype(np.uint64) << HALF
    more_inc, inc = more_inc << ONE | inc >> np.uint64(63), inc << ONE | ONE
    first = first + inc
    more_first = more_first + more_inc + (first < inc)
    words = np.zeros((len(seeds), GENERATOR_WORDS), np.uint32)
    words_of(_advanced([more_first, first, more_inc, inc]), words)
    return words


def _advanced(numbers: list[np.ndarray]) -> list[np.ndarray]:
    """The numbers after the next draw."""
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


def _hashed(words: Any, hashes: np.ndarray) -> np.ndarray:
    words = (words ^ hashes[0]) * hashes[1]
    return words ^ words >> HALF_WORD


def _mixed(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    words = MIX_LEFT * left - MIX_RIGHT * right
    return words ^ words >> HALF_WORD


def _hashes(first: int, factor: int, rows: list[Any]) -> np.ndarray:
    """For each row of ``n`` places in a chain of constants ``[2, n, 1]``, for :func:`_hashed`."""
    chain = np.array([first * pow(factor, k, 2**32) % 2**32 for k in range(22)], np.uint32)
    places = np.array(rows)
    return np.stack([chain[places], chain[places + 1]], 1)[..., None]


MIXES = [[0, 4, 5, 6], [7, 0, 8, 9], [10, 11, 0, 12], [13, 14, 15, 0]]  # 0: not used
*POOL_HASHES, KEY_HASHES = _hashes(0x43B0D7E5, 0x931E8875, [range(4), *MIXES, range(16, 20)])
(STATE_HASHES,) = _hashes(0x8B51F9DD, 0x58F38DED, [range(8)])
SPAWN_KEY = _hashed(np.uint32(0), KEY_HASHES)

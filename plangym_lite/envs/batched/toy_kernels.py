"""Kernels for toy text: the tables of the grid worlds, and a PCG64 generator for each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.envs.batched.kernel import Block, Kernel, Parts
from plangym_lite.envs.generators.generator import GENERATOR_WORDS

__all__ = ["GridWorld", "numbers_of", "random_of", "words_of"]

LOW_HALF, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64
MULTIPLIER_HIGH, MULTIPLIER_LOW = np.uint64(MULTIPLIER >> 64), np.uint64(MULTIPLIER & (2**64 - 1))
TO_UNIT = 1.0 / 2**53


class GridWorld(Kernel):
    """FrozenLake, CliffWalking, Taxi.

    Parts: last action + 1, orientation, state and increment of the generator (two words each, the
    higher first), cell, and the probability of the last move.
    """

    def __init__(self, base: Any) -> None:
        super().__init__(base)
        table, cells = base.P, len(base.P)
        actions = len(table[0])
        most = max(len(moves) for row in table.values() for moves in row.values())
        self.table = table
        self.reached = np.full((cells, actions, most), -np.inf)  # sums of probabilities
        self.outcomes = np.zeros((4, cells, actions, most))  # probability, cell, reward, ends
        for cell, row in table.items():
            for action, moves in row.items():
                self.reached[cell, action, : len(moves)] = np.cumsum([move[0] for move in moves])
                self.outcomes[:, cell, action, : len(moves)] = np.transpose(moves)
        self.turns = hasattr(base, "taxi_orientation")
        masked = hasattr(base, "action_mask")
        self.masks = np.stack([base.action_mask(cell) for cell in range(cells)]) if masked else None

    def accepts(self, block: Block) -> bool:
        return self.base.P is self.table and not getattr(self.base, "fickle_passenger", False)

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        _, orientation, *numbers, cell, _ = parts
        drawn, numbers = random_of(numbers)
        chosen = np.argmax(self.reached[cell, actions] > drawn[:, None], axis=1)
        chance, after, rewards, ends = self.outcomes[:, cell, actions, chosen]
        if self.turns:
            orientation = np.where(actions < 4, actions, orientation)
        cells = after.astype(np.int64)
        return [actions + 1, orientation, *numbers, cells, chance], rewards, ends.astype(bool)

    def observe(self, parts: Parts) -> np.ndarray:
        return parts[-2]

    def told(self, parts: Parts) -> dict[str, Any]:
        told = {"prob": parts[-1].tolist()}
        return told if self.masks is None else {**told, "action_mask": self.masks[parts[-2]]}


def numbers_of(words: np.ndarray) -> list[np.ndarray]:
    """State and increment, two columns each, of generators as ``[B, GENERATOR_WORDS]`` words."""
    state, more_state, inc, more_inc = np.ascontiguousarray(words[:, 2:]).view("<u8").T.copy()
    return [more_state, state, more_inc, inc]


def words_of(numbers: list[np.ndarray], words: np.ndarray) -> None:
    """Write the numbers from ``numbers_of`` into the words of the generators."""
    more_state, state, more_inc, inc = numbers
    columns = np.stack([state, more_state, inc, more_inc], axis=1).astype("<u8", copy=False)
    words[:, 2:GENERATOR_WORDS] = columns.view("<u4")


def random_of(numbers: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The result of each generator's ``random()``, and the generators afterwards."""
    high, low, more_inc, inc = numbers
    product = high * MULTIPLIER_LOW + low * MULTIPLIER_HIGH + _high_product(low, MULTIPLIER_LOW)
    low = low * MULTIPLIER_LOW + inc
    high = product + more_inc + (low < inc)
    mixed, turn = high ^ low, high >> np.uint64(58)
    output = (mixed >> turn) | (mixed << ((np.uint64(64) - turn) & np.uint64(63)))
    return (output >> np.uint64(11)) * TO_UNIT, [high, low, more_inc, inc]


def _high_product(column: np.ndarray, number: np.uint64) -> np.ndarray:
    """The upper 64 bits of the 128-bit product."""
    high, low = column >> HALF, column & LOW_HALF
    number_high, number_low = number >> HALF, number & LOW_HALF
    middle = high * number_low + ((low * number_low) >> HALF)
    other = low * number_high + (middle & LOW_HALF)
    return high * number_high + (middle >> HALF) + (other >> HALF)

"""Kernels for toy text: the tables of the grid worlds, and a PCG64 generator for each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.envs.batched.kernel import Block, Kernel, Parts
from plangym_lite.envs.generators.pcg64 import random_of

__all__ = ["GridWorld"]


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

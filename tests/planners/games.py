"""Two games for two players, as plain Gymnasium environments: +1 to whoever moves and wins."""

from __future__ import annotations

from functools import cache

import gymnasium as gym
import numpy as np
from gymnasium import spaces

__all__ = ["Nim", "TicTacToe", "best_cells", "solve"]

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


class TicTacToe(gym.Env):
    """The board as who is to move sees it; an illegal move raises."""

    observation_space, action_space = spaces.Box(-1, 1, (9,), np.int8), spaces.Discrete(9)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.board, self.player = np.zeros(9, np.int8), 1
        for cell in (options or {}).get("moves", ()):
            self.step(cell)
        return self._seen()

    def step(self, cell):
        if self.board[cell]:
            raise ValueError(f"illegal move {cell}")
        self.board[cell] = self.player
        won = any(all(self.board[c] == self.player for c in line) for line in LINES)
        self.player = -self.player
        obs, info = self._seen()
        return obs, float(won), bool(won or self.board.all()), False, info

    def _seen(self):
        return self.board * np.int8(self.player), {"action_mask": (self.board == 0).astype(np.int8)}


@cache
def solve(board: tuple[int, ...]) -> int:
    """What a board is worth to who is to move: 1, 0 or -1; his own stones are 1."""
    if any(all(board[c] == -1 for c in line) for line in LINES):
        return -1
    if all(board):
        return 0
    return max(_gain(board, cell) for cell in range(9) if not board[cell])


def _gain(board: tuple[int, ...], cell: int) -> int:
    return -solve(tuple(-(1 if k == cell else stone) for k, stone in enumerate(board)))


def best_cells(board: tuple[int, ...]) -> list[int]:
    """The moves that keep what a board is worth."""
    return [c for c in range(9) if not board[c] and _gain(board, c) == solve(board)]


class Nim(gym.Env):
    """Heaps of 1, 3 and 5: action ``5 * heap + k`` takes ``k + 1``; who takes the last one wins."""

    observation_space, action_space = spaces.Box(0, 5, (3,), np.int8), spaces.Discrete(15)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.heaps = np.array([1, 3, 5], np.int8)
        return self.heaps.copy(), self._info()

    def step(self, action):
        heap, k = divmod(int(action), 5)
        if k + 1 > self.heaps[heap]:
            raise ValueError(f"illegal move {action}")
        self.heaps[heap] -= k + 1
        won = not self.heaps.any()
        return self.heaps.copy(), float(won), won, False, self._info()

    def _info(self):
        return {"action_mask": (np.arange(1, 6) <= self.heaps[:, None]).ravel().astype(np.int8)}

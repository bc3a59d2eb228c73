"""Two games for two players, as plain Gymnasium environments: +1 to whoever moves and wins."""

from __future__ import annotations

from functools import cache

import gymnasium as gym
import numpy as np
from gymnasium import spaces

__all__ = ["Chess", "Coins", "Nim", "TicTacToe", "best_cells", "best_gains", "solve"]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/- "
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


class Chess(gym.Env):
    """Chess from a position ``fen``: action ``64 * from + to``, pawns become queens."""

    observation_space = spaces.Text(100, charset=LETTERS)
    action_space = spaces.Discrete(4096)

    def __init__(self, fen):
        import chess

        self.chess, self.fen = chess, fen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.board = self.chess.Board(self.fen)
        return self.board.fen(), self._info()

    def step(self, action):
        start, end = divmod(int(action), 64)
        move = self.board.find_move(start, end)  # raises, if it is illegal
        self.board.push(move)
        won = self.board.is_checkmate()
        over = won or self.board.is_game_over()
        return self.board.fen(), float(won), over, False, self._info()

    def _info(self):
        mask = np.zeros(4096, np.int8)
        for move in self.board.legal_moves:
            mask[64 * move.from_square + move.to_square] = 1
        return {"action_mask": mask}


class Coins(gym.Env):
    """A row of coins: the players in turn take the first (0) or the last (1); earn it."""

    observation_space, action_space = spaces.Box(0, 9, (2,), np.int8), spaces.Discrete(2)

    def __init__(self, coins):
        self.coins = coins

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left, self.right = 0, len(self.coins) - 1
        return np.array([self.left, self.right], np.int8), {}

    def step(self, last):
        coin = self.coins[self.right if last else self.left]
        self.left, self.right = self.left + 1 - last, self.right - last
        obs = np.array([self.left, self.right], np.int8)
        return obs, float(coin), self.left > self.right, False, {}


@cache
def best_gains(coins: tuple[int, ...]) -> tuple[int, int]:
    """What taking the first or the last coin earns in the end, less what the other player does."""
    return tuple(
        coin - max(best_gains(rest)) if rest else coin
        for coin, rest in ((coins[0], coins[1:]), (coins[-1], coins[:-1]))
    )

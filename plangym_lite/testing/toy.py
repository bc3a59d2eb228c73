"""A toy in pure Python, for tests of planners and as an example of an adapter.

:class:`ToyEnv` has only the hooks of :class:`~plangym_lite.simulator.SimulatorEnv`. The agent walks
along a corridor::

    cell        0     1     2     3    ...   size - 1
              coin                           treasure
    reward     0.3  -0.01 -0.01 -0.01          1.0        both ends are terminal

A planner whose horizon is too short takes the coin. ``best_return`` is the return of the best plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.errors import InvalidStateError
from plangym_lite.simulator import SimulatorEnv

__all__ = ["LEFT", "RIGHT", "STAY", "ToyEnv"]

LEFT, STAY, RIGHT = range(3)
COIN, TREASURE, STEP_COST = 0.3, 1.0, -0.01
START = 2
ENDED, CELL, ELAPSED, RANDOM, STATE_SIZE = range(5)
TILE = 8  # pixels


class ToyEnv(SimulatorEnv):
    """A corridor with a coin at its near end and a treasure at its far end.

    Args:
        name: a label.
        frameskip: moves per unit of ``dt``.
        autoreset: see :class:`~plangym_lite.simulator.SimulatorEnv`.
        delay_setup: build at first use.
        return_image: put the image in ``info["rgb"]``.
        size: number of cells, at least 4.
        slip: probability of moving the other way; above 0 the first cell is also random.
        time_limit: number of moves after which an episode is truncated.
    """

    def __init__(
        self,
        name: str = "toy",
        frameskip: int = 1,
        autoreset: bool = True,
        delay_setup: bool = False,
        return_image: bool = False,
        *,
        size: int = 8,
        slip: float = 0.0,
        time_limit: int | None = None,
    ) -> None:
        if size < START + 2:
            raise ValueError(f"size must be at least {START + 2}, got {size}")
        if not 0.0 <= slip < 1.0:
            raise ValueError(f"slip must be in [0, 1), got {slip}")
        self.size = size
        self.slip = slip
        self.time_limit = time_limit
        super().__init__(name, frameskip, autoreset, delay_setup, return_image)

    @property
    def best_return(self) -> float:
        """The return of the best plan from cell 2 with ``slip=0`` and one move per step."""
        steps = self.size - 1 - START
        return TREASURE + STEP_COST * (steps - 1)

    # ---- the hooks ----------------------------------------------------------------------------

    def build_engine(self) -> None:
        self.observation_space = spaces.Box(0.0, float(self.size - 1), (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._random = 0
        self.apply_reset(None, None)

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        if seed is not None:
            self._random = seed % 2**32
        self._elapsed = 0
        self._cell = START
        if self.slip:
            self._cell += int(self._draw() * (self.size - 1 - START))
        return {"cell": self._cell}

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        total, n_step, terminated, truncated = 0.0, 0, False, False
        while n_step < n_frames and not (terminated or truncated):
            total += self._move(int(action) - 1)
            n_step += 1
            terminated = self._cell in (0, self.size - 1)
            truncated = self.time_limit is not None and self._elapsed >= self.time_limit
        return total, terminated, truncated, {"cell": self._cell, "n_step": n_step}

    def current_obs(self) -> Any:
        return np.array([self._cell, self._cell == self.size - 1], np.float32)

    def current_info(self) -> dict[str, Any]:
        return {"cell": self._cell}

    def seed_generators(self, seed: int) -> Callable[[], None]:
        self._random = seed % 2**32
        return lambda: None  # it is part of the state

    def save_state(self, out: np.ndarray | None = None) -> Any:
        if out is None:
            out = np.empty(STATE_SIZE)
        out[:] = self._ended, self._cell, self._elapsed, self._random
        return out

    def load_state(self, state: Any) -> None:
        ended, cell, elapsed, random = (int(number) for number in state)
        if ended not in range(4) or cell not in range(self.size):
            raise InvalidStateError(f"not a state of {self!r}: {state}")
        self._ended, self._cell, self._elapsed, self._random = ended, cell, elapsed, random

    def draw_image(self) -> np.ndarray:
        image = np.full((TILE, TILE * self.size, 3), 40, np.uint8)
        image[2:-2, 2 : TILE - 2] = (220, 120, 40)
        image[2:-2, -TILE + 2 : -2] = (250, 220, 60)
        image[1:-1, self._cell * TILE + 1 : (self._cell + 1) * TILE - 1] = (80, 160, 250)
        return image

    # ---- the simulator ------------------------------------------------------------------------

    def _move(self, way: int) -> float:
        if self.slip and self._draw() < self.slip:
            way = -way
        self._cell = min(max(self._cell + way, 0), self.size - 1)
        self._elapsed += 1
        if self._cell == 0:
            return COIN
        return TREASURE if self._cell == self.size - 1 else STEP_COST

    def _draw(self) -> float:
        """A number in [0, 1) from a generator whose state is one integer."""
        self._random = (self._random * 1664525 + 1013904223) % 2**32
        return self._random / 2**32

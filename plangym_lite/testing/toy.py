"""Toys: four small environments in pure Python, for tests and as examples.

:class:`ToyEnv` is an example of an adapter: it has only the hooks of
:class:`~plangym_lite.simulator.SimulatorEnv`. The agent walks along a corridor::

    cell        0     1     2     3    ...   size - 1
              coin                           treasure
    reward     0.3  -0.01 -0.01 -0.01          1.0        both ends are terminal

A planner whose horizon is too short takes the coin. ``best_return`` is the return of the best plan.
:class:`OpaqueToy` has states that are not arrays, :class:`NestedToy` nested observations and
actions, :class:`ContinuousToy` continuous actions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.errors import InvalidStateError
from plangym_lite.simulator import SimulatorEnv

__all__ = ["LEFT", "RIGHT", "STAY", "ContinuousToy", "NestedToy", "OpaqueToy", "ToyEnv", "ToyError"]

LEFT, STAY, RIGHT = range(3)
COIN, TREASURE, STEP_COST = 0.3, 1.0, -0.01
START = 2
ENDED, CELL, ELAPSED, RANDOM, STATE_SIZE = range(5)
TILE = 8  # pixels


class ToyError(Exception):
    """Raised by :class:`ToyEnv` for the action ``fail_at``."""


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
        fail_at: this action raises :class:`ToyError`.
        sleep_at: this action takes ``sleep_for`` seconds.
        sleep_for: see ``sleep_at``.
        exit_at: this action ends the process, like a crash of the simulator.
        trouble_once: path of a file; the three faults above happen only if it does not exist, and
            create it, so that they happen once.
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
        fail_at: int | None = None,
        sleep_at: int | None = None,
        sleep_for: float = 1.0,
        exit_at: int | None = None,
        trouble_once: str | None = None,
    ) -> None:
        if size < START + 2:
            raise ValueError(f"size must be at least {START + 2}, got {size}")
        if not 0.0 <= slip < 1.0:
            raise ValueError(f"slip must be in [0, 1), got {slip}")
        self.size = size
        self.slip = slip
        self.time_limit = time_limit
        self._fail_at, self._sleep_at, self._exit_at = fail_at, sleep_at, exit_at
        self._sleep_for, self._trouble_once = sleep_for, trouble_once
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
        go, way = self._decode(action)
        self._make_trouble(go)
        while n_step < n_frames and not (terminated or truncated):
            total += self._move(way)
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

    def _decode(self, action: Any) -> tuple[int, int]:
        """``LEFT``, ``STAY`` or ``RIGHT``, and the number of cells to the right."""
        return int(action), int(action) - 1

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

    def _make_trouble(self, action: int) -> None:
        if action not in (self._fail_at, self._sleep_at, self._exit_at):
            return
        if self._trouble_once is not None:
            if os.path.exists(self._trouble_once):
                return
            with open(self._trouble_once, "w"):
                pass
        if action == self._fail_at:
            raise ToyError(f"{self!r} fails at action {action}, as it was told to")
        if action == self._exit_at:
            os._exit(3)
        time.sleep(self._sleep_for)


class OpaqueToy(ToyEnv):
    """A toy whose states are tuples, opaque picklable values."""

    STATE_IS_ARRAY = False

    def save_state(self, out: np.ndarray | None = None) -> Any:
        return self._ended, self._cell, self._elapsed, self._random

    def load_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != STATE_SIZE:
            raise InvalidStateError(f"not a state of {self!r}: {state!r}")
        super().load_state(state)


class NestedToy(ToyEnv):
    """A toy with nested observations and actions."""

    OBS_IS_ARRAY = False

    def build_engine(self) -> None:
        super().build_engine()
        walls = spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(2)))
        self.observation_space = spaces.Dict(
            {"place": spaces.Box(0, self.size, (1,), np.float64), "walls": walls}
        )
        self.action_space = spaces.Dict({"go": spaces.Discrete(3), "pace": spaces.Discrete(2)})

    def current_obs(self) -> Any:
        near, far = self._cell <= 1, self._cell >= self.size - 2
        walls = np.int64(near or far), np.array([near, far], np.int8)
        return {"place": np.array([self._cell], np.float64), "walls": walls}

    def _decode(self, action: Any) -> tuple[int, int]:
        go = int(action["go"])
        return go, (go - 1) * (1 + int(action["pace"]))


class ContinuousToy(ToyEnv):
    """A toy whose action is one number: below -1/3 it goes left, above 1/3 right."""

    def build_engine(self) -> None:
        super().build_engine()
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def _decode(self, action: Any) -> tuple[int, int]:
        way = int(action[0] > 1 / 3) - int(action[0] < -1 / 3)
        return way + 1, way

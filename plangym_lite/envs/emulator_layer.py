"""EmulatorLayer: lets Gymnasium's stack of wrappers run on an :class:`Emulator`."""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
from ale_py.env import AtariEnv

from plangym_lite.envs.emulator import Emulator

__all__ = ["EmulatorLayer"]


class EmulatorLayer(gym.Wrapper):
    """The base environment as wrappers see it; its console is stepped by the emulator."""

    def __init__(self, base: AtariEnv, emulator: Emulator) -> None:
        super().__init__(base)
        self.emulator = emulator
        self.skip: Any = base._frameskip

    def decode(self, action: Any) -> tuple[ale_py.Action, float]:
        """The console's action and paddle strength for an element of the action space."""
        base: Any = self.env
        if not base.continuous:
            return base._action_set[action], 1.0
        radius, angle, fire = (float(number) for number in action)
        threshold = base.continuous_action_threshold
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        sides = [int(number > threshold) - int(number < -threshold) for number in (x, y)]
        return base.map_action_idx(sides[0], sides[1], fire > threshold), radius

    def read(self) -> Any:
        """The observation, its picture brought up to date."""
        if self.env._obs_type != "ram":  # type: ignore[attr-defined]
            self.emulator.refresh_picture()
        return self.env._get_obs()  # type: ignore[attr-defined]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        base: Any = self.env
        seeds = None if seed is None else base.seed_game(seed)
        self.emulator.reset(base.load_game if seed is not None else None)
        info = base._get_info()
        return self.read(), info if seeds is None else {**info, "seeds": seeds}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        base: Any = self.env
        command, strength = self.decode(action)
        skip = self.skip if isinstance(self.skip, int) else base.np_random.integers(*self.skip)
        reward, _ = self.emulator.run(command, int(skip), 0, strength)
        over = base.ale.game_over(with_truncation=False)
        return self.read(), float(reward), over, base.ale.game_truncated(), base._get_info()

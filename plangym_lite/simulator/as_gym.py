"""GymView: a PlanEnv as a ``gymnasium.Env``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from plangym_lite.core import PlanEnv

__all__ = ["GymView"]


class GymView(gym.Env[Any, Any]):
    """Moves the current state of a ``PlanEnv``, whose batches leave it alone; closed with this."""

    def __init__(self, plan_env: PlanEnv) -> None:
        self.plan_env = plan_env
        spec = plan_env.batch_spec
        self.observation_space, self.action_space = spec.observation_space, spec.action_space
        local: Any = plan_env.unwrapped
        draws = getattr(local, "render_mode", None) == "rgb_array"
        self.render_mode = "rgb_array" if draws else None
        self.metadata = {
            "render_modes": ["rgb_array"] if draws else [],
            "render_fps": getattr(local, "render_fps", 30),
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.plan_env.reset(False, seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return tuple(self.plan_env.step(action))

    def render(self) -> Any:
        """The image of the current state; ``None`` without ``render_mode="rgb_array"``."""
        return self.plan_env.get_image() if self.render_mode else None

    def close(self) -> None:
        self.plan_env.close()

"""HalfCheetah, Hopper, Swimmer and Walker2d: forward reward minus control cost."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from plangym_lite.envs.batched.kernel import Parts
from plangym_lite.envs.mujoco.kernels.robot import Fields, Robot, is_within, lengths_of

__all__ = [
    "Hopper",
    "HopperV4",
    "Runner",
    "RunnerV4",
    "Swimmer",
    "SwimmerV4",
    "Walker",
    "WalkerV4",
]


class Runner(Robot):
    """HalfCheetah. Measured: velocities ``[B, directions]`` and control cost ``[B]``."""

    is_endless = True
    directions: ClassVar[int] = 1  # dimensions it moves in; observations may omit these positions

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        velocities = self.velocities(before, after)
        efforts = self.cost_of(self.base._ctrl_cost_weight, actions)
        return [velocities, efforts], self.forward(velocities) - efforts, False

    def velocities(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """How fast it moved, ``[B, directions]``."""
        old, new = self.column(before, "qpos"), self.column(after, "qpos")
        return (new[:, : self.directions] - old[:, : self.directions]) / self.dt

    def forward(self, velocities: np.ndarray) -> np.ndarray:
        """The reward for moving."""
        return self.base._forward_reward_weight * velocities[:, 0]

    def observe(self, parts: Parts) -> np.ndarray:
        places, speeds = self.column(parts[0], "qpos"), self.column(parts[0], "qvel")
        if self.base._exclude_current_positions_from_observation:
            places = places[:, self.directions :]
        return np.concatenate((places, self.seen(speeds)), axis=1)

    def seen(self, speeds: np.ndarray) -> np.ndarray:
        """The velocities that the observation shows."""
        return speeds

    def told(self, parts: Parts) -> dict[str, Any]:
        velocities, efforts, *_ = self.measured_of(parts)
        return {
            "x_position": self.column(parts[0], "qpos")[:, 0],
            "x_velocity": velocities[:, 0],
            "reward_forward": self.forward(velocities),
            "reward_ctrl": -efforts,
        }


class RunnerV4(Runner):
    """HalfCheetah-v4."""

    def told(self, parts: Parts) -> dict[str, Any]:
        x, velocity, forward, effort = super().told(parts).values()
        return {
            "x_position": x,
            "x_velocity": velocity,
            "reward_run": forward,
            "reward_ctrl": effort,
        }


class Swimmer(Runner):
    """Swimmer, which moves in two dimensions."""

    directions = 2

    def told(self, parts: Parts) -> dict[str, Any]:
        told = super().told(parts)
        places = self.column(parts[0], "qpos")[:, :2]
        return {
            "x_position": told["x_position"],
            "y_position": places[:, 1],
            "distance_from_origin": lengths_of(places),
            "x_velocity": told["x_velocity"],
            "y_velocity": self.measured_of(parts)[0][:, 1],
            "reward_forward": told["reward_forward"],
            "reward_ctrl": told["reward_ctrl"],
        }


class SwimmerV4(Swimmer):
    """Swimmer-v4."""

    def told(self, parts: Parts) -> dict[str, Any]:
        told = super().told(parts)
        forward, effort = told.pop("reward_forward"), told.pop("reward_ctrl")
        first = {"reward_fwd": forward, "reward_ctrl": effort}
        return {**first, **told, "forward_reward": forward}


class Walker(Runner):
    """Walker2d, whose episode ends when it falls. Measured last: health, ``[B]``."""

    is_endless = False

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        velocities = self.velocities(before, after)
        efforts = self.cost_of(self.base._ctrl_cost_weight, actions)
        healthy = self.is_healthy(after)
        rewards = self.forward(velocities) + self.survival(healthy) - efforts
        over = ~healthy & bool(self.base._terminate_when_unhealthy)
        return [velocities, efforts, healthy], rewards, over

    def is_healthy(self, memory: np.ndarray) -> np.ndarray:
        """Whether the bodies are healthy, ``[B]``."""
        height, angle = self.column(memory, "qpos")[:, 1:3].T
        ranges = self.base._healthy_z_range, self.base._healthy_angle_range
        return is_within(height, ranges[0]) & is_within(angle, ranges[1])

    def survival(self, healthy: np.ndarray) -> Any:
        """The reward for being healthy."""
        return healthy * self.base._healthy_reward

    def seen(self, speeds: np.ndarray) -> np.ndarray:
        return np.clip(speeds, -10, 10)

    def told(self, parts: Parts) -> dict[str, Any]:
        told = super().told(parts)
        return {
            "x_position": told.pop("x_position"),
            "z_distance_from_origin": (
                self.column(parts[0], "qpos")[:, 1] - self.base.init_qpos[1]
            ),
            **told,
            "reward_survive": self.survival(self.measured_of(parts)[2]),
        }


class WalkerV4(Walker):
    """Walker2d-v4, which is also rewarded for the frame in which it falls."""

    def survival(self, healthy: np.ndarray) -> Any:
        return (healthy | bool(self.base._terminate_when_unhealthy)) * self.base._healthy_reward

    def told(self, parts: Parts) -> dict[str, Any]:
        x, velocity, *_ = Runner.told(self, parts).values()
        return {"x_position": x, "x_velocity": velocity}


class Hopper(Walker):
    """Hopper, whose info has the survival reward as a Python number."""

    def is_healthy(self, memory: np.ndarray) -> np.ndarray:
        numbers = (self.column(memory, "qpos")[:, 2:], self.column(memory, "qvel"))
        limits = self.base._healthy_state_range
        usual = [is_within(part, limits).all(axis=1) for part in numbers]
        return usual[0] & usual[1] & super().is_healthy(memory)

    def told(self, parts: Parts) -> dict[str, Any]:
        told = super().told(parts)
        return {**told, "reward_survive": told["reward_survive"].tolist()}


class HopperV4(Hopper, WalkerV4):
    """Hopper-v4."""

    def told(self, parts: Parts) -> dict[str, Any]:
        return WalkerV4.told(self, parts)

"""Reacher, Pusher and the pendulums: distances to a target."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.envs.batched.kernel import Parts
from plangym_lite.envs.mujoco.kernels.robot import Fields, Robot, lengths_of

__all__ = [
    "DoublePendulum",
    "DoublePendulumV4",
    "Pendulum",
    "PendulumV4",
    "Pusher",
    "Reacher",
    "ReacherV4",
]


class Pendulum(Robot):
    """InvertedPendulum. Measured: the reward, ``[B]`` int64."""

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        seen = self.observe([after])
        over = ~np.isfinite(seen).all(axis=1) | (np.abs(seen[:, 1]) > 0.2)
        rewards = self.rewards(over)
        return [rewards], rewards, over

    def rewards(self, over: np.ndarray) -> np.ndarray:
        """The rewards."""
        return (~over).astype(np.int64)

    def observe(self, parts: Parts) -> np.ndarray:
        columns = self.column(parts[0], "qpos"), self.column(parts[0], "qvel")
        return np.concatenate(columns, axis=1)

    def told(self, parts: Parts) -> dict[str, Any]:
        return {"reward_survive": self.measured_of(parts)[0].tolist()}


class PendulumV4(Pendulum):
    """InvertedPendulum-v4, which is also rewarded for its last frame."""

    def rewards(self, over: np.ndarray) -> np.ndarray:
        return np.ones(len(over))

    def told(self, parts: Parts) -> dict[str, Any]:
        return {}


class DoublePendulum(Robot):
    """InvertedDoublePendulum. Measured: whether it is over, and two penalties, ``[B]``."""

    reads = ("site_xpos", "qfrc_constraint")
    n_forces: int | None = 1  # in the observation

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        x, _, y = new["site_xpos"][:, :3].T
        v1, v2 = self.column(after, "qvel")[:, 1:3].T
        over = y <= 1
        distances = 0.01 * _squares(x) + _squares(y - 2)
        speeds = 1e-3 * _squares(v1) + 5e-3 * _squares(v2)
        return [over, distances, speeds], self.bonus(over) - distances - speeds, over

    def bonus(self, over: np.ndarray) -> Any:
        """The reward for standing."""
        return self.base._healthy_reward * (~over).astype(np.int64)

    def observe(self, parts: Parts) -> np.ndarray:
        places, speeds = self.column(parts[0], "qpos"), self.column(parts[0], "qvel")
        angles = np.ascontiguousarray(places[:, 1:])
        forces = self.fields_of(parts)["qfrc_constraint"][:, : self.n_forces]
        seen = [places[:, :1], np.sin(angles), np.cos(angles)]
        return np.concatenate([*seen, np.clip(speeds, -10, 10), np.clip(forces, -10, 10)], axis=1)

    def told(self, parts: Parts) -> dict[str, Any]:
        over, distances, speeds = self.measured_of(parts)
        return {
            "reward_survive": self.bonus(over).tolist(),
            "distance_penalty": -distances,
            "velocity_penalty": -speeds,
        }


class DoublePendulumV4(DoublePendulum):
    """InvertedDoublePendulum-v4, which is also rewarded for its last frame."""

    n_forces = None

    def bonus(self, over: np.ndarray) -> Any:
        return 10

    def told(self, parts: Parts) -> dict[str, Any]:
        return {}


class Reacher(Robot):
    """Reacher. Measured: the two parts of the reward, ``[B]``, and the way to the target."""

    is_endless = True
    reads = ("xpos",)

    def way(self, fields: Fields) -> np.ndarray:
        """From the target to the fingertip, ``[B, 3]``."""
        return self.place("fingertip", fields) - self.place("target", fields)

    def place(self, name: str, fields: Fields) -> np.ndarray:
        """Where a body is, ``[B, 3]``."""
        first = 3 * self.body(name)
        return fields["xpos"][:, first : first + 3]

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        way = self.way(new)
        far = -lengths_of(way) * self.base._reward_dist_weight
        effort = -self.cost_of(self.base._reward_control_weight, actions)
        return [far, effort, way], far + effort, False

    def observe(self, parts: Parts) -> np.ndarray:
        places, speeds = self.column(parts[0], "qpos"), self.column(parts[0], "qvel")
        angles = np.ascontiguousarray(places[:, :2])
        seen = [np.cos(angles), np.sin(angles), places[:, 2:], speeds[:, :2]]
        return np.concatenate([*seen, self.seen(self.measured_of(parts)[2])], axis=1)

    def seen(self, way: np.ndarray) -> np.ndarray:
        """The part of the way that is observed."""
        return way[:, :2]

    def told(self, parts: Parts) -> dict[str, Any]:
        far, effort, _ = self.measured_of(parts)
        return {"reward_dist": far, "reward_ctrl": effort}


class ReacherV4(Reacher):
    """Reacher-v4, which is rewarded for where it was before the step."""

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        far = -lengths_of(self.way(old))
        effort = -np.sum(np.square(actions), axis=1)
        return [far, effort, self.way(new)], far + effort, False

    def seen(self, way: np.ndarray) -> np.ndarray:
        return way


class Pusher(Reacher):
    """Pusher. Measured: the three parts of the reward, ``[B]``."""

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        thing = self.place("object", new)
        near = -lengths_of(thing - self.place("tips_arm", new)) * self.base._reward_near_weight
        far = -lengths_of(thing - self.place("goal", new)) * self.base._reward_dist_weight
        effort = -self.cost_of(self.base._reward_control_weight, actions)
        return [far, effort, near], far + effort + near, False

    def observe(self, parts: Parts) -> np.ndarray:
        fields = self.fields_of(parts)
        seen = [self.column(parts[0], name)[:, :7] for name in ("qpos", "qvel")]
        bodies = [self.place(name, fields) for name in ("tips_arm", "object", "goal")]
        return np.concatenate([*seen, *bodies], axis=1)

    def told(self, parts: Parts) -> dict[str, Any]:
        names = "reward_dist", "reward_ctrl", "reward_near"
        return dict(zip(names, self.measured_of(parts), strict=True))


def _squares(numbers: np.ndarray) -> np.ndarray:
    """``number ** 2`` of numpy scalars."""
    return np.array([number**2 for number in numbers])

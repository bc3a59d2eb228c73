"""Kernels for Gymnasium's running robots: MuJoCo steps row by row, numpy does everything else.

For a small model nearly half of the time of ``env.step`` is spent in Python. Here observations,
rewards and flags of a whole batch are computed from columns of ``qpos`` and ``qvel``, in the same
order and precision, so that the results are bit-identical.
"""

from __future__ import annotations

from typing import Any, ClassVar

import mujoco
import numpy as np

from plangym_lite.envs.batched.kernel import Kernel, Parts
from plangym_lite.envs.snapshot.mjdata import SimulationMemory

__all__ = ["KERNELS", "Runner"]


class Runner(Kernel):
    """Common parts of the running robots of version 5: forward reward minus control cost.

    Parts: the memory of the simulation, ``[B, memory.size]``, and of the last frame the velocities
    ``[B, directions]``, the control cost ``[B]`` and whether the body is healthy ``[B]``.

    Args:
        base: the environment.
        memory: the memory of its simulation.
        qpos: the place of the positions in that memory.
        qvel: the place of the velocities.
    """

    directions: ClassVar[int] = 1  # dimensions it moves in; observations may omit these positions
    tells: ClassVar[tuple[str, ...]] = (
        "x_position",
        "x_velocity",
        "reward_forward",
        "reward_ctrl",
    )

    def __init__(self, base: Any, memory: SimulationMemory, qpos: slice, qvel: slice) -> None:
        super().__init__(base)
        self._memory, self._qpos, self._qvel = memory, qpos, qvel

    def parts_of(self, memory: np.ndarray) -> Parts:
        """The parts of rows before their first frame."""
        size = len(memory)
        velocities = np.zeros((size, self.directions))
        return [memory, velocities, np.zeros(size, np.float32), np.ones(size, bool)]

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        before, base = parts[0], self.base
        after = self._simulate(before, actions)
        moved = after[:, self._qpos] - before[:, self._qpos]
        velocities = moved[:, : self.directions] / base.dt
        efforts = base._ctrl_cost_weight * np.sum(np.square(actions), axis=1)
        new = [after, velocities, efforts, self._is_healthy(after)]
        rewards = self._forward_rewards(new) - efforts
        return new, rewards, self._is_over(new)

    def _simulate(self, before: np.ndarray, actions: np.ndarray) -> np.ndarray:
        memory, n_frames = self._memory, self.base.frame_skip
        model, data = memory.model, memory.data
        control, advance, finish = data.ctrl, mujoco.mj_step, mujoco.mj_rnePostConstraint
        after = np.empty(before.shape)
        for old, action, new in zip(before, actions, after, strict=True):
            memory.load(old)
            control[:] = action
            advance(model, data, nstep=n_frames)
            finish(model, data)
            memory.save(new)
        return after

    def _is_healthy(self, memory: np.ndarray) -> np.ndarray:
        return np.ones(len(memory), bool)

    def _is_over(self, parts: Parts) -> np.ndarray:
        return ~parts[3]

    def _forward_rewards(self, parts: Parts) -> np.ndarray:
        return self.base._forward_reward_weight * parts[1][:, 0]

    def observe(self, parts: Parts) -> np.ndarray:
        places, speeds = parts[0][:, self._qpos], parts[0][:, self._qvel]
        if self.base._exclude_current_positions_from_observation:
            places = places[:, self.directions :]
        return np.concatenate((places, self._seen(speeds)), axis=1)

    def _seen(self, speeds: np.ndarray) -> np.ndarray:
        return speeds

    def infos(self, parts: Parts, n_steps: list[int]) -> list[dict[str, Any]]:
        told = self._told(parts)
        rows = zip(*(told[name] for name in self.tells), strict=True)
        return [
            dict(zip(self.tells, row, strict=True)) if count else {}
            for count, row in zip(n_steps, rows, strict=True)
        ]

    def _told(self, parts: Parts) -> dict[str, Any]:
        """Columns of the infos, in any order."""
        memory, velocities, efforts, _ = parts
        return {
            "x_position": memory[:, self._qpos][:, 0],
            "x_velocity": velocities[:, 0],
            "reward_forward": self.base._forward_reward_weight * velocities[:, 0],
            "reward_ctrl": -efforts,
        }


class Swimmer(Runner):
    """Swimmer, which moves in two dimensions."""

    directions = 2
    tells = (
        "x_position",
        "y_position",
        "distance_from_origin",
        "x_velocity",
        "y_velocity",
        "reward_forward",
        "reward_ctrl",
    )

    def _told(self, parts: Parts) -> dict[str, Any]:
        places = parts[0][:, self._qpos][:, :2]
        return {
            **super()._told(parts),
            "y_position": places[:, 1],
            "y_velocity": parts[1][:, 1],
            "distance_from_origin": [np.linalg.norm(place, ord=2) for place in places],
        }


class Walker(Runner):
    """Walker2d, whose episode ends when it falls."""

    tells = (
        "x_position",
        "z_distance_from_origin",
        "x_velocity",
        "reward_forward",
        "reward_ctrl",
        "reward_survive",
    )

    def _is_healthy(self, memory: np.ndarray) -> np.ndarray:
        height, angle = memory[:, self._qpos][:, 1:3].T
        ranges = self.base._healthy_z_range, self.base._healthy_angle_range
        return _is_within(height, ranges[0]) & _is_within(angle, ranges[1])

    def _is_over(self, parts: Parts) -> np.ndarray:
        return ~parts[3] & bool(self.base._terminate_when_unhealthy)

    def _forward_rewards(self, parts: Parts) -> np.ndarray:
        return super()._forward_rewards(parts) + self._survival(parts[3])

    def _survival(self, healthy: np.ndarray) -> Any:
        return healthy * self.base._healthy_reward

    def _seen(self, speeds: np.ndarray) -> np.ndarray:
        return np.clip(speeds, -10, 10)

    def _told(self, parts: Parts) -> dict[str, Any]:
        return {
            **super()._told(parts),
            "z_distance_from_origin": parts[0][:, self._qpos][:, 1] - self.base.init_qpos[1],
            "reward_survive": self._survival(parts[3]),
        }


class Hopper(Walker):
    """Hopper, whose info has the survival reward as a Python number."""

    def _is_healthy(self, memory: np.ndarray) -> np.ndarray:
        numbers = np.concatenate((memory[:, self._qpos], memory[:, self._qvel]), axis=1)[:, 2:]
        usual = _is_within(numbers, self.base._healthy_state_range).all(axis=1)
        return usual & super()._is_healthy(memory)

    def _told(self, parts: Parts) -> dict[str, Any]:
        told = super()._told(parts)
        return {**told, "reward_survive": told["reward_survive"].tolist()}


def _is_within(numbers: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (limits[0] < numbers) & (numbers < limits[1])


KERNELS: dict[str, type[Runner]] = {
    "gymnasium.envs.mujoco.half_cheetah_v5.HalfCheetahEnv": Runner,
    "gymnasium.envs.mujoco.hopper_v5.HopperEnv": Hopper,
    "gymnasium.envs.mujoco.swimmer_v5.SwimmerEnv": Swimmer,
    "gymnasium.envs.mujoco.walker2d_v5.Walker2dEnv": Walker,
}
"""Kernels by the class of the environment."""

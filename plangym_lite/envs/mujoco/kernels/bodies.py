"""Ant, Humanoid and HumanoidStandup, which move in space and may feel contacts."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.envs.batched.kernel import Parts
from plangym_lite.envs.mujoco.kernels.robot import Fields, Robot, is_within, lengths_of

__all__ = ["Ant", "AntV4", "Humanoid", "HumanoidV4", "Standup", "StandupV4"]


class Ant(Robot):
    """Ant. Measured: velocities ``[B, 2]``, control and contact cost and health ``[B]``."""

    def fields_read(self) -> tuple[str, ...]:
        return ("xpos", "cfrc_ext") if self.feels_contacts() else ("xpos",)

    def feels_contacts(self) -> bool:
        """Whether contact forces are observed or cost anything."""
        base = self.base
        return bool(base._include_cfrc_ext_in_observation or base._contact_cost_weight != 0)

    def torso(self) -> int:
        """The body whose movement is rewarded."""
        return self.body(self.base._main_body)

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        place = slice(3 * self.torso(), 3 * self.torso() + 2)
        velocities = (new["xpos"][:, place] - old["xpos"][:, place]) / self.dt
        healthy = self.is_healthy(after)
        efforts = self.cost_of(self.base._ctrl_cost_weight, actions)
        impacts = self.impacts(new)
        rewards = self.gains(velocities) + self.survival(healthy)
        rewards = rewards - (efforts if impacts is None else efforts + impacts)
        impacts = np.zeros(len(after)) if impacts is None else impacts
        return [velocities, efforts, impacts, healthy], rewards, self.is_over(healthy)

    def is_healthy(self, memory: np.ndarray) -> np.ndarray:
        """Whether the bodies are healthy, ``[B]``."""
        places = self.column(memory, "qpos")
        low, high = self.base._healthy_z_range
        finite = np.isfinite(places).all(axis=1)
        finite &= np.isfinite(self.column(memory, "qvel")).all(axis=1)
        return finite & (low <= places[:, 2]) & (places[:, 2] <= high)

    def is_over(self, healthy: np.ndarray) -> np.ndarray:
        """Whether the episodes terminate."""
        return ~healthy & bool(self.base._terminate_when_unhealthy)

    def gains(self, velocities: np.ndarray) -> np.ndarray:
        """The reward for moving."""
        return velocities[:, 0] * self.base._forward_reward_weight

    def survival(self, healthy: np.ndarray) -> np.ndarray:
        """The reward for being healthy."""
        return healthy * self.base._healthy_reward

    def impacts(self, fields: Fields) -> np.ndarray | None:
        """The cost of contacts; ``None``: there is none."""
        if not self.feels_contacts():
            return None
        return self.cost_of(self.base._contact_cost_weight, self.forces(fields))

    def forces(self, fields: Fields) -> np.ndarray:
        """The contact forces that it feels, of all bodies."""
        return np.clip(fields["cfrc_ext"], *self.base._contact_force_range)

    def observe(self, parts: Parts) -> np.ndarray:
        places = self.column(parts[0], "qpos")
        if self.base._exclude_current_positions_from_observation:
            places = places[:, 2:]
        seen = [places, self.column(parts[0], "qvel")]
        return np.concatenate([*seen, *self.felt(self.fields_of(parts))], axis=1)

    def felt(self, fields: Fields) -> list[np.ndarray]:
        """The derived part of the observation."""
        if self.base._include_cfrc_ext_in_observation:
            return [self.forces(fields)[:, 6:]]
        return []

    def told(self, parts: Parts) -> dict[str, Any]:
        places = self.column(parts[0], "qpos")[:, :2]
        velocities, efforts, impacts, healthy = self.measured_of(parts)
        return {
            "x_position": places[:, 0],
            "y_position": places[:, 1],
            "distance_from_origin": lengths_of(places),
            "x_velocity": velocities[:, 0],
            "y_velocity": velocities[:, 1],
            "reward_forward": self.gains(velocities),
            "reward_ctrl": -efforts,
            "reward_contact": -impacts,
            "reward_survive": self.survival(healthy),
        }


class AntV4(Ant):
    """Ant-v4, which feels contacts only if asked to."""

    def feels_contacts(self) -> bool:
        return bool(self.base._use_contact_forces)

    def torso(self) -> int:
        return self.body("torso")

    def gains(self, velocities: np.ndarray) -> np.ndarray:
        return velocities[:, 0]

    def survival(self, healthy: np.ndarray) -> np.ndarray:
        return (healthy | bool(self.base._terminate_when_unhealthy)) * self.base._healthy_reward

    def felt(self, fields: Fields) -> list[np.ndarray]:
        return [self.forces(fields)] if self.feels_contacts() else []

    def told(self, parts: Parts) -> dict[str, Any]:
        velocities, efforts, impacts, healthy = self.measured_of(parts)
        first = 3 * self.torso()
        places = self.fields_of(parts)["xpos"][:, first : first + 2]
        return {
            "reward_forward": velocities[:, 0],
            "reward_ctrl": -(impacts if self.feels_contacts() else efforts),
            "reward_survive": self.survival(healthy).tolist(),
            "x_position": places[:, 0],
            "y_position": places[:, 1],
            "distance_from_origin": lengths_of(places),
            "x_velocity": velocities[:, 0],
            "y_velocity": velocities[:, 1],
            "forward_reward": velocities[:, 0],
        }


class Standup(Robot):
    """HumanoidStandup. Measured: heights over time, control and impact cost, ``[B]``."""

    is_endless = True

    def fields_read(self) -> tuple[str, ...]:
        names = [name for name, _ in self.shown()]
        forces = ["cfrc_ext"] if self.impact_weight() != 0 else []
        return tuple(dict.fromkeys([*names, *forces, *self.reported()]))

    def reported(self) -> tuple[str, ...]:
        """Derived fields in the infos; a model may be without tendons."""
        names = "ten_length", "ten_velocity"
        return tuple(name for name in names if getattr(self.base.data, name).size)

    def shown(self) -> list[tuple[str, int]]:
        """Derived fields in the observation, and from which number on."""
        base = self.base
        fields = {
            ("cinert", 10): base._include_cinert_in_observation,
            ("cvel", 6): base._include_cvel_in_observation,
            ("qfrc_actuator", 6): base._include_qfrc_actuator_in_observation,
            ("cfrc_ext", 6): base._include_cfrc_ext_in_observation,
        }
        return [field for field, included in fields.items() if included is True]

    def skips_places(self) -> bool:
        """Whether the observation leaves out where in the plane it is."""
        return bool(self.base._exclude_current_positions_from_observation)

    def ctrl_weight(self) -> Any:
        """The weight of the control cost."""
        return self.base._ctrl_cost_weight

    def impact_weight(self) -> Any:
        """The weight of the impact cost."""
        return self.base._impact_cost_weight

    def limited(self, impacts: np.ndarray) -> np.ndarray:
        """The impact cost within its range."""
        return np.clip(impacts, *self.base._impact_cost_range)

    def impacts(self, fields: Fields, n_rows: int) -> np.ndarray:
        """The cost of contacts."""
        if self.impact_weight() == 0:
            return self.limited(np.zeros(n_rows))
        return self.limited(self.cost_of(self.impact_weight(), fields["cfrc_ext"]))

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        heights = (self.column(after, "qpos")[:, 2] - 0) / self.simulations.timestep
        efforts = self.cost_of(self.ctrl_weight(), self.column(after, "ctrl"))
        impacts = self.impacts(new, len(after))
        rewards = heights - efforts - impacts + 1
        return [heights, efforts, impacts], rewards, False

    def observe(self, parts: Parts) -> np.ndarray:
        places, fields = self.column(parts[0], "qpos"), self.fields_of(parts)
        if self.skips_places():
            places = places[:, 2:]
        derived = [fields[name][:, first:] for name, first in self.shown()]
        return np.concatenate([places, self.column(parts[0], "qvel"), *derived], axis=1)

    def tendons(self, parts: Parts) -> dict[str, Any]:
        """Lengths and velocities of the tendons; a new array in each info."""
        fields, names = self.fields_of(parts), ("ten_length", "ten_velocity")
        rows = [[row.copy() for row in fields[name]] if name in fields else None for name in names]
        empty = [np.zeros(0) for _ in parts[0]]
        return {
            name: empty if found is None else found
            for name, found in zip(("tendon_length", "tendon_velocity"), rows, strict=True)
        }

    def told(self, parts: Parts) -> dict[str, Any]:
        places = self.column(parts[0], "qpos")
        heights, efforts, impacts = self.measured_of(parts)
        return {
            "x_position": places[:, 0],
            "y_position": places[:, 1],
            "z_distance_from_origin": places[:, 2] - self.base.init_qpos[2],
            **self.tendons(parts),
            "reward_linup": heights,
            "reward_quadctrl": -efforts,
            "reward_impact": -impacts,
        }


class StandupV4(Standup):
    """HumanoidStandup-v4, without settings."""

    def reported(self) -> tuple[str, ...]:
        return ()

    def shown(self) -> list[tuple[str, int]]:
        return [(name, 0) for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")]

    def skips_places(self) -> bool:
        return True

    def ctrl_weight(self) -> Any:
        return 0.1

    def impact_weight(self) -> Any:
        return 5e-07

    def limited(self, impacts: np.ndarray) -> np.ndarray:
        return np.minimum(impacts, 10)

    def told(self, parts: Parts) -> dict[str, Any]:
        heights, efforts, impacts = self.measured_of(parts)
        limit = [-10 if cost == 10 else -cost for cost in impacts]  # Python's int where it is more
        return {"reward_linup": heights, "reward_quadctrl": -efforts, "reward_impact": limit}


class Humanoid(Standup):
    """Humanoid. Measured: velocities ``[B, 2]``, control and contact cost and health ``[B]``."""

    is_endless = False

    def fields_read(self) -> tuple[str, ...]:
        return ("xipos", *super().fields_read())

    def impact_weight(self) -> Any:
        return self.base._contact_cost_weight

    def limited(self, impacts: np.ndarray) -> np.ndarray:
        return np.clip(impacts, *self.base._contact_cost_range)

    def centres(self, fields: Fields) -> np.ndarray:
        """The centre of mass in the plane, ``[B, 2]``."""
        masses = self.base.model.body_mass
        places = fields["xipos"].reshape(-1, len(masses), 3)
        return (np.einsum("b,nbj->nj", masses, places) / masses.sum())[:, :2]

    def measure(
        self, before: np.ndarray, old: Fields, after: np.ndarray, new: Fields, actions: np.ndarray
    ) -> tuple[Parts, Any, Any]:
        velocities = (self.centres(new) - self.centres(old)) / self.dt
        healthy = is_within(self.column(after, "qpos")[:, 2], self.base._healthy_z_range)
        efforts = self.cost_of(self.ctrl_weight(), self.column(after, "ctrl"))
        impacts = self.impacts(new, len(after))
        forward = self.base._forward_reward_weight * velocities[:, 0]
        rewards = self.net(forward + self.survival(healthy), efforts, impacts)
        over = ~healthy & bool(self.base._terminate_when_unhealthy)
        return [velocities, efforts, impacts, healthy], rewards, over

    def net(self, gains: np.ndarray, efforts: np.ndarray, impacts: np.ndarray) -> np.ndarray:
        """The rewards."""
        return gains - (efforts + impacts)

    def survival(self, healthy: np.ndarray) -> np.ndarray:
        """The reward for being healthy."""
        return healthy * self.base._healthy_reward

    def told(self, parts: Parts) -> dict[str, Any]:
        places = self.column(parts[0], "qpos")[:, :2]
        velocities, efforts, impacts, healthy = self.measured_of(parts)
        return {
            "x_position": places[:, 0],
            "y_position": places[:, 1],
            **self.tendons(parts),
            "distance_from_origin": lengths_of(places),
            "x_velocity": velocities[:, 0],
            "y_velocity": velocities[:, 1],
            "reward_survive": self.survival(healthy),
            "reward_forward": self.base._forward_reward_weight * velocities[:, 0],
            "reward_ctrl": -efforts,
            "reward_contact": -impacts,
        }


class HumanoidV4(Humanoid):
    """Humanoid-v4, whose contacts are observed but cost nothing."""

    def reported(self) -> tuple[str, ...]:
        return ()

    def shown(self) -> list[tuple[str, int]]:
        return [(name, 0) for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")]

    def impact_weight(self) -> Any:
        return 0

    def limited(self, impacts: np.ndarray) -> np.ndarray:
        return impacts

    def net(self, gains: np.ndarray, efforts: np.ndarray, impacts: np.ndarray) -> np.ndarray:
        return gains - efforts

    def survival(self, healthy: np.ndarray) -> np.ndarray:
        return (healthy | bool(self.base._terminate_when_unhealthy)) * self.base._healthy_reward

    def told(self, parts: Parts) -> dict[str, Any]:
        velocities, efforts, _, healthy = self.measured_of(parts)
        centres = self.centres(self.fields_of(parts))
        forward = self.base._forward_reward_weight * velocities[:, 0]
        return {
            "reward_linvel": forward,
            "reward_quadctrl": -efforts,
            "reward_alive": self.survival(healthy).tolist(),
            "x_position": centres[:, 0],
            "y_position": centres[:, 1],
            "distance_from_origin": lengths_of(centres),
            "x_velocity": velocities[:, 0],
            "y_velocity": velocities[:, 1],
            "forward_reward": forward,
        }

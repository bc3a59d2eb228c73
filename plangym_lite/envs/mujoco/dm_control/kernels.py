"""Kernels for tasks of the suite: MuJoCo steps all rows on threads, numpy does everything else.

A control step of dm_control is ``mj_step`` for each sub-step, then ``mj_step1``. Observations and
rewards are computed from columns in the order and precision of dm_control, so that the results are
bit-identical. ``B`` denotes the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import mujoco
import numpy as np
from dm_control.suite import cheetah, finger, hopper, pendulum, walker
from dm_control.utils.rewards import tolerance

from plangym_lite.envs.batched.kernel import Kernel, NotForKernelError, Parts
from plangym_lite.envs.mujoco.batch import Simulations, layout_of
from plangym_lite.envs.mujoco.kernels.robot import lengths_of

__all__ = ["KERNELS", "TaskKernel"]

VELOCITY = 2  # mjSTAGE_VEL, up to which mj_step1 computes
XX, XZ, ZZ = 0, 2, 8  # numbers of a rotation matrix, by dm_control's names
X, Z = 0, 2
INFINITY = float("inf")
Look = dict[str, np.ndarray]
"""Fields of mjData as columns, ``[B, ...]``, of any subset of rows."""


class TaskKernel(Kernel):
    """Common parts of the tasks.

    Parts: integration states ``[B, n]``, and ``fields``, each ``[B, size]``.

    Args:
        base: dm_control's environment; its task and model are those of all rows.
    """

    has_threads = True
    fields: ClassVar[tuple[str, ...]] = ()  # derived arrays that observation and reward read

    def __init__(self, base: Any) -> None:
        super().__init__(base)
        self.task, self.physics = base.task, base.physics
        self.model = base.physics.model.ptr
        data = base.physics.data.ptr
        self.use_threads(1)
        self._slices = layout_of(self.model)
        self._shapes = {name: getattr(data, name).shape for name in self.fields}
        self._sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        self.learn()

    def use_threads(self, n_threads: int) -> None:
        self.simulations = Simulations(self.model, n_threads, self.fields)

    def learn(self) -> None:
        """Look up the numbers of bodies, sites and sensors."""

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        n_steps = self.base._n_sub_steps
        after = self.simulations.step(parts[0], actions[:, None], n_steps, VELOCITY)
        if after.failed:
            raise NotForKernelError(after.failed)  # dm_control's own step says what is wrong
        new = [after.states.copy(), *(field[:, 0].copy() for field in after.fields.values())]
        return new, self.rewards(self.look(new)), np.zeros(len(actions), bool)

    def parts_of(self, states: np.ndarray) -> Parts:
        """The parts of integration states before their first step."""
        return [states, *(np.zeros((len(states), size)) for size in self._sizes)]

    def read(self, parts: Parts, row: int) -> None:
        """Fill the derived parts of a row from the simulation as it is."""
        data = self.physics.data.ptr
        for name, part in zip(self.fields, parts[1:], strict=True):
            part[row] = getattr(data, name).reshape(-1)

    def sensors(self, parts: Parts) -> np.ndarray:
        """``[B, n]`` what the sensors measured in the last step."""
        return parts[1 + self.fields.index("sensordata")]

    def look(self, parts: Parts) -> Look:
        """The columns that observations and rewards are computed from."""
        rows = parts[0]
        found = {name: rows[:, self._slices[name]] for name in ("qpos", "qvel", "ctrl")}
        for name, part in zip(self.fields, parts[1:], strict=True):
            found[name] = part.reshape(len(rows), *self._shapes[name])
        return found

    def observe(self, parts: Parts) -> np.ndarray:
        rows = parts[0]
        seen = self.observations(self.look(parts))
        return np.concatenate([part.reshape(len(rows), -1) for part in seen], axis=1)

    def observations(self, look: Look) -> list[np.ndarray]:
        """The parts of an observation, in dm_control's order."""
        return [look["qpos"], look["qvel"]]

    def rewards(self, look: Look) -> np.ndarray:
        """``[B]`` the rewards."""
        raise NotImplementedError

    def told(self, parts: Parts) -> dict[str, Any]:
        return {"discount": [1.0] * len(parts[0])}

    def number(self, kind: str, name: str) -> int:
        """The number of a named object."""
        wanted = getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}")
        return mujoco.mj_name2id(self.model, wanted, name)

    def sensor(self, name: str) -> int:
        """Where a sensor's numbers begin."""
        return int(self.model.sensor_adr[self.number("sensor", name)])


def near(column: np.ndarray, bounds: tuple[float, float] = (0.0, 0.0), *, margin: float) -> Any:
    """dm_control's ``tolerance`` of single numbers, with its Gaussian.

    numpy squares a single number with ``pow``, which may round otherwise than the product that an
    array takes.
    """
    lower, upper = bounds
    distance = np.where(column < lower, lower - column, column - upper) / margin
    scaled = distance * np.sqrt(-2 * np.log(0.1))
    squares = np.array([number**2 for number in scaled])
    inside = (lower <= column) & (column <= upper)
    return np.where(inside, 1.0, np.exp(-0.5 * squares))


class Cartpole(TaskKernel):
    """Balance and swing-up, with any number of poles."""

    fields = ("xmat",)

    def observations(self, look: Look) -> list[np.ndarray]:
        return [look["qpos"][:, :1], look["xmat"][:, 2:, [ZZ, XZ]], look["qvel"]]

    def rewards(self, look: Look) -> np.ndarray:
        task, place, cosines = self.task, look["qpos"][:, 0], look["xmat"][:, 2:, ZZ]
        if task._sparse:
            upright = tolerance(cosines, task._ANGLE_COSINE_RANGE).prod(1)
            return tolerance(place, task._CART_RANGE) * upright
        centered = (1 + near(place, margin=2)) / 2
        small_control = (4 + small(look["ctrl"])[:, 0]) / 5
        small_velocity = (1 + tolerance(look["qvel"][:, 1:], margin=5).min(1)) / 2
        return ((cosines + 1) / 2).mean(1) * small_control * small_velocity * centered


def small(controls: np.ndarray) -> Any:
    """How small the controls are, each between 0 and 1."""
    return tolerance(controls, margin=1, value_at_margin=0, sigmoid="quadratic")


class Reacher(TaskKernel):
    """Reach a target that is part of the model."""

    fields = ("geom_xpos",)

    def learn(self) -> None:
        self._target, self._finger = (self.number("geom", name) for name in ("target", "finger"))

    def _to_target(self, look: Look) -> np.ndarray:
        places = look["geom_xpos"]
        return places[:, self._target, :2] - places[:, self._finger, :2]

    def observations(self, look: Look) -> list[np.ndarray]:
        return [look["qpos"], self._to_target(look), look["qvel"]]

    def rewards(self, look: Look) -> np.ndarray:
        radii = self.model.geom_size[[self._target, self._finger], 0].sum()
        return tolerance(lengths_of(self._to_target(look)), (0, radii))


class BallInCup(TaskKernel):
    """Catch the ball."""

    fields = ("xpos", "site_xpos")

    def learn(self) -> None:
        self._target = self.number("site", "target")
        self._body, self._ball = self.number("body", "ball"), self.number("geom", "ball")

    def rewards(self, look: Look) -> np.ndarray:
        target = look["site_xpos"][:, self._target, [X, Z]]
        away = abs(target - look["xpos"][:, self._body, [X, Z]])
        room = self.model.site_size[self._target, [X, Z]] - self.model.geom_size[self._ball, 0]
        return (away < room).all(1).astype(float)


class Cheetah(TaskKernel):
    """Run."""

    fields = ("sensordata",)

    def learn(self) -> None:
        self._speed = self.sensor("torso_subtreelinvel")

    def observations(self, look: Look) -> list[np.ndarray]:
        return [look["qpos"][:, 1:], look["qvel"]]

    def rewards(self, look: Look) -> np.ndarray:
        wanted, speeds = cheetah._RUN_SPEED, look["sensordata"][:, self._speed]
        return tolerance(speeds, (wanted, INFINITY), wanted, "linear", 0)


class Walker(TaskKernel):
    """Stand, walk, run."""

    fields = ("xmat", "xpos", "sensordata")

    def learn(self) -> None:
        self._speed = self.sensor("torso_subtreelinvel")
        self._torso = self.number("body", "torso")

    def observations(self, look: Look) -> list[np.ndarray]:
        height = look["xpos"][:, self._torso, Z]
        return [look["xmat"][:, 1:, [XX, XZ]], height, look["qvel"]]

    def rewards(self, look: Look) -> np.ndarray:
        wanted = walker._STAND_HEIGHT
        heights = look["xpos"][:, self._torso, Z]
        standing = near(heights, (wanted, INFINITY), margin=wanted / 2)
        upright = (1 + look["xmat"][:, self._torso, ZZ]) / 2
        stands, speed = (3 * standing + upright) / 4, self.task._move_speed
        if speed == 0:
            return stands
        speeds = look["sensordata"][:, self._speed]
        return stands * (5 * tolerance(speeds, (speed, INFINITY), speed / 2, "linear", 0.5) + 1) / 6


class Hopper(TaskKernel):
    """Stand and hop."""

    fields = ("xipos", "sensordata")

    def learn(self) -> None:
        self._speed = self.sensor("torso_subtreelinvel")
        self._touch = [self.sensor("touch_toe"), self.sensor("touch_heel")]
        self._torso, self._foot = self.number("body", "torso"), self.number("body", "foot")

    def observations(self, look: Look) -> list[np.ndarray]:
        touch = np.log1p(look["sensordata"][:, self._touch])
        return [look["qpos"][:, 1:], look["qvel"], touch]

    def rewards(self, look: Look) -> np.ndarray:
        places, wanted = look["xipos"], hopper._HOP_SPEED
        heights = places[:, self._torso, Z] - places[:, self._foot, Z]
        standing = tolerance(heights, (hopper._STAND_HEIGHT, 2))
        if not self.task._hopping:
            return standing * ((small(look["ctrl"]).mean(1) + 4) / 5)
        speeds = look["sensordata"][:, self._speed]
        return standing * tolerance(speeds, (wanted, INFINITY), wanted / 2, "linear", 0.5)


class Pendulum(TaskKernel):
    """Swing up."""

    fields = ("xmat",)

    def learn(self) -> None:
        self._pole = self.number("body", "pole")

    def observations(self, look: Look) -> list[np.ndarray]:
        return [look["xmat"][:, self._pole, [ZZ, XZ]], look["qvel"]]

    def rewards(self, look: Look) -> np.ndarray:
        return tolerance(look["xmat"][:, self._pole, ZZ], (pendulum._COSINE_BOUND, 1))


class Acrobot(TaskKernel):
    """Swing up."""

    fields = ("xmat", "site_xpos")

    def learn(self) -> None:
        self._arms = [self.number("body", "upper_arm"), self.number("body", "lower_arm")]
        self._tip, self._target = self.number("site", "tip"), self.number("site", "target")

    def observations(self, look: Look) -> list[np.ndarray]:
        arms = look["xmat"][:, self._arms]
        return [arms[:, :, XZ], arms[:, :, ZZ], look["qvel"]]

    def rewards(self, look: Look) -> np.ndarray:
        places = look["site_xpos"]
        away = lengths_of(places[:, self._target] - places[:, self._tip])
        bounds = 0, self.model.site_size[self._target, 0]
        return tolerance(away, bounds) if self.task._sparse else near(away, bounds, margin=1)


class Finger(TaskKernel):
    """Spin, and turn to a target that is part of the model."""

    fields = ("sensordata",)

    def learn(self) -> None:
        names = "tip", "target", "spinner"
        self._tip, self._target, self._spinner = (
            [self.sensor(name), self.sensor(name) + 2] for name in names
        )
        self._angles = [self.sensor("proximal"), self.sensor("distal")]
        self._speeds = [self.sensor(f"{name}_velocity") for name in ("proximal", "distal", "hinge")]
        self._touch = [self.sensor("touchtop"), self.sensor("touchbottom")]
        self._site = self.number("site", "target")
        self._turns = type(self.task) is finger.Turn

    def _places(self, look: Look) -> tuple[np.ndarray, np.ndarray]:
        """The tip and the target, relative to the hinge."""
        sensors = look["sensordata"]
        hinge = sensors[:, self._spinner]
        return sensors[:, self._tip] - hinge, sensors[:, self._target] - hinge

    def _distances(self, look: Look) -> np.ndarray:
        tip, target = self._places(look)
        return lengths_of(target - tip) - self.model.site_size[self._site, 0]

    def observations(self, look: Look) -> list[np.ndarray]:
        sensors = look["sensordata"]
        tip, target = self._places(look)
        touch = np.log1p(sensors[:, self._touch])
        seen = [sensors[:, self._angles], tip, sensors[:, self._speeds], touch]
        return [*seen, target, self._distances(look)] if self._turns else seen

    def rewards(self, look: Look) -> np.ndarray:
        if self._turns:
            return (self._distances(look) <= 0).astype(float)
        return (look["sensordata"][:, self._speeds[-1]] <= -finger._SPIN_VELOCITY).astype(float)


class PointMass(TaskKernel):
    """Go to the target."""

    fields = ("geom_xpos",)

    def learn(self) -> None:
        self._target, self._mass = (self.number("geom", name) for name in ("target", "pointmass"))

    def rewards(self, look: Look) -> np.ndarray:
        places, size = look["geom_xpos"], self.model.geom_size[self._target, 0]
        away = lengths_of(places[:, self._target] - places[:, self._mass])
        small_control = (small(look["ctrl"]).mean(1) + 4) / 5
        return near(away, (0, size), margin=size) * small_control


KERNELS: dict[str, Callable[..., TaskKernel]] = {
    "acrobot": Acrobot,
    "ball_in_cup": BallInCup,
    "cartpole": Cartpole,
    "cheetah": Cheetah,
    "finger": Finger,
    "hopper": Hopper,
    "pendulum": Pendulum,
    "point_mass": PointMass,
    "reacher": Reacher,
    "walker": Walker,
}
"""Kernels by domain."""

"""Classic control: CartPole, Acrobot, MountainCar, Pendulum. A state is about twenty float64.

::

    ended | elapsed steps | float32? | extra given? | extra | generator (10 words) | variables

``extra`` is CartPole's ``steps_beyond_terminated`` or Pendulum's ``last_u``, a float64 if the
action was one (``extra given?`` is 2). The dtype of the variables matters: Acrobot is float32
before its first step, continuous MountainCar afterwards.

Kernels do the same operations in the same order, hence the same bits. What numpy rounds differently
for arrays than for scalars is done as for scalars: squares written ``**`` use ``pow``, and
``math.cos`` is called for each row.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from plangym_lite.envs.batched.env import KernelEnv
from plangym_lite.envs.batched.kernel import Block, Kernel, Parts, put_side_by_side
from plangym_lite.envs.generators.generator import GENERATOR_WORDS, GeneratorMemory
from plangym_lite.errors import InvalidStateError
from plangym_lite.nested import DOUBLE, SINGLE
from plangym_lite.simulator import RUNNING

__all__ = ["KERNELS", "ClassicControl"]

GIVEN, GIVEN_DOUBLE = 1, 2
"""Values of ``extra given?``: of its usual type, or a float64."""
ENDED, ELAPSED, FLOAT32, HAS_EXTRA, EXTRA = range(5)
GENERATOR = slice(EXTRA + 1, EXTRA + 1 + GENERATOR_WORDS)
VARIABLES = GENERATOR.stop
EXTRA_NAMES = {"CartPoleEnv": "steps_beyond_terminated", "PendulumEnv": "last_u"}
EXTRA_TYPES = {"CartPoleEnv": int, "PendulumEnv": np.float32}
GIVENS = (0, GIVEN, GIVEN_DOUBLE)
MOST = np.array([[3], [1], [GIVEN_DOUBLE]])  # of ended, float32?, extra given?
MODULE = "gymnasium.envs.classic_control."


class ClassicKernel(Kernel):
    """Parts: ``float32?``, ``extra given?``, ``extra`` and the variables."""

    may_be_single: ClassVar[bool] = False  # whether the variables may be float32

    def accepts(self, block: Block) -> bool:
        return self.may_be_single or not block.parts[0].any()

    def observe(self, parts: Parts) -> np.ndarray:
        variables = parts[3:]
        return put_side_by_side(
            np.empty((len(variables[0]), len(variables)), np.float32), variables
        )


class CartPole(ClassicKernel):
    """The extra is ``steps_beyond_terminated``, absent in a running episode."""

    scales = (2.4, 3.0, 0.25, 3.0)

    def accepts(self, block: Block) -> bool:
        return super().accepts(block) and not block.parts[1][block.ended == RUNNING].any()

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        base, tau = self.base, self.base.tau
        single, _, extra, place, speed, angle, turn = parts
        force = np.where(actions == 1, base.force_mag, -base.force_mag)
        cosine, sine = np.cos(angle), np.sin(angle)
        push = (force + base.polemass_length * np.square(turn) * sine) / base.total_mass
        leverage = 4.0 / 3.0 - base.masspole * np.square(cosine) / base.total_mass
        swing = (base.gravity * sine - cosine * push) / (base.length * leverage)
        pull = push - base.polemass_length * swing * cosine / base.total_mass
        new_speed, new_turn = speed + tau * pull, turn + tau * swing
        if base.kinematics_integrator == "euler":
            place, angle = place + tau * speed, angle + tau * turn
        else:
            place, angle = place + tau * new_speed, angle + tau * new_turn
        far, steep = base.x_threshold, base.theta_threshold_radians
        fallen = (place < -far) | (place > far) | (angle < -steep) | (angle > steep)
        rewards = -fallen.astype(float) + 0.0 if base._sutton_barto_reward else 1.0
        given = fallen.astype(float)
        return [single, given, extra, place, new_speed, angle, new_turn], rewards, fallen


class MountainCar(ClassicKernel):
    """Gymnasium uses ``math.cos`` here."""

    scales = (1.2, 0.07)

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        base = self.base
        *others, place, speed = parts
        slope = _math_cos(3 * place)
        speed = speed + ((actions - 1) * base.force + slope * (-base.gravity))
        speed = np.clip(speed, -base.max_speed, base.max_speed)
        place = np.clip(place + speed, base.min_position, base.max_position)
        speed = np.where((place == base.min_position) & (speed < 0), 0.0, speed)
        there = (place >= base.goal_position) & (speed >= base.goal_velocity)
        return [*others, place, speed], -1.0, there


class MountainCarContinuous(ClassicKernel):
    """The state is float64 before the first step; later steps begin in float32.

    With float64 actions the dtype within a step differs by row: a numpy float64 widens the result,
    while a limit, a Python float, does not. Values are stored as float64 and rounded to float32
    after each operation of a ``narrow`` row: for sums of two float32 rounding once or twice gives
    the same.
    """

    scales = (1.2, 0.07)
    may_be_single = True

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        single, given, extra, place, speed = parts
        base, push, begins = self.base, actions[:, 0], single != 0
        slope = 0.0025 * _math_cos(_rounded(3 * place, begins))
        force = (push * base.power - slope.astype(push.dtype)).astype(float)
        narrow = begins & (push.dtype == np.float32)
        for limit, beyond in (
            (base.min_action, push < base.min_action),
            (base.max_action, push > base.max_action),
        ):
            force, narrow = np.where(beyond, limit * base.power - slope, force), narrow | beyond
        narrow &= begins
        speed = _rounded(speed + _rounded(force, narrow), narrow)
        for limit in (base.max_speed, -base.max_speed):
            bound = _rounded(np.full(len(speed), limit), narrow)
            beyond = speed > bound if limit == base.max_speed else speed < bound
            speed, narrow = np.where(beyond, limit, speed), narrow | (beyond & begins)
        place = _rounded(place + _rounded(speed, narrow), narrow)
        highest, lowest, goal = (
            _rounded(np.full(len(place), bound), narrow)
            for bound in (base.max_position, base.min_position, base.goal_position)
        )
        place = np.clip(place, lowest, highest)
        speed = np.where((place == lowest) & (speed < 0), 0.0, speed)
        there = (place >= goal) & (speed >= base.goal_velocity)
        rewards = np.where(there, 100.0, 0.0) - _pow2(push.astype(float)) * 0.1
        variables = [part.astype(np.float32).astype(float) for part in (place, speed)]
        return [np.ones_like(single), given, extra, *variables], rewards, there


class Pendulum(ClassicKernel):
    """The extra is ``last_u``, of the dtype of the action."""

    scales = (6.0, 8.0)

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        base, length, mass = self.base, self.base.l, self.base.m
        single, _, _, angle, turn = parts
        torque = np.clip(actions, -base.max_torque, base.max_torque)[:, 0]
        upright = ((angle + np.pi) % (2 * np.pi)) - np.pi
        costs = _pow2(upright) + 0.1 * _pow2(turn) + 0.001 * _pow2(torque)
        weight = 3 * base.g / (2 * length) * np.sin(angle)
        turn = turn + (weight + 3.0 / (mass * length**2) * torque) * base.dt
        turn = np.clip(turn, -base.max_speed, base.max_speed)
        angle = angle + turn * base.dt
        never = np.zeros(len(angle), bool)
        given = np.full_like(single, GIVEN if torque.dtype == np.float32 else GIVEN_DOUBLE)
        return [single, given, torque.astype(float), angle, turn], -costs, never

    def observe(self, parts: Parts) -> np.ndarray:
        angle, turn = parts[3:]
        return np.stack([np.cos(angle), np.sin(angle), turn], axis=1).astype(np.float32)


class Column(np.ndarray):
    """A column that is squared as numpy squares scalars."""

    def __pow__(self, exponent: Any) -> Any:  # type: ignore[override]
        return np.power(self, np.full_like(self, exponent))


class Acrobot(ClassicKernel):
    """Gymnasium's own equations applied to columns. The state is float32 before the first step."""

    scales = (3.1, 3.1, 12.0, 28.0)
    may_be_single = True

    def accepts(self, block: Block) -> bool:
        seen_single = block.parts[0][block.ended != RUNNING].any()  # float32 cosines differ
        return self.base.torque_noise_max == 0 and not seen_single

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        base = self.base
        single, given, extra, *angles_and_speeds = parts
        torque = np.array(base.AVAIL_TORQUE, float)[actions]
        new = self._runge_kutta(np.stack(angles_and_speeds), torque)
        for angle in new[:2]:
            while (over := angle > np.pi).any():
                angle[over] -= 2 * np.pi
            while (under := angle < -np.pi).any():
                angle[under] += 2 * np.pi
        for speed, limit in zip(new[2:], (base.MAX_VEL_1, base.MAX_VEL_2), strict=True):
            speed[:] = np.where(speed < -limit, -limit, np.where(speed > limit, limit, speed))
        up = -np.cos(new[0]) - np.cos(new[1] + new[0]) > 1.0
        return [np.zeros_like(single), given, extra, *new], np.where(up, 0.0, -1.0), up

    def _runge_kutta(self, start: np.ndarray, torque: np.ndarray) -> np.ndarray:
        def slope(where: np.ndarray) -> np.ndarray:
            columns = np.vstack([where, torque]).view(Column)
            return np.stack(self.base._dsdt(columns)[:4]).view(np.ndarray)

        step = self.base.dt
        first = slope(start)
        second = slope(start + step / 2.0 * first)
        third = slope(start + step / 2.0 * second)
        fourth = slope(start + step * third)
        return start + step / 6.0 * (first + 2 * second + 2 * third + fourth)

    def observe(self, parts: Parts) -> np.ndarray:
        one, two, *speeds = parts[3:]
        turned = [np.cos(one), np.sin(one), np.cos(two), np.sin(two)]
        return np.stack([*turned, *speeds], axis=1).astype(np.float32)


def _pow2(column: np.ndarray) -> np.ndarray:
    return np.power(column, np.full_like(column, 2))


def _rounded(column: np.ndarray, narrow: np.ndarray) -> np.ndarray:
    """A column of float64, rounded to float32 where it is narrow."""
    return np.where(narrow, column.astype(np.float32), column)


def _math_cos(column: np.ndarray) -> np.ndarray:
    return np.array(list(map(math.cos, column.tolist())))


KERNELS: dict[str, type[ClassicKernel]] = {
    "CartPoleEnv": CartPole,
    "MountainCarEnv": MountainCar,
    "Continuous_MountainCarEnv": MountainCarContinuous,
    "PendulumEnv": Pendulum,
    "AcrobotEnv": Acrobot,
}
"""Kernels by the class of the environment."""


class ClassicControl(KernelEnv):
    """Gymnasium's classic control environments.

    Subclasses and user wrappers are saved by the generic snapshot instead.
    """

    STATES_NAME: ClassVar[str] = "ClassicControl"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read

    def adopt_layers(self) -> None:
        base = type(self._base)
        self._is_plain = self.has_only_a_limit(MODULE)
        kernel = KERNELS.get(base.__name__) if self._is_plain else None
        self.use_kernel(None if kernel is None else kernel(self._base), self._limits)
        self._extra_name = EXTRA_NAMES.get(base.__name__)
        self._extra_type = EXTRA_TYPES.get(base.__name__)
        self._generator = GeneratorMemory(GENERATOR.start)

    # ---- all rows of a batch at once -----------------------------------------------------------

    def take_apart(self, states: np.ndarray, out: np.ndarray | None = None) -> Block | None:
        columns = np.ascontiguousarray(states.T)
        flags = columns[[ENDED, FLOAT32, HAS_EXTRA]]
        if not ((flags >= 0) & (flags <= MOST) & (flags == np.floor(flags))).all():
            return None
        ended, elapsed = columns[[ENDED, ELAPSED]].astype(np.int64)
        return Block(ended, elapsed, [*columns[FLOAT32 : EXTRA + 1], *columns[VARIABLES:]])

    def put_together(self, block: Block, states: np.ndarray, out: np.ndarray) -> None:
        out[:, GENERATOR] = states[:, GENERATOR] if self.clone_seeds else 0
        out[:, ENDED] = block.ended
        out[:, ELAPSED] = block.elapsed if self._limits else 0
        put_side_by_side(out[:, FLOAT32:], block.parts[:3])
        put_side_by_side(out[:, VARIABLES:], block.parts[3:])

    def generator_words(self, states: np.ndarray) -> np.ndarray:
        return states[:, GENERATOR]

    def random_states(self, draw: np.random.Generator, n_rows: int) -> np.ndarray:
        kernel: Any = self._kernel
        states = np.tile(self.save_state(), (n_rows, 1))
        states[:, : GENERATOR.start] = 0
        states[:, VARIABLES:] = draw.uniform(-1, 1, (n_rows, len(kernel.scales))) * kernel.scales
        if kernel.may_be_single:
            states[::2, FLOAT32] = 1
            states[::2, VARIABLES:] = states[::2, VARIABLES:].astype(SINGLE)
        return states

    # ---- the state -----------------------------------------------------------------------------

    def save_state(self, out: np.ndarray | None = None) -> Any:
        if not self._is_plain:
            return super().save_state(out)
        variables = self._base.state
        if out is None:
            out = np.empty(VARIABLES + len(variables))
        extra = getattr(self._base, self._extra_name, None) if self._extra_name else None
        out[ENDED] = self._ended
        out[ELAPSED] = self._limits[0]._elapsed_steps if self._limits else 0
        out[FLOAT32] = getattr(variables, "dtype", DOUBLE).char == SINGLE.char
        out[HAS_EXTRA] = (
            0 if extra is None else GIVEN_DOUBLE if type(extra) is np.float64 else GIVEN
        )
        out[EXTRA] = extra or 0
        if self.clone_seeds:
            self._generator.save(self._base.np_random, out)
        else:
            out[GENERATOR] = 0
        out[VARIABLES:] = variables
        return out

    def load_state(self, state: Any) -> None:
        if not self._is_plain:
            super().load_state(state)
            return
        ended, elapsed, float32, has_extra, extra = state[: GENERATOR.start].tolist()
        if ended not in (0, 1, 2, 3) or float32 not in (0, 1) or has_extra not in GIVENS:
            raise InvalidStateError(f"not a state of {self!r}: its first numbers are {state[:4]}")
        self._ended = int(ended)
        if self._limits:
            self._limits[0]._elapsed_steps = int(elapsed)
        self._base.state = state[VARIABLES:].astype(SINGLE if float32 else DOUBLE)
        if self._extra_name and self._extra_type:
            kind = np.float64 if has_extra == GIVEN_DOUBLE else self._extra_type
            setattr(self._base, self._extra_name, kind(extra) if has_extra else None)
        if self.clone_seeds:
            self._generator.write(state[GENERATOR], self._base.np_random)

    def current_info(self) -> dict[str, Any]:
        return {} if self._is_plain else super().current_info()

    def current_obs(self) -> Any:
        if self.obs_type != "coords" or not self._is_plain:
            return super().current_obs()
        for name in ("_get_obs", "_get_ob"):
            if hasattr(self._base, name):
                return getattr(self._base, name)()
        return np.array(self._base.state, np.float32)

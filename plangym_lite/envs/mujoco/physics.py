"""Numbers of the physics in and out of states: ``state_from`` and ``physics_of``.

``B`` denotes the number of states. Sizes are named as in MuJoCo's model: ``nq``, ``nv``, ``na``,
``nu``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import mujoco
import numpy as np

from plangym_lite.envs.mujoco.batch import INTEGRATION, layout_of
from plangym_lite.simulator import RUNNING, SimulatorEnv
from plangym_lite.system import one_at_a_time
from plangym_lite.transitions import Form, Rows
from plangym_lite.validation import check_state, check_states, fill_states

__all__ = ["HasPhysics", "Physics"]


class Physics(NamedTuple):
    """The physics of ``B`` states, as columns. The arrays are new."""

    time: np.ndarray
    """``[B]`` seconds."""
    qpos: np.ndarray
    """``[B, nq]`` positions."""
    qvel: np.ndarray
    """``[B, nv]`` velocities."""
    act: np.ndarray
    """``[B, na]`` activations of the actuators."""
    ctrl: np.ndarray
    """``[B, nu]`` controls of the last step."""
    qfrc_applied: np.ndarray
    """``[B, nv]`` applied forces of the joints."""
    xfrc_applied: np.ndarray
    """``[B, nbody, 6]`` applied forces and torques of the bodies."""
    mocap_pos: np.ndarray
    """``[B, nmocap, 3]`` positions of the bodies that are moved by the program."""
    mocap_quat: np.ndarray
    """``[B, nmocap, 4]`` their orientations."""
    integration: np.ndarray
    """``[B, n]`` everything that MuJoCo integrates, ``mjSTATE_INTEGRATION`` of ``mj_getState``."""


class HasPhysics(SimulatorEnv):
    """An environment whose engine is one MuJoCo simulation."""

    @abstractmethod
    def simulation(self) -> tuple[Any, Any]:
        """The ``MjModel`` and the ``MjData`` of the engine, in whatever state it is."""

    @abstractmethod
    def physics_changed(self) -> None:
        """Follow the numbers that were put into the simulation.

        Raises:
            NotImplementedError: only a step can do that.
        """

    def run_here(self, rows: Rows, form: Form) -> Any:
        try:
            return super().run_here(rows, form)
        finally:
            self._return_engine()  # the simulation shows the current state, not a row

    @one_at_a_time
    def run_on_threads(self, rows: Rows, form: Form) -> Any:
        try:
            return super().run_on_threads(rows, form)
        finally:
            self._return_engine()

    @one_at_a_time
    def draw_images(self, states: Any) -> np.ndarray:
        try:
            return super().draw_images(states)
        finally:
            self._return_engine()

    @one_at_a_time
    def state_from(
        self,
        state: Any = None,
        *,
        qpos: Any = None,
        qvel: Any = None,
        act: Any = None,
        time: float | None = None,
        ctrl: Any = None,
        mocap_pos: Any = None,
        mocap_quat: Any = None,
        integration: Any = None,
    ) -> Any:
        """A state with measured numbers in it. The current state does not change.

        The numbers replace those of ``state``, and ``mj_forward`` computes what follows from them,
        as in Gymnasium's ``MujocoEnv.set_state``. The episode runs on: its step counter and random
        generators are those of ``state``.

        Args:
            state: ``None``: the current state.
            qpos, qvel, act, time, ctrl, mocap_pos, mocap_quat: see :class:`Physics`; of one state.
            integration: ``[n]`` a whole ``mjSTATE_INTEGRATION``, the warm start of the solver
                included; the other numbers are put in after it.

        Returns:
            The state, which ``set_state``, ``step`` and ``step_batch`` take.

        Raises:
            ValueError: numbers of another shape, or not finite.
            InvalidStateError: ``state`` is not one of this environment's.
            NotImplementedError: wrappers make the observations, or states are replayed.
        """
        given = {
            "time": time,
            "qpos": qpos,
            "qvel": qvel,
            "act": act,
            "ctrl": ctrl,
            "mocap_pos": mocap_pos,
            "mocap_quat": mocap_quat,
        }
        self._restore_current()
        if state is not None:
            state = check_state(self.batch_spec, state)
        self._borrow_engine()
        try:
            if state is not None:
                self.load_state(state)
            _put(*self.simulation(), integration, given)
            self._ended = RUNNING
            self.physics_changed()
            return self.save_state()
        finally:
            self._return_engine()

    @one_at_a_time
    def physics_of(self, states: Any) -> Physics:
        """The physics of ``B`` states, as columns. The current state does not change.

        Args:
            states: ``[B, S]`` or a list; ``None`` among them means the current state.

        Raises:
            InvalidStateError: a state is not one of this environment's.
        """
        states = fill_states(states, self.get_state)
        rows = self.integration_of(check_states(self.batch_spec, states))
        model, data = self.simulation()
        columns = {}
        places = layout_of(model)
        for name in Physics._fields[:-1]:
            column = rows[:, places[name]]
            columns[name] = column.reshape(len(rows), *np.shape(getattr(data, name)))
        return Physics(**columns, integration=rows)

    def integration_of(self, states: Any) -> np.ndarray:
        """``[B, n]`` the ``mjSTATE_INTEGRATION`` of checked states."""
        self._borrow_engine()
        try:
            rows = np.empty((len(states), mujoco.mj_stateSize(self.simulation()[0], INTEGRATION)))
            for state, row in zip(states, rows, strict=True):
                self.load_state(state)
                mujoco.mj_getState(*self.simulation(), row, INTEGRATION)
            return rows
        finally:
            self._return_engine()


def _put(model: Any, data: Any, integration: Any, given: dict[str, Any]) -> None:
    """Put numbers into a simulation and compute what follows from them."""
    warm_start = None
    if integration is not None:
        size = mujoco.mj_stateSize(model, INTEGRATION)
        numbers = _checked("integration", integration, (size,))
        mujoco.mj_setState(model, data, numbers, INTEGRATION)
        warm_start = data.qacc_warmstart.copy()
    for name, value in given.items():
        if value is None:
            continue
        numbers = _checked(name, value, np.shape(getattr(data, name)))
        if name == "time":
            data.time = numbers.item()
        else:
            getattr(data, name)[...] = numbers
    mujoco.mj_forward(model, data)
    if warm_start is not None:
        data.qacc_warmstart[:] = warm_start


def _checked(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    numbers = np.asarray(value, float)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite numbers of shape {list(shape)}, got {value!r}")
    return np.ascontiguousarray(numbers)

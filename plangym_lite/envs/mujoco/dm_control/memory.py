"""The simulation of a task that has a kernel, in few numbers, and many states as columns.

::

    model arrays that change | integration state | sensors

After a step of dm_control everything else follows from the integration state, except what sensors
of forces and accelerations measured during the step. ``B`` denotes the number of states, ``S`` the
length of a state.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import mujoco
import numpy as np

from plangym_lite.envs.mujoco.batch import INTEGRATION, layout_of
from plangym_lite.envs.snapshot.pickling import PROTOCOL, Pickler, Reducers
from plangym_lite.errors import InvalidStateError, NotCloneableError

__all__ = ["WORD", "PhysicsMemory", "StateColumns", "TaskMemory"]

WORD = 8  # bytes


class PhysicsMemory:
    """Saves and restores one simulation.

    Args:
        model: an ``MjModel``.
        data: its ``MjData``.
        fields: names of the model's arrays that change while the simulation runs.
    """

    def __init__(self, model: Any, data: Any, fields: tuple[str, ...]) -> None:
        self.model, self.data = model, data
        self._fields: list[tuple[np.ndarray, slice]] = []  # as bytes, and their place
        start = 0
        for name in fields:
            field = getattr(model, name).reshape(-1).view(np.uint8)
            self._fields.append((field, slice(start, start + field.size)))
            start += -(-field.size // WORD) * WORD
        size = mujoco.mj_stateSize(model, INTEGRATION)
        self.integration = slice(start // WORD, start // WORD + size)
        needs = model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC
        n_sensors = model.nsensordata if needs.any() else 0
        self.sensors = slice(self.integration.stop, self.integration.stop + n_sensors)
        self.size = self.sensors.stop
        self._warm_start = layout_of(model)["warmstart"]

    def save(self, out: np.ndarray) -> None:
        """Write the simulation into ``out``, [size] float64."""
        octets = out[: self.integration.start].view(np.uint8)
        octets[:] = 0
        for field, part in self._fields:
            octets[part] = field
        mujoco.mj_getState(self.model, self.data, out[self.integration], INTEGRATION)
        if self.sensors.stop > self.sensors.start:
            out[self.sensors] = self.data.sensordata

    def load(self, row: np.ndarray, contacts: bool = True) -> None:
        """Restore what ``save`` wrote; contacts and all else that follows from it is computed."""
        octets = row[: self.integration.start].view(np.uint8)
        for field, part in self._fields:
            field[...] = octets[part]
        state = row[self.integration]
        mujoco.mj_setState(self.model, self.data, state, INTEGRATION)
        mujoco.mj_forward(self.model, self.data)
        self.data.qacc_warmstart[:] = state[self._warm_start]
        if self.sensors.stop > self.sensors.start:
            self.data.sensordata[:] = row[self.sensors]

    def continues(self, reset: Any, step: Any, actions: np.ndarray) -> bool:
        """Whether steps after ``load`` answer, bit for bit, what they did after ``save``.

        Args:
            reset: ``reset(seed, options)`` begins an episode.
            step: dm_control's step.
            actions: ``[T, ...]``, played before and after.
        """
        row, answers = np.empty(self.size), []
        for seed in (0, 1):
            reset(seed, None)
            for action in actions:
                step(action)
            if seed == 0:
                self.save(row)
            else:
                self.load(row)
            answers.append(pickle.dumps([tuple(step(action))[1:] for action in actions]))
        return answers[0] == answers[1]


class TaskMemory:
    """Saves and restores the attributes of a task, except its generator.

    Args:
        task: a task of dm_control.
    """

    def __init__(self, task: Any) -> None:
        self._task, self._reducers = task, Reducers()
        size = max(256, 2 * len(self._pickled()))
        self.size = WORD - (-size // 64) * 64  # bytes

    def _pickled(self) -> bytes:
        attributes = {name: value for name, value in vars(self._task).items() if name != "_random"}
        buffer = io.BytesIO()
        pickler = Pickler(buffer, PROTOCOL)
        pickler.reducers = self._reducers
        try:
            pickler.dump(attributes)
            return buffer.getvalue()
        except Exception as error:  # a foreign __reduce__ may raise anything
            raise NotCloneableError(f"the attributes of {self._task!r}: {error}") from error

    def save(self, out: np.ndarray) -> None:
        """Write the attributes into ``out``, [size] uint8."""
        data = self._pickled()
        stop = WORD + len(data)
        if stop > self.size:
            raise InvalidStateError(f"the attributes of {self._task!r} have grown: {len(data)} B")
        out[:WORD] = np.frombuffer(len(data).to_bytes(WORD, "little"), np.uint8)
        out[WORD:stop] = np.frombuffer(data, np.uint8)
        out[stop:] = 0

    def load(self, part: np.ndarray) -> None:
        """Restore what ``save`` wrote."""
        stop = WORD + int.from_bytes(part[:WORD].tobytes(), "little")
        saved, attributes = pickle.loads(part[WORD:stop].tobytes()), vars(self._task)
        for name in [name for name in attributes if name not in saved and name != "_random"]:
            del attributes[name]  # set after the state was saved
        attributes.update(saved)


class StateColumns:
    """Columns of states ``[B, S]`` of uint8, as views.

    Args:
        head: the bytes of the head: tag, ended, steps, reset next, sub-steps.
        start: where the simulation begins.
        memory: what saves the simulation.
    """

    def __init__(self, head: slice, start: int, memory: PhysicsMemory) -> None:
        self._head, self._start, self._memory = head, start, memory

    def head(self, states: np.ndarray) -> np.ndarray:
        """``[B, 5]`` the heads."""
        return states[:, self._head].view(float)

    def integration(self, states: np.ndarray) -> np.ndarray:
        """``[B, n]`` the integration states."""
        return states[:, self._start :].view(float)[:, self._memory.integration]

    def sensors(self, states: np.ndarray) -> np.ndarray:
        """``[B, m]`` the sensors; ``m`` is 0 if they follow from the integration state."""
        return states[:, self._start :].view(float)[:, self._memory.sensors]

    def are_known(self, states: np.ndarray, tag: float, sub_steps: int) -> np.ndarray:
        """``[B]`` whether they are states of the task."""
        tags, ended, _, waits, found = self.head(states).T
        is_flag = (ended == 0) | (ended == 1) | (ended == 2) | (ended == 3)
        return (tags == tag) & (found == sub_steps) & is_flag & (waits == (ended != 0))

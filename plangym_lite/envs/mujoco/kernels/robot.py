"""Robot: common parts of the kernels. Physics runs on threads, all else on columns.

Numbers are computed in the same order and precision as by the environment, so that the results are
bit-identical.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from plangym_lite.envs.batched.kernel import Kernel, NotForKernelError, Parts
from plangym_lite.envs.mujoco.batch import Simulations
from plangym_lite.envs.mujoco.slim import SlimMemory

__all__ = ["Fields", "Robot", "is_within", "lengths_of"]

Fields = dict[str, np.ndarray]
"""Derived arrays after a step, by name, each ``[B, n]``."""


class Robot(Kernel):
    """Steps the columns of a MuJoCo environment.

    Parts: the memory of the simulation, ``[B, memory.size]``; the derived fields, in the order of
    ``fields``; and what was measured in the last frame, in the order of ``measure``.

    Args:
        base: the environment.
        memory: the memory of its simulation.
    """

    has_threads = True
    reads: ClassVar[tuple[str, ...]] = ()  # derived fields that it reads after a step

    def __init__(self, base: Any, memory: SlimMemory) -> None:
        super().__init__(base)
        self.memory = memory
        known = [name for name, *_ in memory.before]
        self.fields = tuple(dict.fromkeys([*self.fields_read(), *known]))
        start = memory.integration.start
        self._places = {
            name: slice(start + place.start, start + place.stop)
            for name, place in memory.places.items()
        }
        self._moving = slice(self._places["time"].start, self._places["warmstart"].stop)
        self._bodies: dict[str, int] = {}
        self.room: np.ndarray | None = None  # for the memory after the next frame, if set
        self._blank: Parts | None = None  # one row of the parts after the first
        self.use_threads(1)

    def fields_read(self) -> tuple[str, ...]:
        """The derived fields that it reads after a step, with these settings."""
        return self.reads

    def use_threads(self, n_threads: int) -> None:
        has_forces = "cfrc_ext" in self.fields
        self.simulations = Simulations(self.base.model, n_threads, self.fields, has_forces)

    @property
    def dt(self) -> float:
        """The seconds of a frame."""
        return self.simulations.timestep * self.base.frame_skip

    def column(self, memory: np.ndarray, name: str) -> np.ndarray:
        """A component of the integration states, ``qpos`` for example, ``[B, n]``."""
        return memory[:, self._places[name]]

    def body(self, name: str) -> int:
        """The number of a body."""
        if name not in self._bodies:
            self._bodies[name] = self.base.data.body(name).id
        return self._bodies[name]

    # ---- stepping -----------------------------------------------------------------------------

    def parts_of(self, memory: np.ndarray) -> Parts:
        """The parts of rows before their first frame."""
        if self._blank is None:
            self._blank = self._make_blank(memory[:1])
        size = len(memory)
        return [memory, *(np.zeros((size, *one.shape[1:]), one.dtype) for one in self._blank)]

    def _make_blank(self, memory: np.ndarray) -> Parts:
        """The other parts of one row, as zeros."""
        fields = {name: np.zeros((1, getattr(self.memory.data, name).size)) for name in self.fields}
        action = np.zeros((1, *self.base.action_space.shape), self.base.action_space.dtype)
        measured, _, _ = self.measure(memory, fields, memory, fields, action)
        return [*fields.values(), *(np.zeros_like(part) for part in measured)]

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        return self.play(parts, actions[:, None])

    def play(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        memory, length = self.memory, actions.shape[1]
        (before, *_), room, self.room = parts, self.room, None
        if room is None or (length, *room.shape) != (1, *before.shape):
            after = np.empty((length, *before.shape))
        else:
            after = room[None]
        after[0, :, memory.previous] = before[:, self._moving]  # now it is in the cache
        given = before[:, memory.integration]
        stepped: Any = self.simulations.step(given, actions, self.base.frame_skip)
        if stepped.failed:
            raise NotForKernelError(stepped.failed)
        fields = {name: _by_frame(field) for name, field in stepped.fields.items()}
        if length > 1:  # of frames before the last one: what is observed
            after[:, :, self._places["ctrl"]] = actions.swapaxes(0, 1)
            after[:, :, self._moving] = stepped.ends.swapaxes(0, 1)
            after[1:, :, memory.previous] = after[:-1, :, self._moving]
        after[-1, :, memory.integration] = stepped.states
        after = after.reshape(-1, after.shape[-1])
        after[:, 0] = self.base.frame_skip
        for name, _, indices, part in memory.before:
            after[:, part] = fields[name][:, indices]
        if length > 1:
            before = np.concatenate([before, after[: -len(before)]])
        if memory.previous.stop < memory.size:
            after[:, memory.previous.stop :] = 0
        actions = actions[:, 0] if length == 1 else _by_frame(actions)
        measured, rewards, over = self.measure(before, self._before(before), after, fields, actions)
        return [after, *fields.values(), *measured], rewards, over

    def _before(self, memory: np.ndarray) -> Fields:
        """The derived fields before a step, as far as the environment reads them."""
        found = {}
        for name, array, indices, part in self.memory.before:
            found[name] = np.zeros((len(memory), array.size))
            found[name][:, indices] = memory[:, part]
        return found

    @abstractmethod
    def measure(
        self,
        before: np.ndarray,
        old: Fields,
        after: np.ndarray,
        new: Fields,
        actions: np.ndarray,
    ) -> tuple[Parts, Any, Any]:
        """Columns that infos need, the rewards, and whether the episode terminates.

        Args:
            before, after: memories.
            old, new: derived fields before and after the step.
            actions: ``[B, n]``.
        """

    def fields_of(self, parts: Parts) -> Fields:
        """The derived fields in the parts."""
        return dict(zip(self.fields, parts[1:], strict=False))

    def measured_of(self, parts: Parts) -> Parts:
        """What :meth:`measure` found."""
        return parts[1 + len(self.fields) :]

    def cost_of(self, weight: Any, numbers: np.ndarray) -> np.ndarray:
        """``weight * np.sum(np.square(row))`` for each row, in the precision of a scalar."""
        totals = np.add.reduce(np.square(numbers), axis=1)
        return weight * totals.astype((totals.dtype.type(1) * weight).dtype, copy=False)


def _by_frame(columns: np.ndarray) -> np.ndarray:
    """``[B, T, n]`` as ``[T * B, n]``, a copy."""
    return columns.swapaxes(0, 1).copy().reshape(-1, columns.shape[-1])


def is_within(numbers: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Whether numbers lie between limits, which are excluded."""
    return (limits[0] < numbers) & (numbers < limits[1])


def lengths_of(vectors: np.ndarray) -> np.ndarray:
    """``np.linalg.norm`` of each row, by the same product of vectors."""
    vectors = np.ascontiguousarray(vectors)
    return np.sqrt(np.vecdot(vectors, vectors))

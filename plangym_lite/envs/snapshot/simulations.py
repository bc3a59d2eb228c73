"""MuJoCo simulations inside any environment.

Model and data are anchors. A state holds the memory of each simulation (:mod:`.mjdata`); views of
that memory are saved as offsets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.envs.snapshot.mjdata import (
    SimulationMemory,
    changed_fields,
    copy_of_model,
    model_tag,
)
from plangym_lite.errors import InvalidStateError

__all__ = ["Simulations", "is_data", "is_model"]


def is_model(value: Any) -> bool:
    """Whether it is an ``mujoco.MjModel``."""
    return type(value).__module__.startswith("mujoco.") and type(value).__name__ == "MjModel"


def is_data(value: Any) -> bool:
    """Whether it is an ``mujoco.MjData``."""
    return type(value).__module__.startswith("mujoco.") and type(value).__name__ == "MjData"


class Simulations:
    """The simulations among the anchors of a snapshot.

    Args:
        anchors: objects that stay with the environment; grows during discovery.
        fields: for each simulation the arrays of its model that change.
        label: what else the states of different environments differ in.
    """

    def __init__(
        self, anchors: list[Any], fields: tuple[tuple[str, ...], ...] = (), label: str = ""
    ) -> None:
        self._anchors, self._fields, self._label = anchors, fields, label
        self._memories: dict[int, SimulationMemory] = {}  # by the number of the anchor
        self.tags: list[float] = []  # of the models, in the same order
        self._places: list[tuple[int, int, int, str]] = []  # start, end, anchor, name of the array

    def learn(self) -> None:
        """Look for new simulations.

        Raises:
            NotCloneableError: one of them has data that cannot be saved.
        """
        for number, anchor in enumerate(self._anchors):
            if is_data(anchor) and number not in self._memories:
                index = len(self._memories)
                fields = self._fields[index] if index < len(self._fields) else ()
                self._memories[number] = SimulationMemory(anchor.model, anchor, fields)
                self.tags.append(model_tag(anchor.model, self._label, fields))
                self._add_places(number, anchor)
            elif is_model(anchor):
                self._add_places(number, anchor)

    def _add_places(self, number: int, anchor: Any) -> None:
        if any(place[2] == number for place in self._places):
            return
        for name in dir(anchor):
            array = getattr(anchor, name) if not name.startswith("_") else None
            if isinstance(array, np.ndarray) and array.size:
                start = _address(array)
                self._places.append((start, start + array.nbytes, number, name))

    def place_of(self, view: np.ndarray) -> tuple[int, str, int] | None:
        """Anchor, array and offset of a view; ``None`` if it is not of a simulation."""
        self.learn()
        at = _address(view)
        for start, end, number, name in self._places:
            if start <= at < end:
                return number, name, at - start
        return None

    def view(self, number: int, name: str, offset: int, *form: Any) -> np.ndarray:
        """The view that ``place_of`` described, in this environment."""
        shape, strides, dtype = form
        return np.ndarray(shape, dtype, getattr(self._anchors[number], name), offset, strides)

    def save(self) -> list[Any]:
        """The tags of the models, and the memory and the contacts of each simulation."""
        saved: list[Any] = [self.tags]
        for memory in self._memories.values():
            row = np.empty(memory.size)
            memory.save(row)
            saved += [row.tobytes(), memory.save_contacts()]
        return saved

    def check(self, saved: list[Any]) -> None:
        """Raise if it was saved from other models."""
        if saved[0] != self.tags:
            raise InvalidStateError("it is of another model or frame_skip")

    def load(self, saved: list[Any]) -> None:
        """Restore what ``save`` returned."""
        rows, contacts = saved[1::2], saved[2::2]
        for memory, row, found in zip(self._memories.values(), rows, contacts, strict=True):
            memory.load(np.frombuffer(row))
            memory.load_contacts(found)

    def room_for_contacts(self) -> int:
        """Bytes to reserve for contacts."""
        return sum(memory.size_of_contacts() for memory in self._memories.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the memories. They do not grow."""
        return sum(8 * memory.size for memory in self._memories.values())

    def models(self) -> list[dict[str, np.ndarray]]:
        """Copies of the arrays of each simulation's model."""
        return [copy_of_model(memory.model) for memory in self._memories.values()]

    def changed(self, before: list[dict[str, np.ndarray]]) -> tuple[tuple[str, ...], ...]:
        """For each simulation the arrays of its model that have changed."""
        pairs = zip(self._memories.values(), before, strict=False)
        return tuple(changed_fields(memory.model, copies) for memory, copies in pairs)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]

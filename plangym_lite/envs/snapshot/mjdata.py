"""The memory of one MuJoCo simulation, saved and restored as a row of float64.

::

    time | model arrays that change | the buffer of mjData: qpos, qvel, ..., everything derived

The buffer holds the physics state *and* the arrays derived from it. Both are needed: after a step
the derived arrays are those of the sub-step before, and some environments read them before the next
step, so that recomputed arrays would give other numbers. Copying the buffer takes 1 to 2 us.

Contacts and constraints are not in the buffer; ``mj_step`` recomputes them. For an engine that
begins its step with them, such as dm_control, ``load(contacts=True)`` recomputes them. For an
environment that may read the contacts of the last step they are saved too. Environments must not
read constraint forces (``efc_*``) of the last step.
"""

from __future__ import annotations

import ctypes
import zlib
from typing import Any

import mujoco
import numpy as np

from plangym_lite.errors import InvalidStateError, NotCloneableError

__all__ = ["SimulationMemory", "Simulations", "changed_fields", "copy_of_model", "model_tag"]

WORD = 8
MANY_CONTACTS = 64
ALIGNMENT = 64  # of mjData's arrays: a smaller gap holds nothing
SCRATCH = frozenset(
    [
        *("bvh_active", "qDeriv", "qLU", "qH", "qHDiagInv", "actuator_moment", "moment_rownnz"),
        *("moment_rowadr", "moment_colind", "tree_asleep", "tree_awake", "body_awake"),
        *("body_awake_ind", "parent_awake_ind", "dof_awake_ind"),
    ]
)
"""Arrays that a step recomputes before it uses them, or that are unused (sleep is refused)."""
EXPECTED = frozenset(("qpos", "qvel", "qacc_warmstart", "xpos", "xipos", "xfrc_applied"))


class SimulationMemory:
    """Saves and restores one simulation, bit for bit.

    ``data`` is kept by reference, and the environment must not replace it. ``fields`` are the names
    of the model's arrays that change while the simulation runs.
    """

    def __init__(self, model: Any, data: Any, fields: tuple[str, ...] = ()) -> None:
        if model.nplugin:
            raise NotCloneableError("a MuJoCo plugin keeps data that no state can hold")
        sleep = getattr(mujoco.mjtEnableBit, "mjENBL_SLEEP", 0)
        if model.opt.enableflags & int(sleep):
            raise NotCloneableError("parts of this MuJoCo model sleep, which no state holds yet")
        self.model, self.data = model, data
        self._fields: list[np.ndarray] = []  # as bytes
        self._parts: list[slice] = []  # their place in a saved row
        start = 1
        for name in fields:
            field = getattr(model, name).reshape(-1).view(np.uint8)
            self._fields.append(field)
            self._parts.append(slice(start * WORD, start * WORD + field.size))
            start += -(-field.size // WORD)
        self._all_runs = runs_of(data)
        self._start = start
        self._runs: list[tuple[np.ndarray, slice]] = []
        for run in self._all_runs:
            self._runs.append((run, slice(start, start + run.size)))
            start += run.size
        self.size = start

    def save(self, out: np.ndarray) -> None:
        out[0] = self.data.time
        if self._fields:
            octets = out.view(np.uint8)
            for part, field in zip(self._parts, self._fields, strict=True):
                out[(part.stop - 1) // WORD] = 0  # zeros after the last byte
                octets[part] = field
        np.concatenate(self._all_runs, out=out[self._start :])

    def load(self, row: np.ndarray, contacts: bool = False) -> None:
        """Restore what ``save`` wrote; if ``contacts``, recompute contacts and constraints."""
        self.data.time = row[0]
        if self._fields:
            octets = row.view(np.uint8)
            for part, field in zip(self._parts, self._fields, strict=True):
                field[...] = octets[part]
        for run, part in self._runs:
            run[...] = row[part]
        if contacts:
            mujoco.mj_forward(self.model, self.data)
            for run, part in self._runs:
                run[...] = row[part]

    def save_contacts(self) -> bytes:
        """The contacts of the last step, which an environment may read before the next."""
        count = self.data.ncon
        if not count:
            return b""
        distances = self.data.contact.dist  # the first field of each contact
        return ctypes.string_at(distances.ctypes.data, count * distances.strides[0])

    def size_of_contacts(self) -> int:
        count, self.data.ncon = self.data.ncon, 1
        each = self.data.contact.dist.strides[0]
        self.data.ncon = count
        return each * min(4 * self.model.ngeom, MANY_CONTACTS)

    def load_contacts(self, contacts: bytes) -> None:
        """Restore what ``save_contacts`` returned. The next step recomputes the contacts."""
        data = self.data
        data.ncon = 1
        distances = data.contact.dist
        data.ncon = len(contacts) // distances.strides[0]
        if contacts:
            ctypes.memmove(distances.ctypes.data, contacts, len(contacts))


def runs_of(data: Any) -> list[np.ndarray]:
    """The arrays of mjData's buffer as views, adjacent ones of one dtype merged."""
    start = data.qpos.ctypes.data
    end = start + data.nbuffer
    arrays: list[tuple[int, int, np.dtype]] = []
    missing = set(EXPECTED)
    for name, array in _arrays_of(data).items():
        address = array.ctypes.data
        if start <= address and address + array.nbytes <= end and name not in SCRATCH:
            arrays.append((address, array.nbytes, array.dtype))
            missing.discard(name)
    if any(getattr(data, name).size for name in missing):
        raise NotCloneableError(f"this MuJoCo keeps {missing} where they were not expected")
    runs: list[list[Any]] = []  # first address, address after the last, dtype
    for address, length, dtype in sorted(arrays, key=lambda array: array[0]):
        stop = address + length
        if runs and dtype == runs[-1][2] and address - runs[-1][1] < ALIGNMENT:
            runs[-1][1] = stop
        else:
            runs.append([address, stop, dtype])
    return [
        np.frombuffer((ctypes.c_char * (stop - first)).from_address(first), dtype)
        for first, stop, dtype in runs
    ]


def model_tag(model: Any, label: str, changing: tuple[str, ...] = ()) -> float:
    """A number that tells models apart, by ``label`` and all arrays but the ``changing`` ones."""
    tag = zlib.crc32(f"{label} {model.opt}".encode() + bytes(model.names))
    for name, array in _arrays_of(model).items():
        if name not in changing:
            tag = zlib.crc32(f"{name} {array.shape}".encode() + array.tobytes(), tag)
    return float(tag)


def copy_of_model(model: Any) -> dict[str, np.ndarray]:
    """Copies of the model's numeric arrays."""
    return {name: array.copy() for name, array in _arrays_of(model).items()}


def changed_fields(model: Any, before: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Names of the model's arrays that differ from ``before``."""
    return tuple(
        name
        for name, array in _arrays_of(model).items()
        if array.tobytes() != before[name].tobytes()
    )


def _arrays_of(part: Any) -> dict[str, np.ndarray]:
    """The arrays of a model or its data that are not empty, by name."""
    arrays = {}
    for name in dir(part):
        value = getattr(part, name) if not name.startswith("_") else None
        if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "fiub":
            arrays[name] = value
    return arrays


class Simulations:
    """The simulations among the anchors of a snapshot; views of their memory become offsets.

    ``fields`` are, for each simulation, the arrays of its model that change; ``label`` is what else
    the states of different environments differ in.
    """

    def __init__(
        self, anchors: list[Any], fields: tuple[tuple[str, ...], ...] = (), label: str = ""
    ) -> None:
        self._anchors, self._fields, self._label = anchors, fields, label
        self._memories: dict[int, SimulationMemory] = {}  # by the number of the anchor
        self.tags: list[float] = []  # of the models, in the same order
        self._places: list[tuple[int, int, int, str]] = []  # start, end, anchor, name of the array

    def learn(self) -> None:
        """Look for new simulations; ``NotCloneableError`` if one has data that cannot be saved."""
        for number, anchor in enumerate(self._anchors):
            if isinstance(anchor, mujoco.MjData) and number not in self._memories:
                index = len(self._memories)
                fields = self._fields[index] if index < len(self._fields) else ()
                self._memories[number] = SimulationMemory(anchor.model, anchor, fields)
                self.tags.append(model_tag(anchor.model, self._label, fields))
                self._add_places(number, anchor)
            elif isinstance(anchor, mujoco.MjModel):
                self._add_places(number, anchor)

    def _add_places(self, number: int, anchor: Any) -> None:
        if any(place[2] == number for place in self._places):
            return
        for name, array in _arrays_of(anchor).items():
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
        if saved[0] != self.tags:
            raise InvalidStateError("it is of another model or frame_skip")

    def load(self, saved: list[Any]) -> None:
        rows, contacts = saved[1::2], saved[2::2]
        for memory, row, found in zip(self._memories.values(), rows, contacts, strict=True):
            memory.load(np.frombuffer(row))
            memory.load_contacts(found)

    def room_for_contacts(self) -> int:
        return sum(memory.size_of_contacts() for memory in self._memories.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the memories. They do not grow."""
        return sum(8 * memory.size for memory in self._memories.values())

    def models(self) -> list[dict[str, np.ndarray]]:
        return [copy_of_model(memory.model) for memory in self._memories.values()]

    def changed(self, before: list[dict[str, np.ndarray]]) -> tuple[tuple[str, ...], ...]:
        pairs = zip(self._memories.values(), before, strict=False)
        return tuple(changed_fields(memory.model, copies) for memory, copies in pairs)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]

"""The memory of one MuJoCo simulation, saved and restored as a run of float64.

::

    time | model arrays that change | the buffer of mjData: qpos, qvel, ..., everything derived

The buffer holds the physics state *and* what was derived from it. Both are needed: after a step the
derived arrays are those of the sub-step before, and some environments read them before they step,
so that computing them again gives other numbers. Copying the buffer takes a microsecond or two.

Not in the buffer are contacts and constraints, which ``mj_step`` makes anew. An engine that starts
its step from them, as dm_control does, asks ``load`` to make them. An environment that may look at
the contacts of the step before saves them too; at constraint forces (``efc_*``) it must not look.
"""

from __future__ import annotations

import ctypes
import zlib
from typing import Any

import mujoco
import numpy as np

from plangym_lite.errors import InvalidStateError, NotCloneableError

__all__ = ["SimulationMemory", "changed_fields", "copy_of_model", "model_tag", "runs_of"]

WORD = 8
MANY_CONTACTS = 64
ALIGNMENT = 64  # of mjData's arrays: a smaller gap holds nothing
SCRATCH = frozenset(
    [
        "bvh_active",
        "qDeriv",
        "qLU",
        "qH",
        "qHDiagInv",
        "actuator_moment",
        "moment_rownnz",
        "moment_rowadr",
        "moment_colind",
        "tree_asleep",
        "tree_awake",
        "body_awake",
        "body_awake_ind",
        "parent_awake_ind",
        "dof_awake_ind",
    ]
)
"""Arrays that a step makes just before it uses them, or that hold nothing (sleep is refused)."""
EXPECTED = frozenset(("qpos", "qvel", "qacc_warmstart", "xpos", "xipos", "xfrc_applied"))


class SimulationMemory:
    """Saves and restores one simulation, bit for bit.

    Args:
        model: an ``mujoco.MjModel``.
        data: its ``mujoco.MjData``; it is kept, and must stay the environment's.
        fields: names of the arrays of the model that change while it runs.
    """

    def __init__(self, model: Any, data: Any, fields: tuple[str, ...] = ()) -> None:
        if model.nplugin:
            raise NotCloneableError("a MuJoCo plugin keeps data that no state can hold")
        sleep = getattr(mujoco.mjtEnableBit, "mjENBL_SLEEP", 0)
        if model.opt.enableflags & int(sleep):
            raise NotCloneableError("parts of this MuJoCo model sleep, which no state holds yet")
        self.model, self.data = model, data
        self._fields: list[np.ndarray] = []  # as bytes
        self._parts: list[slice] = []  # where they go
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
        """Write the simulation into ``out``, [size] float64."""
        out[0] = self.data.time
        if self._fields:
            octets = out.view(np.uint8)
            for part, field in zip(self._parts, self._fields, strict=True):
                out[(part.stop - 1) // WORD] = 0  # what is left of the last word
                octets[part] = field
        np.concatenate(self._all_runs, out=out[self._start :])

    def load(self, row: np.ndarray, contacts: bool = False) -> None:
        """Restore what ``save`` wrote; with ``contacts`` also what is made from it."""
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

    def columns_of(self, name: str) -> slice | None:
        """Where an array of mjData, of float64, lies in a saved simulation, if it is there."""
        array = getattr(self.data, name)
        for run, part in self._runs:
            start = (array.ctypes.data - run.ctypes.data) // WORD
            if run.dtype == array.dtype and 0 <= start < run.size:
                return slice(part.start + start, part.start + start + array.size)
        return None

    def save_contacts(self) -> bytes:
        """The contacts of the last step, for whoever looks at them before the next."""
        count = self.data.ncon
        if not count:
            return b""
        distances = self.data.contact.dist  # the first field of each contact
        return ctypes.string_at(distances.ctypes.data, count * distances.strides[0])

    def size_of_contacts(self) -> int:
        """Bytes for about as many contacts as there may be."""
        count, self.data.ncon = self.data.ncon, 1
        each = self.data.contact.dist.strides[0]
        self.data.ncon = count
        return each * min(4 * self.model.ngeom, MANY_CONTACTS)

    def load_contacts(self, contacts: bytes) -> None:
        """Restore what ``save_contacts`` gave; a step makes its own, and the arrays with them."""
        data = self.data
        data.ncon = 1
        distances = data.contact.dist
        data.ncon = len(contacts) // distances.strides[0]
        if contacts:
            ctypes.memmove(distances.ctypes.data, contacts, len(contacts))

    def check(self, data: Any) -> None:
        """Raise if the environment has got other ``data`` since."""
        if data is not self.data:
            raise InvalidStateError(
                "the environment has replaced its MjData since it was made: "
                "its states cannot be saved"
            )


def runs_of(data: Any) -> list[np.ndarray]:
    """The arrays of mjData's buffer, without copies, as few long runs of one dtype each."""
    start = data.qpos.ctypes.data
    end = start + data.nbuffer
    arrays: list[tuple[int, int, np.dtype]] = []
    missing = set(EXPECTED)
    for name in dir(data):
        array = getattr(data, name) if not name.startswith("_") else None
        if isinstance(array, np.ndarray) and array.size and name not in SCRATCH:
            address = array.ctypes.data
            if start <= address and address + array.nbytes <= end:
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
    """A number that tells the states of one model, and one environment, from those of others.

    ``changing``: names of the arrays of the model that are part of the state.
    """
    tag = zlib.crc32(f"{label} {model.opt}".encode() + bytes(model.names))
    for name, array in _arrays_of(model).items():
        if name not in changing:
            tag = zlib.crc32(f"{name} {array.shape}".encode() + array.tobytes(), tag)
    return float(tag)


def copy_of_model(model: Any) -> dict[str, np.ndarray]:
    """Copies of the model's arrays of numbers."""
    return {name: array.copy() for name, array in _arrays_of(model).items()}


def changed_fields(model: Any, before: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Names of the model's arrays that differ from ``before``."""
    return tuple(
        name
        for name, array in _arrays_of(model).items()
        if array.tobytes() != before[name].tobytes()
    )


def _arrays_of(model: Any) -> dict[str, np.ndarray]:
    arrays = {}
    for name in dir(model):
        value = getattr(model, name) if not name.startswith("_") else None
        if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "fiub":
            arrays[name] = value
    return arrays

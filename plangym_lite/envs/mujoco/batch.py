"""Many simulations of one MuJoCo model, stepped on threads of this process.

A simulation is its integration state (``mjSTATE_INTEGRATION``), a row of float64. Rows are stepped
by ``mujoco.batch.Batch`` where the installed mujoco has it (from 3.17), on native threads. Batch
does not compute contact forces as Gymnasium does, after the step; rows that need them, and all
rows with an older mujoco, are stepped by Python threads, each with an ``MjData`` of its own:
MuJoCo releases the interpreter's lock while it computes. Both give what ``mj_step`` gives, bit for
bit, with any number of threads.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import mujoco
import numpy as np

from plangym_lite.system import add_note

__all__ = ["HAS_BATCH", "INTEGRATION", "Simulations", "Stepped", "layout_of"]

HAS_BATCH = importlib.util.find_spec("mujoco.batch") is not None
INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)
MOVING = ("TIME", "QPOS", "QVEL", "ACT", "HISTORY", "WARMSTART")
"""The components that a step changes; the first ones of an integration state."""
SMALLEST = 64  # rows of the smallest native batch
ALIGNMENT = 64  # of arrays: a smaller gap holds nothing
STAGES = {1: mujoco.mj_fwdPosition, 2: mujoco.mj_step1, 3: mujoco.mj_forward}


class Stepped(NamedTuple):
    """``B`` simulations after some steps; all arrays are new."""

    states: np.ndarray  # [B, size] integration states
    previous: np.ndarray | None  # [B, n_moving] their first columns before the last step
    fields: dict[str, np.ndarray]  # [B, n] each, derived fields, as mj_step leaves them
    has_warned: bool  # whether MuJoCo warned: a simulation may have been reset


class Simulations:
    """Steps many simulations of one model.

    Args:
        model: an ``MjModel``. It is copied, and copied again when it has changed since.
        n_threads: threads that share the rows, the caller's included.
        fields: names of arrays of ``MjData`` to return. They are those of the last evaluation
            within the last step, as after ``mj_step``.
        contact_forces: call ``mj_rnePostConstraint`` after the last step, as Gymnasium does.
    """

    def __init__(
        self,
        model: Any,
        n_threads: int = 1,
        fields: tuple[str, ...] = (),
        contact_forces: bool = False,
    ) -> None:
        self.model, self.n_threads = model, n_threads
        self.fields, self.contact_forces = fields, contact_forces
        self.is_native = HAS_BATCH and not contact_forces
        self.size = mujoco.mj_stateSize(model, INTEGRATION)
        places = layout_of(model)
        self.n_moving = places["warmstart"].stop
        self._process = 0  # that the threads belong to
        self._watch = _Watch(model)
        self._engine: Any = None

    def step(
        self, states: np.ndarray, n_steps: int, stage: int = 0, keep_previous: bool = True
    ) -> Stepped:
        """Step ``states``, ``[B, size]``, which hold the controls, ``n_steps`` times.

        Args:
            states: integration states; they are not changed.
            n_steps: at least 1.
            stage: an ``mjtStage``, up to which derived fields are computed again at the new state;
                0: they stay as ``mj_step`` leaves them.
            keep_previous: whether ``previous`` is returned.

        Raises:
            Exception: MuJoCo's own; a note names the row.
        """
        if self._engine is None or self._process != os.getpid() or not self._watch.is_same():
            self._watch = _Watch(self.model)
            self._engine = (_Native if self.is_native else _Loops)(self)
            self._process = os.getpid()
        return self._engine.step(states, n_steps, stage, keep_previous)


def layout_of(model: Any) -> dict[str, slice]:
    """The place of each component in an integration state: ``qpos``, ``ctrl`` and so on."""
    places, start = {}, 0
    for bit in range(32):
        name = mujoco.mjtState(1 << bit).name if INTEGRATION >> bit & 1 else ""
        if name:
            stop = start + mujoco.mj_stateSize(model, 1 << bit)
            places[name.removeprefix("mjSTATE_").lower()] = slice(start, stop)
            start = stop
    return places


class _Native:
    """The native threads of ``mujoco.batch.Batch``; a batch of rows for each power of two."""

    def __init__(self, owner: Simulations) -> None:
        self._model, self._n_threads = owner.model, owner.n_threads
        self._names, self._n_moving = owner.fields, owner.n_moving
        self._batches: dict[int, tuple[Any, dict[str, np.ndarray]]] = {}

    def step(self, states: np.ndarray, n_steps: int, stage: int, keep_previous: bool) -> Stepped:
        size = len(states)
        batch, fields = self._batch_for(size)
        ids = None if size == batch.nsim else np.arange(size, dtype=np.int32)
        batch.state[:size] = states
        batch.warning[:size] = 0
        previous = None
        try:
            if keep_previous:
                if n_steps > 1:
                    batch.step(ids, n_steps - 1)
                previous = batch.state[:size, : self._n_moving].copy()
            batch.step(ids, 1 if keep_previous else n_steps, stage)
        except RuntimeError as error:
            failed = getattr(error, "ids", None)
            if failed is not None:
                add_note(error, f"in row {failed[0]} of the simulations")
            raise
        found = {name: field[:size].reshape(size, -1).copy() for name, field in fields.items()}
        warned = bool(batch.warning[:size, :, 1].any())
        return Stepped(batch.state[:size].copy(), previous, found, warned)

    def _batch_for(self, size: int) -> tuple[Any, dict[str, np.ndarray]]:
        room = max(SMALLEST, 1 << (size - 1).bit_length())
        if room not in self._batches:
            batch = importlib.import_module("mujoco.batch").Batch(
                self._model, room, self._n_threads
            )
            self._batches[room] = batch, {name: batch.bind(name) for name in self._names}
        return self._batches[room]


class _Loops:
    """Python threads, each with an ``MjData``, that take row after row."""

    def __init__(self, owner: Simulations) -> None:
        self._names, self._n_moving = owner.fields, owner.n_moving
        self._contact_forces = owner.contact_forces
        self._model = owner.model.__copy__()
        self._datas = [mujoco.MjData(self._model) for _ in range(owner.n_threads)]
        self._pool = ThreadPoolExecutor(max(1, owner.n_threads - 1))  # starts them when needed

    def step(self, states: np.ndarray, n_steps: int, stage: int, keep_previous: bool) -> Stepped:
        size = len(states)
        after = np.empty(states.shape)
        previous = np.empty((size, self._n_moving)) if keep_previous else None
        like = {name: getattr(self._datas[0], name) for name in self._names}
        fields = {name: np.empty((size, one.size), one.dtype) for name, one in like.items()}
        stepped = Stepped(after, previous, fields, False)
        rows = iter(range(size))  # taking the next one is atomic
        work = states, rows, n_steps, stage, stepped
        others = [self._pool.submit(self._run, data, *work) for data in self._datas[1:]]
        try:
            warned = self._run(self._datas[0], *work)
        finally:
            for _ in rows:  # after an error: nobody takes another one
                pass
            answers = [other.exception() for other in others]
        for error in filter(None, answers):
            raise error
        warned = any([warned, *(other.result() for other in others)])
        return stepped._replace(has_warned=warned)

    def _run(
        self,
        data: Any,
        states: np.ndarray,
        rows: Iterator[int],
        n_steps: int,
        stage: int,
        stepped: Stepped,
    ) -> bool:
        """Step rows until none is left; return whether MuJoCo warned."""
        model, after, previous = self._model, stepped.states, stepped.previous
        step, read, write = mujoco.mj_step, mujoco.mj_getState, mujoco.mj_setState
        later = [STAGES[stage]] if stage else []
        later += [mujoco.mj_rnePostConstraint] if self._contact_forces else []
        pairs = [(getattr(data, name).reshape(-1), to) for name, to in stepped.fields.items()]
        before = data.warning.number.sum()
        row = 0
        try:
            for row in rows:
                out = after[row]
                write(model, data, states[row], INTEGRATION)
                if previous is None:
                    step(model, data, nstep=n_steps)
                else:
                    if n_steps > 1:
                        step(model, data, nstep=n_steps - 1)
                    read(model, data, out, INTEGRATION)
                    previous[row] = out[: self._n_moving]
                    step(model, data)
                read(model, data, out, INTEGRATION)
                for compute in later:
                    compute(model, data)
                for field, to in pairs:
                    to[row] = field
        except Exception as error:
            add_note(error, f"in row {row} of the simulations")
            raise
        return bool(data.warning.number.sum() != before)


class _Watch:
    """Tells whether a model has changed, textures apart."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._runs = _runs_of(model)
        self._before = [run.tobytes() for run in self._runs]
        self._names = [name for name in dir(model.opt) if not name.startswith("_")]
        self._options = self._read()

    def is_same(self) -> bool:
        """Whether it is what it was when this object was made."""
        same = self._before == [run.tobytes() for run in self._runs]
        return same and self._options == self._read()

    def _read(self) -> list[Any]:
        options = self._model.opt
        values = (getattr(options, name) for name in self._names)
        return [value.tobytes() if isinstance(value, np.ndarray) else value for value in values]


def _runs_of(model: Any) -> list[np.ndarray]:
    """The memory of a model's arrays as bytes, adjacent ones merged; without textures."""
    arrays = [getattr(model, name) for name in dir(model) if not name.startswith(("_", "tex_"))]
    spans = sorted(
        (array.ctypes.data, array.ctypes.data + array.nbytes)
        for array in arrays
        if isinstance(array, np.ndarray) and array.size
    )
    runs: list[list[int]] = []
    for start, stop in spans:
        if runs and start - runs[-1][1] < ALIGNMENT:
            runs[-1][1] = max(stop, runs[-1][1])
        else:
            runs.append([start, stop])
    memories: list[Any] = [
        (ctypes.c_uint8 * (stop - start)).from_address(start) for start, stop in runs
    ]
    return [np.frombuffer(memory, np.uint8) for memory in memories]

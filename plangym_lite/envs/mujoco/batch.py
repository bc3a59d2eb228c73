"""Many simulations of one MuJoCo model, stepped on threads of this process.

A simulation is its integration state (``mjSTATE_INTEGRATION``), a row of float64. Rows are stepped
by ``mujoco.batch.Batch`` where the installed mujoco has it (from 3.17), on native threads. Batch
does not compute contact forces as Gymnasium does, after the step, and takes no callbacks that are
Python functions. Rows that need these, and all rows with an older mujoco, are stepped by Python
threads, each with an ``MjData`` of its own: MuJoCo releases the interpreter's lock while it
computes. Both give what ``mj_step`` gives, bit for bit, with any number of threads.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import mujoco
import numpy as np

__all__ = ["HAS_BATCH", "INTEGRATION", "Simulations", "Stepped", "layout_of"]

HAS_BATCH = importlib.util.find_spec("mujoco.batch") is not None
INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)
MOVING = INTEGRATION & (2 * int(mujoco.mjtState.mjSTATE_WARMSTART) - 1)
"""The components that a step changes; the first ones of an integration state."""
SMALLEST = 64  # rows of the smallest native batch
ALIGNMENT = 64  # of arrays: a smaller gap holds nothing
STAGES = {1: mujoco.mj_fwdPosition, 2: mujoco.mj_step1, 3: mujoco.mj_forward}
_native: weakref.WeakSet[Any] = weakref.WeakSet()  # batches, which have threads


def _keep_native() -> None:
    """Never free the batches of the parent process: their threads, waited for, do not run here."""
    for batch in _native:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(batch))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_native)


class Stepped(NamedTuple):
    """``B`` simulations after ``T`` controls. Arrays keep their content until the next call."""

    states: np.ndarray  # [B, size] integration states
    ends: np.ndarray  # [B, T, n_moving] their first columns after each control
    fields: dict[str, np.ndarray]  # [B, T, n] each, derived fields, as mj_step leaves them
    failed: list[int]
    """Rows of which MuJoCo warned, so that they may have been reset, or in which it raised an
    error. ``fields`` are missing then."""


class Simulations:
    """Steps many simulations of one model.

    Args:
        model: an ``MjModel``. It is copied, and copied again when it has changed since.
        n_threads: threads that share the rows, the caller's included.
        fields: names of arrays of ``MjData`` to return. They are those of the last evaluation
            within the last step, as after ``mj_step``.
        contact_forces: call ``mj_rnePostConstraint`` after each control, as Gymnasium does.
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
        self.places = layout_of(model)
        self.timestep: float = model.opt.timestep  # of the last call; to ask the model is slow
        self._process = 0  # that the threads belong to
        self._watch: Any = None
        self._engine: Any = None

    def step(
        self, states: np.ndarray, controls: np.ndarray, n_steps: int, stage: int = 0
    ) -> Stepped:
        """Apply controls one after the other, each for ``n_steps`` steps.

        Args:
            states: ``[B, size]`` integration states; they are not changed.
            controls: ``[B, T, nu]``; they replace those of the states.
            n_steps: at least 1.
            stage: an ``mjtStage``, up to which derived fields are computed again at the new state;
                ``T`` must be 1 then. 0: the fields stay as ``mj_step`` leaves them.
        """
        if self._engine is None or self._process != os.getpid() or not self._watch.is_same():
            self._watch, self.timestep = _Watch(self.model), self.model.opt.timestep
            self._engine = (_Native if self.is_native else _Loops)(self)
            self._process = os.getpid()
        try:
            return self._engine.step(states, controls, n_steps, stage)
        except ValueError:  # a callback is a Python function
            if not self.is_native:
                raise
            return _Loops(self).step(states, controls, n_steps, stage)


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
        self._names, self._ctrl = owner.fields, owner.places["ctrl"]
        self._n_moving = owner.places["warmstart"].stop
        self._batches: dict[int, Any] = {}
        self._memory: dict[Any, np.ndarray] = {}  # for what is recorded

    def step(self, states: np.ndarray, controls: np.ndarray, n_steps: int, stage: int) -> Stepped:
        size, length = controls.shape[:2]
        batch = self._batch_for(size)
        ids = None if size == batch.nsim else np.arange(size, dtype=np.int32)
        after = batch.state[:size]
        after[...] = states
        after[:, self._ctrl] = controls[:, 0]
        fields: dict[Any, np.ndarray]
        try:
            if length == 1:
                fields = {name: batch.bind(name)[:size] for name in self._names}
                batch.step(ids, n_steps, stage)
                ends = after[:, None, : self._n_moving]
            else:
                every = np.repeat(controls, n_steps, axis=1)
                out = self._space(batch, size, length * n_steps)
                batch.rollout(length * n_steps, every, record=tuple(out), ids=ids, out=out)
                fields = {item: found[:, n_steps - 1 :: n_steps] for item, found in out.items()}
                ends = fields.pop(MOVING)
        except RuntimeError as error:
            batch.warning[:] = 0
            if not hasattr(error, "ids"):
                raise
            return Stepped(after, after[:, None], {}, error.ids.tolist())
        failed: list[int] = []
        if np.count_nonzero(batch.warning):
            failed = np.flatnonzero(batch.warning[:size, :, 1].any(1)).tolist()
            batch.warning[:] = 0
        flat = {name: field.reshape(size, length, -1) for name, field in fields.items()}
        return Stepped(after, ends, flat, failed)

    def _batch_for(self, size: int) -> Any:
        room = max(SMALLEST, 1 << (size - 1).bit_length())
        if room not in self._batches:
            kind = importlib.import_module("mujoco.batch").Batch
            self._batches[room] = kind(self._model, room, self._n_threads)
            _native.add(self._batches[room])
        return self._batches[room]

    def _space(self, batch: Any, size: int, n_steps: int) -> dict[Any, np.ndarray]:
        """Arrays for what is recorded after each step; fresh memory would be slow."""
        shapes: dict[Any, tuple[int, ...]] = {
            name: (size, n_steps, *batch.bind(name).shape[1:]) for name in self._names
        }
        shapes[MOVING] = size, n_steps, self._n_moving
        found = {}
        for item, shape in shapes.items():
            needed = math.prod(shape)
            if item not in self._memory or self._memory[item].size < needed:
                self._memory[item] = np.empty(needed)
            found[item] = self._memory[item][:needed].reshape(shape)
        return found


class _Loops:
    """Python threads, each with an ``MjData``, that take row after row."""

    def __init__(self, owner: Simulations) -> None:
        self._names, self._contact_forces = owner.fields, owner.contact_forces
        self._model, self._n_moving = owner.model.__copy__(), owner.places["warmstart"].stop
        self._datas = [mujoco.MjData(self._model) for _ in range(owner.n_threads)]
        self._pool = ThreadPoolExecutor(max(1, owner.n_threads - 1))  # starts them when needed

    def step(self, states: np.ndarray, controls: np.ndarray, n_steps: int, stage: int) -> Stepped:
        size, length = controls.shape[:2]
        like = {name: getattr(self._datas[0], name) for name in self._names}
        fields = {name: np.empty((size, length, one.size), one.dtype) for name, one in like.items()}
        ends = np.empty((size, length, self._n_moving))
        stepped = Stepped(np.empty(states.shape), ends, fields, [])
        rows = iter(range(size))  # taking the next one is atomic
        work = (states, controls), rows, n_steps, stage, stepped
        others = [self._pool.submit(self._run, data, *work) for data in self._datas[1:]]
        try:
            self._run(self._datas[0], *work)
        finally:
            for _ in rows:  # after Ctrl-C: nobody takes another one
                pass
            wait(others)
        stepped.failed.sort()
        return stepped

    def _run(
        self,
        data: Any,
        given: tuple[np.ndarray, np.ndarray],
        rows: Iterator[int],
        n_steps: int,
        stage: int,
        stepped: Any,
    ) -> None:
        """Step rows until none is left."""
        model, (states, controls) = self._model, given
        later = [STAGES[stage]] if stage else []
        later += [mujoco.mj_rnePostConstraint] if self._contact_forces else []
        pairs = [(getattr(data, name).reshape(-1), to) for name, to in stepped.fields.items()]
        warnings = data.warning.number  # a view; a simulation that is reset begins anew
        for row in rows:
            out = stepped.states[row]
            mujoco.mj_setState(model, data, states[row], INTEGRATION)
            try:
                for number, control in enumerate(controls[row]):
                    data.ctrl[:] = control
                    mujoco.mj_step(model, data, nstep=n_steps)
                    mujoco.mj_getState(model, data, out, INTEGRATION)
                    stepped.ends[row, number] = out[: self._n_moving]
                    for compute in later:
                        compute(model, data)
                    for field, to in pairs:
                        to[row, number] = field
                has_failed = warnings.any()
            except Exception:  # MuJoCo's or a callback's; who runs the row alone sees it
                has_failed = True
            if has_failed:
                warnings[:] = 0
                stepped.failed.append(row)


class _Watch:
    """Tells whether a model has changed, textures apart."""

    def __init__(self, model: Any) -> None:
        self._model = model  # whose memory is looked at
        self._runs = _runs_of(model)
        self._before = self._bytes()

    def is_same(self) -> bool:
        """Whether it is what it was when this object was made."""
        return self._before == self._bytes()

    def _bytes(self) -> list[bytes]:
        return [run.tobytes() for run in self._runs]


def _runs_of(model: Any) -> list[np.ndarray]:
    """The memory of a model as bytes: its sizes, options and statistics, which end with
    ``stat.center``, and its arrays, adjacent ones merged; without textures."""
    arrays = [getattr(model, name) for name in dir(model) if not name.startswith(("_", "tex_"))]
    spans = [
        (array.ctypes.data, array.ctypes.data + array.nbytes)
        for array in arrays
        if isinstance(array, np.ndarray) and array.size
    ]
    center = model.stat.center
    spans.append((model._address, center.ctypes.data + center.nbytes))
    runs: list[list[int]] = []
    for start, stop in sorted(spans):
        if runs and start - runs[-1][1] < ALIGNMENT:
            runs[-1][1] = max(stop, runs[-1][1])
        else:
            runs.append([start, stop])
    memories: list[Any] = [
        (ctypes.c_uint8 * (stop - start)).from_address(start) for start, stop in runs
    ]
    return [np.frombuffer(memory, np.uint8) for memory in memories]

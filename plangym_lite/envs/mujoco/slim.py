"""The state of one simulation of Gymnasium's, in few numbers, and how it is found out which.

A row of float64::

    steps | integration state | derived numbers read before a step | rest

MuJoCo computes a step from the integration state alone. But after ``mj_step`` the derived arrays
are those of an evaluation *within* the last step, and some environments read them: before they
step, in their observations, or to draw. :func:`examine` finds out which numbers an environment
reads before it steps, and which its observation shows. The first are always saved. For the others
the rest holds the moving part of the integration state (time, positions, velocities, activations,
warm start) before the last control, and its ``steps`` run again give every derived array. If the
simulation was set rather than stepped (after a reset), ``steps`` is 0, and the rest holds the
numbers that the observation shows; ``mj_forward`` gives the other arrays.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import mujoco
import numpy as np

from plangym_lite.envs.mujoco.batch import INTEGRATION, layout_of
from plangym_lite.envs.snapshot.mjdata import SimulationMemory
from plangym_lite.errors import InvalidStateError

__all__ = ["Picks", "SlimMemory", "examine"]

MOST_STEPS = 2**31  # of one control
Picks = dict[str, np.ndarray]
"""Numbers of mjData: indices into flattened arrays, by the array's name."""
SEEDS, STEPS = (0, 1), 3  # of the walks after which an environment is examined
STATE_FIELDS = (
    *("qpos", "qvel", "act", "history", "qacc_warmstart", "ctrl", "qfrc_applied", "xfrc_applied"),
    *("eq_active", "mocap_pos", "mocap_quat", "userdata", "plugin_state"),
)
"""Arrays of mjData that are part of the integration state."""


class SlimMemory:
    """Saves and restores the simulation of an environment that does nothing but step it.

    It replaces the method with which the environment steps, so that it knows the state before the
    last step. It must not refer to the environment: a renderer that is freed late, by the garbage
    collector, deletes what another one has in OpenGL.

    Args:
        base: the environment; ``data`` and ``model`` must stay.
        before: the numbers that it reads before it steps.
        shown: the derived numbers that its observation shows.
    """

    def __init__(self, base: Any, before: Picks, shown: Picks) -> None:
        self.model, self.data = base.model, base.data
        self.places = layout_of(base.model)
        n_moving = self.places["warmstart"].stop
        self.integration = slice(1, 1 + mujoco.mj_stateSize(base.model, INTEGRATION))
        self.before, start = self._place(before, self.integration.stop)
        self.shown, stop = self._place(shown, start)
        self.previous, self._moving = slice(start, start + n_moving), slice(n_moving)
        self.size = max(stop, self.previous.stop)
        self.shows_derived = bool(shown)
        self._loaded: np.ndarray | None = None  # the row, until the simulation moves on
        self._is_derived = True
        self._last = np.empty(self.integration.stop - 1)  # the state before the last control
        self._n_steps = 0  # of that control
        self._control, self._warnings = base.data.ctrl, base.data.warning.number  # views
        self._no_warnings = bytes(self._warnings.nbytes)
        self._signature: Any = None  # of the derived arrays after it
        self._watched = [base.data.qacc, base.data.xpos, *(array for _, array, *_ in self.shown)]
        if self._steps_alike(base):
            base._step_mujoco_simulation = self._advance

    def _place(self, picks: Picks, start: int) -> tuple[list[tuple[str, Any, Any, slice]], int]:
        """Array, its name and indices, and the place in a row, for each of the picks."""
        placed = []
        for name, indices in picks.items():
            array = getattr(self.data, name).reshape(-1)
            placed.append((name, array, indices, slice(start, start + len(indices))))
            start += len(indices)
        return placed, start

    # ---- stepping -----------------------------------------------------------------------------

    def _steps_alike(self, base: Any) -> bool:
        """Whether the environment steps as :meth:`_advance` does, in this version of Gymnasium."""
        memory = SimulationMemory(self.model, self.data)
        rows = np.empty((3, memory.size))
        memory.save(rows[0])
        control, n_steps = np.full(self.model.nu, 0.1), base.frame_skip
        for row, step in zip(rows[1:], (base._step_mujoco_simulation, self._advance), strict=True):
            memory.load(rows[0])
            step(control, n_steps)
            memory.save(row)
        memory.load(rows[0])
        self._signature = None
        return rows[1].tobytes() == rows[2].tobytes()

    def _advance(self, ctrl: Any, n_frames: int) -> None:
        """Gymnasium's ``_step_mujoco_simulation``, and a look at the state before."""
        model, data = self.model, self.data
        self._control[:] = ctrl
        mujoco.mj_getState(model, data, self._last, INTEGRATION)
        mujoco.mj_step(model, data, n_frames)
        mujoco.mj_rnePostConstraint(model, data)
        self._loaded, self._n_steps = None, n_frames
        if self._warnings.tobytes() != self._no_warnings and self._may_be_reset(n_frames):
            self._signature = None
        else:
            self._signature = self._sign()

    def _may_be_reset(self, n_frames: int) -> bool:
        """Whether MuJoCo may have reset the simulation in the last step, because it was unstable.

        Then the time began at 0 again.
        """
        before = time = self._last[self.places["time"]].item()
        for _ in range(n_frames):
            time += self.model.opt.timestep
        return before <= 0 or self.data.time != time

    def _sign(self) -> bytes:
        """Tells whether derived arrays have been computed again since."""
        return b"".join(self._watched)

    # ---- the state ----------------------------------------------------------------------------

    def save(self, out: np.ndarray) -> None:
        """Write the simulation into ``out``, ``[size]``."""
        state = out[self.integration]
        mujoco.mj_getState(self.model, self.data, state, INTEGRATION)
        row = self._loaded
        if row is not None and state.tobytes() == row[self.integration].tobytes():
            out[...] = row
            return
        for _, array, indices, part in self.before:
            out[part] = array[indices]
        if self._signature is not None and self._signature == self._sign():
            out[0] = self._n_steps
            out[self.previous] = self._last[self._moving]
            if self.shown:
                out[self.previous.stop :] = 0
            return
        out[0] = 0
        out[self.previous.start :] = 0
        for _, array, indices, part in self.shown:
            out[part] = array[indices]

    def load(self, row: np.ndarray) -> None:
        """Restore what ``save`` wrote, without the derived arrays that only :meth:`derive` needs.

        The row is kept: it must not change.

        Raises:
            InvalidStateError: it is no such row.
        """
        n_steps = row.item(0)
        if not (0 <= n_steps < MOST_STEPS and n_steps.is_integer()):
            raise InvalidStateError(f"not the state of a simulation: it is {n_steps} steps old")
        self._loaded, self._is_derived, self._signature = row, False, None
        mujoco.mj_setState(self.model, self.data, row[self.integration], INTEGRATION)
        for _, array, indices, part in self.before:
            array[indices] = row[part]

    def derive(self) -> None:
        """Compute the derived arrays of the restored state, if that has not been done."""
        row, model, data = self._loaded, self.model, self.data
        if row is None or self._is_derived:
            return
        self._is_derived = True
        state = row[self.integration]
        mujoco.mj_getState(model, data, self._last, INTEGRATION)
        if self._last.tobytes() != state.tobytes():  # somebody has moved it
            self._loaded = None
            return
        if row[0]:
            self._last[self._moving] = row[self.previous]
            mujoco.mj_setState(model, data, self._last, INTEGRATION)
            mujoco.mj_step(model, data, nstep=int(row[0]))
            mujoco.mj_rnePostConstraint(model, data)
            shown = []
        else:
            mujoco.mj_forward(model, data)
            shown = self.shown
        mujoco.mj_setState(model, data, state, INTEGRATION)
        for _, array, indices, part in [*self.before, *shown]:
            array[indices] = row[part]

    def check(self, data: Any) -> None:
        """Raise if the environment has replaced its ``data``."""
        if data is not self.data:
            raise InvalidStateError(
                "the environment has replaced its MjData since it was made: "
                "its states cannot be saved"
            )


def examine(base: Any) -> tuple[Picks, Picks] | None:
    """The derived numbers that an environment reads before it steps, and in its observation.

    They are changed, many at once and then fewer, and it is compared what the environment does
    then. ``None``: it does not do the same twice.
    """
    found: tuple[set[int], set[int]] = set(), set()
    draw = np.random.default_rng(0)
    shape, dtype = base.action_space.shape, base.action_space.dtype
    derived = _Derived(base.data)
    for seed in SEEDS:
        base.reset(seed=seed)
        for _ in range(STEPS):
            base.step(draw.uniform(-1, 1, shape).astype(dtype))
        action = draw.uniform(-1, 1, shape).astype(dtype)
        for numbers, look in zip(
            found, (partial(_stepped, base, action), base._get_obs), strict=True
        ):
            trial = _Trial(base, derived, look)
            if trial.differs(0, 0):
                return None
            numbers.update(trial.find(0, derived.size))
    before, shown = found
    return derived.picks(before), derived.picks(shown)


def _stepped(base: Any, action: Any) -> list[Any]:
    """What a step returns, and the state after it."""
    return [base.step(action), base.data.qpos.tobytes(), base.data.qvel.tobytes()]


class _Trial:
    """What an environment does in one state, with some derived numbers changed."""

    def __init__(self, base: Any, derived: _Derived, look: Callable[[], Any]) -> None:
        self._derived, self._look = derived, look
        self._memory = SimulationMemory(base.model, base.data)
        self._row = np.empty(self._memory.size)
        self._memory.save(self._row)
        self._usual = self._answer()

    def _answer(self) -> bytes:
        answer = pickle.dumps(self._look())
        self._memory.load(self._row)
        return answer

    def differs(self, start: int, stop: int) -> bool:
        """Whether a change of the numbers from ``start`` to ``stop`` makes a difference."""
        self._derived.disturb(start, stop)
        return self._answer() != self._usual

    def find(self, start: int, stop: int) -> list[int]:
        """The numbers in a range that make a difference."""
        if start >= stop or not self.differs(start, stop):
            return []
        if stop - start == 1:
            return [start]
        middle = (start + stop) // 2
        return self.find(start, middle) + self.find(middle, stop)


class _Derived:
    """The numbers of all derived arrays, as one list."""

    def __init__(self, data: Any) -> None:
        names = (name for name in dir(data) if not name.startswith("_"))
        arrays = {name: getattr(data, name) for name in names if name not in STATE_FIELDS}
        first, last = data.qpos.ctypes.data, data.qpos.ctypes.data + data.nbuffer
        self._arrays = {
            name: array.reshape(-1)
            for name, array in arrays.items()
            if isinstance(array, np.ndarray)
            and array.dtype == np.float64
            and array.size
            and first <= array.ctypes.data < last
        }
        self._starts = np.cumsum([0, *(array.size for array in self._arrays.values())])
        self.size = int(self._starts[-1])
        self._values = np.random.default_rng(0).uniform(0.1, 0.9, self.size)

    def disturb(self, start: int, stop: int) -> None:
        """Put other values into a range of the list."""
        for array, first in zip(self._arrays.values(), self._starts, strict=False):
            low, high = max(start, first), min(stop, first + array.size)
            if low < high:
                array[low - first : high - first] = self._values[low:high]

    def picks(self, numbers: set[int]) -> Picks:
        """Numbers of the list by array."""
        found = {}
        for (name, array), first in zip(self._arrays.items(), self._starts, strict=False):
            indices = [number - first for number in numbers if 0 <= number - first < array.size]
            if indices:
                found[name] = np.array(sorted(indices))
        return found

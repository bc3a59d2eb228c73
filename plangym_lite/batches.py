"""Batches: ``step_batch``, ``rollout_batch`` and ``get_images``.

``B`` denotes the batch dimension, ``T`` the length of a rollout, ``S`` the length of a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from plangym_lite.engine import Engine, add_note
from plangym_lite.errors import InvalidBatchError, StateOutgrownError
from plangym_lite.transitions import (
    BatchSpec,
    Form,
    RolloutBatch,
    Rows,
    StepBatch,
    TransitionBatch,
    empty_columns,
    pack,
)
from plangym_lite.validation import check_states, count_steps, fill_states, prepare_rows

__all__ = ["Batches"]

OBSERVS = ("last", "all", None)


class Batches(Engine):
    """An engine that runs batches. Each row starts from its own state."""

    def step_batch(
        self,
        actions: np.ndarray | Sequence[Any],
        states: np.ndarray | Sequence[Any] | None = None,
        dt: int | np.ndarray | Sequence[int] = 1,
        return_state: bool | None = None,
        *,
        timeout: float | None = None,
    ) -> StepBatch | TransitionBatch:
        """Step ``B`` rows, each from its own state. The current state does not change.

        Args:
            actions: ``B`` actions. Arrays of float32 or float64 reach the engine as they are,
                Python's floats as float64; other dtypes are cast to the space's.
            states: ``B`` states, as ``[B, S]`` array or list; a row whose state is ``None`` starts
                from the current state, and so do all with ``states=None``.
            dt: one int for all rows or one for each, at least 1, in units of ``frameskip``.
            return_state: whether states are returned; ``None``: if ``states`` is not ``None``,
                even if all its elements are.
            timeout: seconds for the whole call. Without workers nothing could stop the engine, and
                a timeout is refused.

        Returns:
            ``(observs, rewards, terminateds, truncateds, infos)``, with ``states`` in front if
            states are returned; arrays with a leading ``[B]`` axis, ``infos`` a list of dicts. A
            row that starts from an ended state returns that state, with reward 0.

        Raises:
            InvalidBatchError: lengths, shapes, dtypes or ranges do not fit; nothing was run.
            InvalidStateError: a state is not one of this environment's; nothing was run.
            TimeoutError: it took longer; workers that had not answered were replaced.
        """
        self._ensure_setup()
        if return_state is None:
            return_state = states is not None
        rows = prepare_rows(self.batch_spec, actions, self._starts(actions, states), dt)
        return self.run_rows(rows, Form(states=return_state), timeout)

    def rollout_batch(
        self,
        actions: np.ndarray | Sequence[Any],
        states: np.ndarray | Sequence[Any] | None = None,
        dt: int | np.ndarray | Sequence[int] = 1,
        return_observs: str | None = "last",
        *,
        timeout: float | None = None,
    ) -> RolloutBatch:
        """Run ``B`` sequences of ``T`` actions, each from its own state, until episodes end.

        The same as ``T`` calls of ``step_batch``, each from the states of the one before, but
        each row restores and saves a state once, and builds only the observations it returns.

        Args:
            actions: ``[B, T, ...]``; for nested spaces ``B`` lists of ``T`` actions.
            states: as in ``step_batch``.
            dt: how long each action is repeated: one int for all rows or one for each.
            return_observs: ``"last"``: the observations after the last action run; ``"all"``:
                those after each action, ``[B, T, ...]``; ``None``: none.
            timeout: as in ``step_batch``.

        Returns:
            ``(states, observs, rewards [B, T], terminateds, truncateds, lengths [B], infos)``.
            ``lengths`` counts the actions run. ``infos`` are those of the last action, except that
            ``n_step`` counts all simulator steps of the row. A row that starts from an ended state
            has length 0.

        Raises:
            InvalidBatchError: lengths, shapes, dtypes or ranges do not fit; nothing was run.
            InvalidStateError: a state is not one of this environment's; nothing was run.
            TimeoutError: it took longer; workers that had not answered were replaced.
        """
        self._ensure_setup()
        if return_observs not in OBSERVS:
            raise InvalidBatchError(
                f"return_observs must be one of {OBSERVS}, got {return_observs!r}"
            )
        starts = self._starts(actions, states)
        rows = prepare_rows(self.batch_spec, actions, starts, dt, has_steps=True)
        form = Form(True, count_steps(rows.actions), return_observs)
        return self.run_rows(rows, form, timeout)

    def get_images(self, states: np.ndarray | Sequence[Any]) -> np.ndarray:
        """The images of ``B`` states. The current state does not change.

        ``None`` among the states means the current state.

        Returns:
            ``[B, height, width, 3]`` uint8, a new array.

        Raises:
            NotImplementedError: the environment cannot render images.
            InvalidStateError: a state is not one of this environment's.
        """
        self._ensure_setup()
        states = fill_states(states, self.get_state)
        return self.draw_images(check_states(self.batch_spec, states))

    def get_state(self) -> Any:
        """The complete current state: a new 1-D array, or an opaque picklable value."""
        self._restore_current()
        try:
            return self.save_state()
        except StateOutgrownError:
            self.outgrow()
            return self.save_state()

    @property
    def batch_spec(self) -> BatchSpec:
        """Shapes, dtypes and spaces of one row of a batch."""
        self._ensure_setup()
        if self._spec is None:
            shape, dtype = self.state_layout() or (None, None)
            spaces = self.observation_space, self.action_space
            self._spec = BatchSpec(*spaces, shape, dtype, self.is_batched)
        return self._spec

    def run_rows(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        """Run validated rows. Vectorized environments send them to their workers instead."""
        if timeout is not None:
            raise ValueError("timeout= needs workers: nothing can stop an engine in this process")
        out = empty_columns(self.batch_spec, len(rows.dts), form)
        try:
            infos = self.make_transitions(rows, out)
        except StateOutgrownError:
            self.outgrow()
            return self.run_rows(rows, form)
        return pack(self.batch_spec, out, infos)

    def draw_images(self, states: Any) -> np.ndarray:
        """The images of checked states. Vectorized environments send them to their workers."""
        if len(states) == 0:
            self._restore_current()
            return self.draw_image()[None][:0]
        self._borrow_engine()
        images: Any = None
        for row, state in enumerate(states):
            try:
                self.load_state(state)
                image = self.draw_image()
            except Exception as error:
                add_note(error, f"at state {row} of get_images")
                raise
            if images is None:
                images = np.empty((len(states), *image.shape), image.dtype)
            images[row] = image
        return images

    def _starts(self, actions: Any, states: Any) -> Any:
        """The states given, with the current state for each row that has none."""
        if states is not None:
            return fill_states(states, self.get_state)
        try:
            return [self.get_state()] * len(actions)
        except TypeError:
            raise InvalidBatchError(f"actions must be a list or array, got {actions!r}") from None

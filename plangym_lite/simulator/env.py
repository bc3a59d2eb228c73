"""SimulatorEnv: the hooks of an adapter for a simulator; all else is here and in ``PlanEnv``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from plangym_lite.core import BORROWED, READY, PlanEnv
from plangym_lite.errors import InvalidStateError, StateOutgrownError
from plangym_lite.nested import ATOMS, own_info
from plangym_lite.simulator.rows import (
    RUNNING,
    TERMINATED,
    TRUNCATED,
    run_rows,
    step_row,
    write_end,
)
from plangym_lite.stable import layout_versions, states_name
from plangym_lite.system import add_note, one_at_a_time
from plangym_lite.transitions import (
    BatchSpec,
    Columns,
    Form,
    Rows,
    Step,
    Transition,
    empty_columns,
    pack,
    step_method,
)
from plangym_lite.validation import (
    check_action,
    check_dt,
    check_saved,
    check_seeds,
    check_state,
    follow_outgrown,
)

__all__ = ["SimulatorEnv"]


class SimulatorEnv(PlanEnv):
    """One simulator and its current state.

    Args:
        name: the name of the environment, as given to ``make``.
        frameskip: simulator steps for each unit of ``dt``.
        autoreset: whether ``step`` without a state resets an ended episode first.
        delay_setup: build the engine at first use, not now.
        return_image: put the image after each step, and after a reset, in ``info["rgb"]``.
    """

    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read
    is_trusted: bool = False  # never ends its process: rows may run in the caller's process

    _current_state: Any = None  # the current state while a batch uses the engine
    _ended: int = RUNNING  # TERMINATED and TRUNCATED bits of the engine's state
    _next_seed: int | None = None
    _goes_on: bool = False  # whether another action of the same rollout follows
    _infos_are_flat: bool = False  # ``advance`` gives numbers and strings only: nothing to copy

    def __init__(
        self,
        name: str,
        frameskip: int = 1,
        autoreset: bool = True,
        delay_setup: bool = False,
        return_image: bool = False,
    ) -> None:
        if int(frameskip) != frameskip or frameskip < 1:
            raise ValueError(f"frameskip must be a whole number of at least 1, got {frameskip!r}")
        self.frameskip = int(frameskip)
        self.autoreset, self.return_image = autoreset, return_image
        super().__init__(name, delay_setup)

    def build_engine(self) -> None:
        """Make the engine; set ``observation_space`` and ``action_space``; start an episode."""
        raise self._missing("build_engine")

    def close_engine(self) -> None:
        """Free what the engine holds."""

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Start an episode; return its info."""
        raise self._missing("apply_reset")

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        """Run ``n_frames`` simulator steps, fewer if the episode ends.

        Returns ``(sum of rewards, terminated, truncated, info)``. The info is a new dict with the
        frames run as ``"n_step"``; its values may belong to the engine.
        """
        raise self._missing("advance")

    def current_obs(self) -> Any:
        """The observation of the engine's state, as a new array or nested value."""
        raise self._missing("current_obs")

    def current_info(self) -> dict[str, Any]:
        """The info of the engine's state, a new dict; to define if infos are not empty."""
        return {}

    def seed_generators(self, seed: int) -> Callable[[], None]:
        """Seed all generators of the engine with ``seed``, as ``step_batch`` describes.

        Returns what puts back those that are not part of the state.
        """
        raise self._missing("seed_generators")

    def _missing(self, hook: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} must define {hook}(): see SimulatorEnv")

    def write_obs(self, out: np.ndarray) -> None:
        """Write an observation that is one array into ``out``."""
        out[...] = self.current_obs()

    def save_state(self, out: np.ndarray | None = None) -> Any:
        """Save the engine's state with ``_ended``, into ``out`` if given, else as a new value."""
        raise self._missing("save_state")

    def load_state(self, state: Any) -> None:
        """Put the engine into ``state`` and set ``_ended``. Copy what is kept of the array."""
        raise self._missing("load_state")

    def save_current(self) -> Any:
        """The current state before a batch runs, in the form that is quickest to restore."""
        return self.save_state()

    def load_current(self, state: Any) -> None:
        """Restore what ``save_current`` returned."""
        self.load_state(state)

    def findings(self) -> Any:
        """What was determined when this was made, for its copies; see ``recipe.Informed``."""
        return None

    def outgrow(self, quiet: bool = False) -> None:
        """Switch to states of unbounded size, after a ``StateOutgrownError``."""
        raise self._missing("outgrow")

    def state_layout(self) -> tuple[tuple[int, ...], np.dtype] | None:
        """Shape and dtype of a state; ``None`` if it is an opaque value."""
        return check_saved(self.save_state(), self) if self.STATE_IS_ARRAY else None

    def holds_pickles(self) -> bool:
        """Whether array states hold pickles."""
        return False

    def describe_states(self) -> str:
        """The fingerprint, one line, equal in every process. Add what else states depend on."""
        shape, dtype = self.state_layout() or ("of any size", "object")
        kind = type(self)
        return f"{states_name(kind)} layout={layout_versions(kind)} states={dtype}{shape}"

    def draw_image(self) -> np.ndarray:
        """The image of the engine's state."""
        raise NotImplementedError(f"{type(self).__name__} draws no image")

    def run_batched(self, rows: Rows, out: Columns) -> list[dict[str, Any]] | None:
        """Run all rows of a batch at once, fill ``out`` and return the infos, if possible.

        ``None``: nothing was done, and the rows are run one by one. Results must be bit-identical.
        Call ``_borrow_engine`` before the engine is moved.
        """
        return None

    @property
    def is_batched(self) -> bool:
        """Whether ``run_batched`` may run whole batches, so that large chunks are faster."""
        return False

    @one_at_a_time
    def reset(
        self,
        return_state: bool = True,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, ...]:
        self._return_engine()
        info = own_info(self._begin_episode(seed, options))
        if self.return_image:
            info["rgb"] = self.draw_image()
        obs = self.observe()
        return (self.get_state(), obs, info) if return_state else (obs, info)

    @step_method
    def step(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        return_state: bool | None = None,
        *,
        seed: int | None = None,
    ) -> Step | Transition:
        with self._calls:  # not by the decorator: it takes longer
            self._restore_current()
            action, dt = check_action(self.action_space, action), check_dt(dt)
            seed = None if seed is None else int(check_seeds(seed, 1)[0])
            if state is not None:
                self.set_state(state)
            elif self._ended and self.autoreset:
                self._begin_episode(None, None)
            reward, info = self._seeded(seed, self._transition, action, dt)
            ends = bool(self._ended & TERMINATED), bool(self._ended & TRUNCATED)
            step = self.current_obs(), reward, *ends, info
            returned = return_state or (return_state is None and state is not None)
            return Transition(self.get_state(), *step) if returned else Step(*step)

    @one_at_a_time
    def get_state(self) -> Any:
        self._restore_current()
        try:
            return self.save_state()
        except StateOutgrownError:
            self.outgrow()
            return self.save_state()

    @one_at_a_time
    def set_state(self, state: Any) -> None:
        follow_outgrown(self, [state])
        state = check_state(self.batch_spec, state)
        self._begin_at_all()
        phase, self._phase = self._phase, READY
        try:
            self.load_state(state)
        except InvalidStateError:
            self._phase = phase  # after an error the saved current state is still restored
            raise
        self._current_state = None

    def seed(self, seed: int | None = None) -> list[int | None]:
        self._return_engine()
        self._next_seed = seed
        self.action_space.seed(seed)
        return [seed]

    @one_at_a_time
    def observe(self) -> Any:
        self._restore_current()
        return self.current_obs()

    @one_at_a_time
    def info(self) -> dict[str, Any]:
        self._restore_current()
        return own_info(self.current_info())

    @one_at_a_time
    def get_image(self) -> np.ndarray:
        self._restore_current()
        return self.draw_image()

    @property
    def has_ended(self) -> bool:
        self._restore_current()
        return bool(self._ended)

    @property
    def unwrapped(self) -> SimulatorEnv:
        return self

    @property
    def state_method(self) -> str:
        return "engine"

    @property
    def batch_spec(self) -> BatchSpec:
        if self._spec is None:
            self.setup()
            shape, dtype = self.state_layout() or (None, None)
            spaces = self.observation_space, self.action_space
            self._spec = BatchSpec(*spaces, shape, dtype, self.is_batched)
        return self._spec

    def run_rows(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        if timeout is not None:
            raise ValueError("timeout= needs workers: nothing can stop an engine in this process")
        with self._calls:
            try:
                return self.run_here(rows, form)
            except StateOutgrownError:
                self.outgrow()
                return self.run_here(rows, form)

    def run_here(self, rows: Rows, form: Form) -> Any:
        """``run_rows`` of who holds the lock and takes care of a ``StateOutgrownError``."""
        spec = self.batch_spec
        out = empty_columns(spec, len(rows.dts), form)
        return pack(spec, out, self.make_transitions(rows, out))

    @property
    def can_use_threads(self) -> bool:
        """Whether threads of this process may share the rows of a batch."""
        return False

    def use_threads(self, n_threads: int) -> None:
        """Let ``n_threads`` threads share the rows of a batch, if they can."""

    def run_on_threads(self, rows: Rows, form: Form) -> Any:
        """``run_rows``, or ``None`` if the rows are too many to run them one by one here."""
        return None

    @one_at_a_time
    def draw_images(self, states: Any) -> np.ndarray:
        if len(states) == 0:
            return self.get_image()[None][:0]
        self._borrow_engine()
        images = []
        for row, state in enumerate(states):
            try:
                self.load_state(state)
                images.append(self.draw_image())
            except Exception as error:
                add_note(error, f"at state {row} of get_images")
                raise
        return np.stack(images)

    def make_transitions(self, rows: Rows, out: Columns) -> list[dict[str, Any]]:
        """Run each row from its state into the same row of ``out``; return the infos."""
        self.setup()
        infos = self.run_batched(rows, out)
        if infos is None:
            self._borrow_engine()
            infos = run_rows(self, rows, out)
        return infos

    def step_here(self, action: Any, out: Columns, row: int) -> dict[str, Any]:
        """Step from the current state and keep the new one; write one row, return the info."""
        self._restore_current()
        info = step_row(self, action, 1, out, row)
        write_end(self, out, row, None)
        return info

    def _seeded(self, seed: int | None, run: Callable[..., Any], *args: Any) -> Any:
        """``run(*args)`` with seeded generators, unless ``seed`` is ``None``."""
        if seed is None or self._ended:
            return run(*args)
        put_back = self.seed_generators(seed)
        try:
            return run(*args)
        finally:
            put_back()

    def _transition(self, action: Any, dt: int) -> tuple[float, dict[str, Any]]:
        """Run one checked action; an ended episode stays as it is."""
        if self._ended:
            return 0.0, self._complete({**self.current_info(), "n_step": 0}, dt)
        reward, info = self._run_action(action, dt)
        return reward, self._complete(info, dt)

    def _run_action(self, action: Any, dt: int, more: bool = False) -> tuple[float, dict[str, Any]]:
        self._goes_on = more
        reward, terminated, truncated, info = self.advance(action, dt * self.frameskip)
        self._ended = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        return reward, info

    def _complete(self, info: dict[str, Any], dt: int) -> dict[str, Any]:
        """The row's info with ``dt``, copied: the engine may change the values later."""
        is_flat = self._infos_are_flat or (len(info) == 1 and "n_step" in info)
        if not is_flat and not ATOMS.issuperset(map(type, info.values())):
            info = own_info(info)
        info["dt"] = dt
        if self.return_image:
            info["rgb"] = self.draw_image()
        return info

    def _begin_episode(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        seed, self._next_seed = self._next_seed if seed is None else seed, None
        self._ended, self._has_begun = RUNNING, True
        return self.apply_reset(seed, options)

    def _begin_at_all(self) -> None:
        """Begin the first episode, if the engine puts that off until it is needed."""
        if not self._has_begun:
            self._begin_episode(None, None)

    def _borrow_engine(self) -> None:
        """Save the current state once, so that the engine may run the rows of a batch."""
        if self._phase != BORROWED:
            self._restore_current()
            self._current_state, self._phase = self.save_current(), BORROWED

    def _return_engine(self) -> None:
        """Make sure that the engine is built and in its current state, if an episode has begun."""
        if self._phase == BORROWED:
            self._phase = READY
            self.load_current(self._current_state)
            self._current_state = None
        elif self._phase != READY:
            self.setup()

    def _restore_current(self) -> None:
        if self._phase != READY or not self._has_begun:
            self._return_engine()
            self._begin_at_all()

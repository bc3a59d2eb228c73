"""Engine: the hooks that an adapter implements, and the loop that runs the rows of a batch.

:class:`plangym_lite.core.PlanEnv` builds everything that a planner uses on these hooks.
"""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from plangym_lite.errors import ClosedError, InvalidStateError
from plangym_lite.nested import ATOMS, own_info
from plangym_lite.stable import states_name
from plangym_lite.transitions import BatchSpec, Columns, Rows, write_row, write_steps

__all__ = ["RUNNING", "TERMINATED", "TRUNCATED", "Engine", "add_note"]

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2
"""Bits of ``Engine._ended``."""

NEW, READY, BORROWED, CLOSED = range(4)
"""Phases of an engine: not built; in its current state; in use by a batch; closed."""


class Engine(ABC):
    """One simulator and its current state."""

    STATE_IS_ARRAY: bool = True
    OBS_IS_ARRAY: bool = True
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read
    SINGLETON: ClassVar[bool] = False  # at most one engine in a process
    is_trusted: bool = False  # never ends its process: rows may run in the caller's process

    observation_space: spaces.Space
    action_space: spaces.Space
    frameskip: int = 1
    return_image: bool = False

    _phase: int = NEW
    _current_state: Any = None  # the current state while a batch uses the engine
    _ended: int = RUNNING  # TERMINATED and TRUNCATED bits of the engine's state
    _next_seed: int | None = None
    _spec: BatchSpec | None = None
    _goes_on: bool = False  # whether another action of the same rollout follows
    _has_begun: bool = True  # whether an episode has begun, so that there is a current state

    # ---- what an adapter writes ---------------------------------------------------------------

    def setup(self) -> None:
        """Build the engine, its spaces and a first state, if that has not been done."""
        if self._phase == NEW:
            self.build_engine()
            self._phase = READY

    def build_engine(self) -> None:
        """Make the engine; set ``observation_space`` and ``action_space``; start an episode."""
        raise self._missing("build_engine")

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Start an episode; return its info."""
        raise self._missing("apply_reset")

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        """Run ``n_frames`` simulator steps, fewer if the episode ends.

        Returns ``(sum of rewards, terminated, truncated, info)``. The info is a new dict, but its
        values may belong to the engine; ``info["n_step"]`` is the number of frames run. Only the
        last frame needs an observation.
        """
        raise self._missing("advance")

    def current_obs(self) -> Any:
        """The observation of the engine's state, as a new array or nested value."""
        raise self._missing("current_obs")

    def _missing(self, hook: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} must define {hook}(): see Engine")

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
        if not self.STATE_IS_ARRAY:
            return None
        state = self.save_state()
        if not isinstance(state, np.ndarray) or state.ndim != 1:
            raise InvalidStateError(
                f"{type(self).__name__} saves {type(state).__name__} states: return 1-D arrays "
                "of a fixed length, or set STATE_IS_ARRAY = False"
            )
        return state.shape, state.dtype

    @property
    def states_are_data(self) -> bool:
        """Whether states hold no pickles, so that restoring one never runs code from it.

        If ``False``, restore only states from sources that you trust.
        """
        env: Engine = getattr(self, "unwrapped", self)
        env._ensure_setup()
        return env.STATE_IS_ARRAY and not env.holds_pickles()

    def holds_pickles(self) -> bool:
        """Whether array states hold pickles."""
        return False

    @property
    def fingerprint(self) -> str:
        """Identifies compatible states: environments with equal ones restore each other's."""
        env: Engine = getattr(self, "unwrapped", self)
        env._ensure_setup()
        return env.describe_states()

    def describe_states(self) -> str:
        """The fingerprint, one line, equal in every process. Add what else states depend on."""
        shape, dtype = self.state_layout() or ("of any size", "object")
        return f"{states_name(type(self))} layout={self.layout} states={dtype}{shape}"

    @property
    def layout(self) -> str:
        """The versions of the state layout: ``LAYOUT`` of each class that defines it."""
        versions = [vars(kind)["LAYOUT"] for kind in type(self).__mro__ if "LAYOUT" in vars(kind)]
        return ".".join(map(str, versions))

    def draw_image(self) -> np.ndarray:
        """The image of the engine's state."""
        raise NotImplementedError(f"{type(self).__name__} draws no image")

    def run_batched(self, rows: Rows, out: Columns) -> list[dict[str, Any]] | None:
        """Run all rows of a batch at once, fill ``out`` and return the infos, if possible.

        ``None``: nothing was done, and the rows are run one by one. Results must be bit-identical.
        """
        return None

    @property
    def is_batched(self) -> bool:
        """Whether ``run_batched`` may run whole batches, so that large chunks are faster."""
        return False

    def close_engine(self) -> None:  # noqa: B027
        """Free what the engine holds."""

    # ---- the loop over rows, local and in workers ----------------------------------------------

    def make_transitions(self, rows: Rows, out: Columns) -> list[dict[str, Any]]:
        """Run each row from its state into the same row of ``out``; return the infos."""
        self._borrow_engine()
        together = self.run_batched(rows, out)
        if together is not None:
            return together
        actions, states, dts, first = rows
        if isinstance(actions, np.ndarray):
            actions = list(actions.copy())  # an engine may keep a reference to its action
        run_row = self._step_row if out.lengths is None else self._roll_out_row
        infos = []
        for row, (action, state, dt) in enumerate(zip(actions, states, dts.tolist(), strict=True)):
            try:
                self.load_state(state)
                absorbed = self._ended
                infos.append(run_row(action, dt, out, row))
                self._write_end(out, row, state if absorbed else None)
            except BaseException as error:  # an environment may even call sys.exit
                add_note(error, f"in row {first + row} of the batch (action {action!r}, dt {dt})")
                raise
        return infos

    @property
    def has_ended(self) -> bool:
        """Whether the episode of the current state has ended."""
        self._restore_current()
        return bool(self._ended)

    def step_here(self, action: Any, out: Columns, row: int) -> dict[str, Any]:
        """Step from the current state and keep the new one; write one row, return the info."""
        self._restore_current()
        info = self._step_row(action, 1, out, row)
        self._write_end(out, row, None)
        return info

    def _step_row(self, action: Any, dt: int, out: Columns, row: int) -> dict[str, Any]:
        out.rewards[row], info = self._transition(action, dt)
        self._write_obs_at(out.observs, row)
        return info

    def _roll_out_row(self, actions: Any, dt: int, out: Columns, row: int) -> dict[str, Any]:
        """Run a row's actions, one after another, until the episode ends."""
        rewards, every = out.rewards[row], out.form.observs == "all"
        rewards[:] = 0.0
        info: dict[str, Any] = {"n_step": 0}
        n_step, length, seen = 0, 0, []
        for left, action in zip(range(len(rewards))[::-1], actions, strict=True):
            if self._ended:
                break
            rewards[length], info = self._run_action(action, dt, goes_on=left > 0)
            n_step, length = n_step + info["n_step"], length + 1
            if every:
                seen.append(self.current_obs())
        if every:
            last = seen[-1] if seen else self.current_obs()
            write_steps(out.observs, row, seen + [last] * (len(rewards) - length))
        elif out.observs is not None:
            self._write_obs_at(out.observs, row)
        out.lengths[row] = length  # type: ignore[index]
        info = self._complete(info, dt)
        info["n_step"] = n_step
        return info

    def _write_obs_at(self, observs: Any, row: int) -> None:
        if isinstance(observs, np.ndarray):
            self.write_obs(observs[row, ...])
        else:
            write_row(observs, row, self.current_obs())

    def _write_end(self, out: Columns, row: int, same: Any) -> None:
        """Write the row's last state and flags; ``same`` is its first state, if unchanged."""
        if self._ended:
            out.terminateds[row] = self._ended & TERMINATED
            out.truncateds[row] = self._ended & TRUNCATED
        else:
            out.terminateds[row] = out.truncateds[row] = False
        if out.states is None:
            return
        if same is not None:
            out.states[row] = same
        elif isinstance(out.states, np.ndarray):
            self.save_state(out.states[row])
        else:
            out.states[row] = self.save_state()

    def _transition(self, action: Any, dt: int) -> tuple[float, dict[str, Any]]:
        """Run one checked action; an ended episode stays as it is."""
        if self._ended:
            return 0.0, self._complete({"n_step": 0}, dt)
        reward, info = self._run_action(action, dt)
        return reward, self._complete(info, dt)

    def _run_action(
        self, action: Any, dt: int, goes_on: bool = False
    ) -> tuple[float, dict[str, Any]]:
        self._goes_on = goes_on
        reward, terminated, truncated, info = self.advance(action, dt * self.frameskip)
        self._ended = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        return reward, info

    def _complete(self, info: dict[str, Any], dt: int) -> dict[str, Any]:
        """The row's info with ``dt``, copied: the engine may change the values later."""
        if len(info) > 1:  # more than n_step
            for value in info.values():
                if type(value) not in ATOMS:
                    info = own_info(info)
                    break
        info["dt"] = dt
        if self.return_image:
            info["rgb"] = self.draw_image()
        return info

    def _begin_episode(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        if seed is None:
            seed = self._next_seed
        self._next_seed = None
        self._ended = RUNNING
        self._has_begun = True
        return self.apply_reset(seed, options)

    def _begin_at_all(self) -> None:
        """Begin the first episode, if the engine puts that off until it is needed."""
        if not self._has_begun:
            self._begin_episode(None, None)

    def _borrow_engine(self) -> None:
        """Save the current state once, so that the engine may run the rows of a batch."""
        self._ensure_setup()
        if self._phase != BORROWED:
            self._begin_at_all()
            self._current_state = self.save_current()
            self._phase = BORROWED

    def _return_engine(self) -> None:
        """Make sure that the engine is built and in its current state."""
        if self._phase == READY:
            return
        self._ensure_setup()
        if self._phase == BORROWED:
            self._phase = READY
            self.load_current(self._current_state)
            self._current_state = None

    def _restore_current(self) -> None:
        """Put a built engine into its current state."""
        self._return_engine()
        self._begin_at_all()

    def _ensure_setup(self) -> None:
        if self._phase == NEW:
            self.setup()
        elif self._phase == CLOSED:
            raise ClosedError(f"{self!r} was closed: make a new one")


def add_note(error: BaseException, note: str) -> None:
    """Add to an error where it came from."""
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note(note)

"""PlanEnv: what a planner sees, and nothing else.

Two classes implement it: :class:`~plangym_lite.simulator.SimulatorEnv`, one simulator in this
process, and :class:`~plangym_lite.vectorization.env.VectorizedEnv`, a local copy and workers.

``B`` denotes the batch dimension, ``T`` the length of a rollout, ``S`` the length of a state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium import spaces

from plangym_lite.errors import ClosedError, InvalidBatchError
from plangym_lite.recipe.recipe import Recipe, freeze
from plangym_lite.transitions import (
    BatchSpec,
    Form,
    RolloutBatch,
    Rows,
    Step,
    StepBatch,
    Transition,
    TransitionBatch,
    table,
)
from plangym_lite.validation import check_states, count_steps, fill_states, prepare_rows

if TYPE_CHECKING:
    from plangym_lite.simulator import SimulatorEnv

__all__ = ["BORROWED", "CLOSED", "NEW", "READY", "PlanEnv"]

NEW, READY, BORROWED, CLOSED = range(4)
"""Life of an environment: not built; in its current state; somewhere inside a batch; closed."""

OBSERVS = ("last", "all", None)


class PlanEnv(ABC):
    """An environment that can be stepped from any saved state.

    Until it is built it is a recipe: :meth:`setup` is called when it is made or, with
    ``delay_setup=True``, by the first use.
    """

    STATE_IS_ARRAY: bool = True
    OBS_IS_ARRAY: bool = True
    SINGLETON: ClassVar[bool] = False  # at most one engine in a process

    observation_space: spaces.Space  # the spaces are there once it is built
    action_space: spaces.Space
    frameskip: int = 1
    autoreset: bool = True
    return_image: bool = False

    _recipe: Recipe
    _phase: int = NEW
    _spec: BatchSpec | None = None  # of the rows; None: not known
    _has_begun: bool = True  # whether there is an episode, and so a current state

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Record how the environment is made, whatever its class does in ``__init__``."""
        if cls.__abstractmethods__:
            raise TypeError(
                f"{cls.__name__} leaves {', '.join(sorted(cls.__abstractmethods__))} of PlanEnv "
                "open: the adapter of a simulator inherits plangym_lite.SimulatorEnv"
            )
        self = super().__new__(cls)
        self._recipe = Recipe(cls, freeze(args), freeze(kwargs))
        return self

    def __init__(self, name: str, delay_setup: bool = False) -> None:
        self._name = name
        self.delay_setup = delay_setup
        if not delay_setup:
            self.setup()

    # ---- life ---------------------------------------------------------------------------------

    def setup(self) -> None:
        """Build what runs the environment, unless that has been done.

        Raises:
            ClosedError: the environment was closed.
        """
        if self._phase == CLOSED:
            raise ClosedError(f"{self!r} was closed: make a new one")
        if self._phase == NEW:
            self.build_engine()
            self._phase = READY

    def close(self) -> None:
        """Free what runs the environment. May be called again."""
        is_built, self._phase, self._spec = self._phase in (READY, BORROWED), CLOSED, None
        if is_built:
            self.close_engine()

    @abstractmethod
    def build_engine(self) -> None:
        """Make what runs the environment; set its spaces."""

    @abstractmethod
    def close_engine(self) -> None:
        """Free what was built."""

    # ---- one environment ----------------------------------------------------------------------

    @abstractmethod
    def reset(
        self,
        return_state: bool = True,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, ...]:
        """Start an episode; return ``(state, obs, info)``, or ``(obs, info)`` without states.

        With ``seed`` the episode, and all that follow it, can be repeated.
        """

    @abstractmethod
    def step(
        self, action: Any, state: Any = None, dt: int = 1, return_state: bool | None = None
    ) -> Step | Transition:
        """Apply ``action`` for ``dt * frameskip`` simulator steps and stay where that leads.

        Args:
            action: an element of ``action_space``; dtypes as in ``step_batch``.
            state: start from this state; ``None``: from the current one. If that one has ended,
                a new episode starts first (``autoreset=True``), or nothing moves.
            dt: units of ``frameskip``, at least 1. The run stops at the end of the episode.
            return_state: ``None``: the state comes back if one went in.

        Returns:
            ``(obs, reward, terminated, truncated, info)``, with the state in front if asked for.
            ``reward`` is the sum over the frames; ``info["n_step"]`` counts them.
        """

    @abstractmethod
    def get_state(self) -> Any:
        """The current state, complete: a 1-D array of your own, or an opaque picklable value."""

    @abstractmethod
    def set_state(self, state: Any) -> None:
        """Make ``state`` the current state.

        Raises:
            InvalidStateError: it is not a state of this environment.
        """

    @abstractmethod
    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed the next reset and ``sample_action``; return the seed in a list."""

    @abstractmethod
    def observe(self) -> Any:
        """The observation of the current state."""

    @abstractmethod
    def get_image(self) -> np.ndarray:
        """The picture of the current state, ``[height, width, 3]`` uint8."""

    def render(self) -> Any:
        """The same as ``get_image``."""
        return self.get_image()

    def sample_action(self) -> Any:
        """A random valid action."""
        return self.batch_spec.action_space.sample()

    # ---- batches ------------------------------------------------------------------------------

    def step_batch(
        self,
        actions: np.ndarray | Sequence[Any],
        states: np.ndarray | Sequence[Any] | None = None,
        dt: int | np.ndarray | Sequence[int] = 1,
        return_state: bool | None = None,
        *,
        timeout: float | None = None,
    ) -> StepBatch | TransitionBatch:
        """Step ``B`` rows, each from its own state. The environment's current state stays put.

        Args:
            actions: ``B`` actions. Arrays of float32 or float64 reach the engine as they are,
                Python's floats as float64; other dtypes are cast to the space's.
            states: ``B`` states, as ``[B, S]`` array or list; a row whose state is ``None`` starts
                from the current state, and so do all with ``states=None``.
            dt: one int for all rows or one for each, at least 1, in units of ``frameskip``.
            return_state: ``None``: states come back if states went in, be they all ``None``.
            timeout: seconds for the whole call, where there are workers. Without workers nothing
                could stop the engine, and a timeout is refused.

        Returns:
            ``(observs, rewards, terminateds, truncateds, infos)``, with ``states`` in front if
            asked for; arrays with a leading ``[B]`` axis, ``infos`` a list of dicts. A row whose
            state has ended returns that state again, with reward 0.

        Raises:
            InvalidBatchError: lengths, shapes, dtypes or ranges do not fit; nothing was run.
            InvalidStateError: a state is not one of this environment's; nothing was run.
            TimeoutError: it took longer; workers that had not answered were replaced.
        """
        starts = self._starts(actions, states)
        if return_state is None:
            return_state = states is not None
        rows = prepare_rows(self.batch_spec, actions, starts, dt)
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
        every state is restored and saved once, and no observation is built that is not asked for.

        Args:
            actions: ``[B, T, ...]``; for nested spaces ``B`` lists of ``T`` actions.
            states: as in ``step_batch``.
            dt: for how long each action is held: one int for all rows or one for each.
            return_observs: ``"last"``: the observations after the last action run; ``"all"``:
                those after each action, ``[B, T, ...]``; ``None``: none.
            timeout: as in ``step_batch``.

        Returns:
            ``(states, observs, rewards [B, T], terminateds, truncateds, lengths [B], infos)``.
            ``lengths`` counts the actions run; ``infos`` are those of the last of them, but for
            ``n_step``, which counts all simulator steps of the row. A row whose state has ended
            has length 0.

        Raises:
            InvalidBatchError: lengths, shapes, dtypes or ranges do not fit; nothing was run.
            InvalidStateError: a state is not one of this environment's; nothing was run.
            TimeoutError: it took longer; workers that had not answered were replaced.
        """
        if return_observs not in OBSERVS:
            raise InvalidBatchError(
                f"return_observs must be one of {OBSERVS}, got {return_observs!r}"
            )
        starts = self._starts(actions, states)
        rows = prepare_rows(self.batch_spec, actions, starts, dt, has_steps=True)
        form = Form(True, count_steps(rows.actions), return_observs)
        return self.run_rows(rows, form, timeout)

    def get_images(self, states: np.ndarray | Sequence[Any]) -> np.ndarray:
        """The pictures of ``B`` states. The environment's current state stays put.

        A ``None`` among the states stands for the current one.

        Returns:
            ``[B, height, width, 3]`` uint8, an array of your own.

        Raises:
            NotImplementedError: the environment draws no image.
            InvalidStateError: a state is not one of this environment's.
        """
        states = fill_states(states, self.get_state)
        return self.draw_images(check_states(self.batch_spec, states))

    def _starts(self, actions: Any, states: Any) -> Any:
        """The states given, and for each row without one the current one.

        Comes before the first look at ``batch_spec``, which may be another one afterwards:
        getting the current state can show that states have outgrown their arrays.
        """
        if states is not None:
            return fill_states(states, self.get_state)
        try:
            return [self.get_state()] * len(actions)
        except TypeError:
            raise InvalidBatchError(f"actions must be a list or array, got {actions!r}") from None

    @property
    @abstractmethod
    def batch_spec(self) -> BatchSpec:
        """What one row of a batch looks like; builds the environment if need be."""

    @abstractmethod
    def run_rows(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        """Run validated rows."""

    @abstractmethod
    def draw_images(self, states: Any) -> np.ndarray:
        """The pictures of checked states."""

    # ---- copies -------------------------------------------------------------------------------

    def clone(self, **overrides: Any) -> Any:
        """A new environment of the same recipe; ``overrides`` replace constructor arguments.

        Without overrides it is in this environment's current state, with them freshly reset.
        """
        state = self.get_state() if self._has_state() and not overrides else None
        return _rebuild(self._recipe.replace(**overrides), state)

    def __reduce__(self) -> tuple[Any, ...]:
        state = self.get_state() if self._has_state() else None
        return _rebuild, (self._recipe, state)

    def _has_state(self) -> bool:
        return self._phase in (READY, BORROWED) and self._has_begun

    # ---- what it is ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name that the environment was made by."""
        return self._name

    @property
    @abstractmethod
    def unwrapped(self) -> SimulatorEnv:
        """The environment itself, behind any vectorization."""

    @property
    @abstractmethod
    def has_ended(self) -> bool:
        """Whether the current state is the end of an episode."""

    @property
    @abstractmethod
    def state_method(self) -> str:
        """How states are saved: by the ``"engine"``, as a ``"snapshot"``, or for ``"replay"``."""

    @property
    def states_are_data(self) -> bool:
        """Whether nothing that stands in a state is ever run: no pickle is restored from it.

        Where this is ``False``, restore only states that come from those you trust.
        """
        return self.batch_spec.state_shape is not None and not self.unwrapped.holds_pickles()

    @property
    def fingerprint(self) -> str:
        """What states belong to: environments of one fingerprint restore each other's."""
        self.setup()
        return self.unwrapped.describe_states()

    @property
    def obs_shape(self) -> tuple[int, ...] | None:
        """Shape of an observation; ``None`` for nested ones."""
        return self.batch_spec.observation_space.shape

    @property
    def action_shape(self) -> tuple[int, ...] | None:
        """Shape of an action; ``()`` for discrete, ``None`` for nested ones."""
        return self.batch_spec.action_space.shape

    @property
    def img_shape(self) -> tuple[int, ...] | None:
        """Shape of ``get_image()``; ``None`` where there is no picture to be had."""
        try:
            return self.get_image().shape
        except (NotImplementedError, RuntimeError):
            return None

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, '_name', None)!r})"

    def _repr_html_(self) -> str | None:
        """For notebooks: what is known already; nothing is built or moved for it."""
        phase = ("not built yet", "ready", "ready", "closed")[self._phase]
        names = ("observation_space", "action_space", "frameskip", "n_workers")
        known = ((name, getattr(self, name)) for name in names if hasattr(self, name))
        return table(f"{self!r}: {phase}", known)


def _rebuild(recipe: Recipe, state: Any) -> Any:
    env = recipe()
    if state is not None:
        if env.batch_spec.state_shape is not None and not isinstance(state, np.ndarray):
            env.outgrow(quiet=True)  # as the states of the one that it is a copy of have
        env.set_state(state)
    return env

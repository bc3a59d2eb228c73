"""PlanEnv: the interface that planners use.

Two classes implement it: :class:`~plangym_lite.simulator.SimulatorEnv`, one simulator in this
process, and :class:`~plangym_lite.vectorization.env.VectorizedEnv`, a local copy and workers.

``B`` denotes the batch dimension, ``T`` the length of a rollout, ``S`` the length of a state.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import numpy as np
from gymnasium import Env, spaces
from typing_extensions import Self

from plangym_lite.errors import ClosedError
from plangym_lite.recipe.recipe import Recipe, freeze, rebuild
from plangym_lite.transitions import (
    BatchSpec,
    Form,
    Options,
    RolloutBatch,
    Rows,
    Step,
    StepBatch,
    Transition,
    TransitionBatch,
    env_table,
    step_batch_method,
    step_form,
    step_method,
)
from plangym_lite.validation import (
    check_observs,
    count_steps,
    fill_and_check,
    prepare_call,
)

if TYPE_CHECKING:
    from plangym_lite.simulator import SimulatorEnv

__all__ = ["BORROWED", "CLOSED", "NEW", "READY", "PlanEnv"]

NEW, READY, BORROWED, CLOSED = range(4)
"""Phases of an environment: not built; in its current state; in use by a batch; closed."""


class PlanEnv(ABC):
    """An environment that can be stepped from any saved state."""

    STATE_IS_ARRAY: bool = True
    OBS_IS_ARRAY: bool = True
    SINGLETON: ClassVar[bool] = False  # at most one engine in a process

    observation_space: spaces.Space  # set when the environment is built
    action_space: spaces.Space
    frameskip: int = 1
    autoreset: bool = True
    return_image: bool = False
    n_workers: int = 0  # processes or threads that share a batch; 0: this thread runs it

    _recipe: Recipe
    _lock: Any  # held by the thread that builds it, or calls it
    _calls: Any  # threads that call it wait for this lock; the same one, or around it
    _phase: int = NEW
    _spec: BatchSpec | None = None  # None: not known yet
    _has_begun: bool = True  # whether an episode has begun, so that there is a current state

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Record the class and the arguments, whatever ``__init__`` does with them."""
        if cls.__abstractmethods__:
            raise TypeError(
                f"{cls.__name__} does not define {', '.join(sorted(cls.__abstractmethods__))} of "
                "PlanEnv: an adapter for a simulator must inherit plangym_lite.SimulatorEnv"
            )
        self = super().__new__(cls)
        self._calls = self._lock = threading.RLock()
        self._recipe = Recipe(cls, freeze(args), freeze(kwargs))
        return self

    def __init__(self, name: str, delay_setup: bool = False) -> None:
        self._name = name
        self.delay_setup = delay_setup
        if not delay_setup:
            self.setup()

    def setup(self) -> None:
        """Build it, once; with ``delay_setup=True`` at first use. ``ClosedError`` if closed."""
        if self._phase == CLOSED:
            raise ClosedError(f"{self!r} was closed: make a new one")
        if self._phase == NEW:
            with self._lock:
                if self._phase == NEW:  # not built by another thread meanwhile
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

    @overload
    def reset(
        self,
        return_state: Literal[True] = True,
        *,
        seed: int | None = None,
        options: Options = None,
    ) -> tuple[Any, Any, dict[str, Any]]: ...
    @overload
    def reset(
        self, return_state: Literal[False], *, seed: int | None = None, options: Options = None
    ) -> tuple[Any, dict[str, Any]]: ...
    @overload
    def reset(
        self, return_state: bool, *, seed: int | None = None, options: Options = None
    ) -> tuple[Any, ...]: ...
    @abstractmethod
    def reset(
        self, return_state: bool = True, *, seed: int | None = None, options: Options = None
    ) -> tuple[Any, ...]:
        """Start an episode; return ``(state, obs, info)``, or ``(obs, info)`` without states.

        ``seed`` makes this episode and the following ones reproducible.
        """

    @step_method
    @abstractmethod
    def step(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        return_state: bool | None = None,
        *,
        seed: int | None = None,
    ) -> Step | Transition:
        """Apply ``action`` for ``dt * frameskip`` simulator steps; this moves the current state.

        Args:
            action: an element of ``action_space``; dtypes as in ``step_batch``.
            state: start from this state; ``None``: from the current one. If the current state has
                ended, a new episode starts first (``autoreset=True``), or nothing is run.
            dt: units of ``frameskip``, at least 1. The step stops at the end of the episode.
            return_state: whether the state is returned; ``None``: if ``state`` is given.
            seed: as one of ``seeds`` of ``step_batch``.

        Returns:
            ``(obs, reward, terminated, truncated, info)``, with the state in front if returned.
            ``reward`` is the sum over the frames; ``info["n_step"]`` counts them.
        """

    @abstractmethod
    def get_state(self) -> Any:
        """The complete current state: a new 1-D array, or an opaque picklable value."""

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
    def info(self) -> dict[str, Any]:
        """The info of the current state, as the last step or reset gave it."""

    @abstractmethod
    def get_image(self) -> np.ndarray:
        """The image of the current state, ``[height, width, 3]`` uint8."""

    def render(self) -> Any:
        """The same as ``get_image``."""
        return self.get_image()

    def sample_action(self) -> Any:
        """A random valid action."""
        return self.batch_spec.action_space.sample()

    @step_batch_method
    def step_batch(
        self,
        actions: np.ndarray | Sequence[Any],
        states: np.ndarray | Sequence[Any] | None = None,
        dt: int | np.ndarray | Sequence[int] = 1,
        return_state: bool | None = None,
        *,
        seeds: int | Sequence[int] | np.ndarray | None = None,
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
            seeds: one int for all rows or one for each: the row's generators are seeded with it
                before the row runs, so that equal seeds give equal rows. Generator ``k`` (engine,
                wrappers from the inside out, global) gets ``SeedSequence(seed).spawn(n)[k]``.
            timeout: seconds for the whole call. Without workers nothing could stop the engine, and
                a timeout is refused.

        Returns:
            ``(observs, rewards, terminateds, truncateds, infos)``, with ``states`` in front if
            states are returned; arrays with a leading ``[B]`` axis, ``infos`` a list of dicts. A
            row that starts from an ended state returns that state and its info, with reward 0.

        Raises:
            InvalidBatchError: lengths, shapes, dtypes or ranges do not fit; nothing was run.
            InvalidStateError: a state is not one of this environment's; nothing was run.
            TimeoutError: it took longer; workers that had not answered were replaced.
        """
        returned = states is not None if return_state is None else return_state
        rows = prepare_call(self, actions, states, dt, seeds=seeds)
        return self.run_rows(rows, step_form(bool(returned), seeds is not None), timeout)

    def rollout_batch(
        self,
        actions: np.ndarray | Sequence[Any],
        states: np.ndarray | Sequence[Any] | None = None,
        dt: int | np.ndarray | Sequence[int] = 1,
        return_observs: str | None = "last",
        *,
        seeds: int | Sequence[int] | np.ndarray | None = None,
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
            seeds: as in ``step_batch``, and so are ``timeout`` and errors.

        Returns:
            ``(states, observs, rewards [B, T], terminateds, truncateds, lengths [B], infos)``.
            ``lengths`` counts the actions run. ``infos`` are those of the last action, except that
            ``n_step`` counts all simulator steps of the row. A row that starts from an ended state
            has length 0.
        """
        rows = prepare_call(self, actions, states, dt, has_steps=True, seeds=seeds)
        observs = check_observs(return_observs)
        form = Form(True, count_steps(rows.actions), observs, seeds=seeds is not None)
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
        return self.draw_images(fill_and_check(states, self))

    @property
    @abstractmethod
    def batch_spec(self) -> BatchSpec:
        """Shapes, dtypes and spaces of one row of a batch."""

    @abstractmethod
    def run_rows(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        """Run validated rows."""

    @abstractmethod
    def draw_images(self, states: Any) -> np.ndarray:
        """The images of checked states."""

    def clone(self, **overrides: Any) -> Self:
        """A new environment made in the same way; ``overrides`` replace constructor arguments.

        Without overrides it is in this environment's current state, otherwise newly reset.
        """
        state = None if overrides else self._last_state()
        return rebuild(self._recipe.replace(**overrides), state)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (self._recipe, self._last_state())

    def as_gym(self) -> Env[Any, Any]:
        """A ``gymnasium.Env`` that moves this environment's current state, to wrap or to train."""
        from plangym_lite.simulator.as_gym import GymView

        return GymView(self)

    def _last_state(self) -> Any:
        return self.get_state() if self._phase in (READY, BORROWED) and self._has_begun else None

    @property
    def name(self) -> str:
        """The name that the environment was made with."""
        return self._name

    @property
    @abstractmethod
    def unwrapped(self) -> SimulatorEnv:
        """The environment itself; of a vectorized environment its local copy."""

    @property
    @abstractmethod
    def has_ended(self) -> bool:
        """Whether the episode of the current state has ended."""

    @property
    @abstractmethod
    def state_method(self) -> str:
        """How states are saved: ``"engine"``, ``"snapshot"`` or ``"replay"``."""

    @property
    def states_are_data(self) -> bool:
        """Whether states hold no pickles, so that restoring one never runs code from it.

        If ``False``, restore only states from sources that you trust.
        """
        return self.batch_spec.state_shape is not None and not self.unwrapped.holds_pickles()

    @property
    def fingerprint(self) -> str:
        """Identifies compatible states: environments with equal ones restore each other's."""
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
    def n_actions(self) -> int:
        """Number of actions of a discrete space; ``TypeError`` for others."""
        space = self.batch_spec.action_space
        if not isinstance(space, spaces.Discrete):
            raise TypeError(f"n_actions needs a discrete action space, not {space}")
        return int(space.n)

    @property
    def img_shape(self) -> tuple[int, ...] | None:
        """Shape of ``get_image()``; ``None`` if there are no images."""
        try:
            return self.get_image().shape
        except (NotImplementedError, RuntimeError):
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, '_name', None)!r})"

    def _repr_html_(self) -> str | None:
        """A table for notebooks, of what is known already: it builds and moves nothing."""
        return env_table(self, ("not built yet", "ready", "ready", "closed")[self._phase])

"""VectorizedEnv: runs batches in workers, everything else in a local copy."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from plangym_lite.core import NEW, READY, PlanEnv
from plangym_lite.errors import InvalidBatchError, ReentrantCallError, StateOutgrownError
from plangym_lite.recipe.recipe import Informed, Recipe, freeze
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.system import CallLock, check_workers, one_call
from plangym_lite.transitions import BatchSpec, Form, Rows, Step, Transition, step_method
from plangym_lite.validation import check_timeout
from plangym_lite.vectorization.dispatch.batch_env import BatchEnv
from plangym_lite.vectorization.dispatch.dispatcher import Stats
from plangym_lite.vectorization.memory.chunks import split_similar_chunks
from plangym_lite.vectorization.worker.proxy import HasSpecs
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT

__all__ = ["VectorizedEnv"]


class VectorizedEnv(HasSpecs, PlanEnv):
    """An environment whose batches are run by workers.

    It holds the workers and a local copy, ``plan_env``, which handles single states.

    Args:
        env_class: a ``SimulatorEnv`` class, or a callable that returns a ``SimulatorEnv``.
        name: the name of the environment, if ``env_class`` takes one.
        frameskip: ``None``: the default of ``env_class``.
        autoreset: ``None``: the default of ``env_class``.
        delay_setup: start the workers at first use.
        n_workers: number of workers.
        blocking: use one worker at a time; the results are the same.
        shared_limit: bytes of shared memory for batches; the default is a quarter of the memory.
        use_caller: whether this process also runs rows; ``None``: only if the engine never ends
            its process (``is_trusted``).
        engine_kwargs: passed to ``env_class``.
    """

    plan_env: SimulatorEnv
    _may_use_threads: bool = False
    _on_threads: bool = False  # batches are tried on threads of this process first
    _started: BatchEnv | None = None  # the workers
    _synced: Any = None  # the state for workers that are not started yet

    def __init__(
        self,
        env_class: Callable[..., PlanEnv],
        name: Any = None,
        frameskip: int | None = None,
        autoreset: bool | None = None,
        delay_setup: bool = False,
        n_workers: int = 8,
        *,
        blocking: bool = False,
        shared_limit: int | None = None,
        use_caller: bool | None = None,
        **engine_kwargs: Any,
    ) -> None:
        if isinstance(n_workers, bool) or not isinstance(n_workers, (int, np.integer)):
            raise TypeError(f"n_workers must be a whole number, got {n_workers!r}")
        if n_workers < 1:
            raise ValueError(f"n_workers must be at least 1, got {n_workers}")
        check_workers()
        given = {"name": name, "frameskip": frameskip, "autoreset": autoreset}
        given = {key: value for key, value in given.items() if value is not None}
        self._env_recipe = Recipe(freeze(env_class), (), freeze({**given, **engine_kwargs}))
        self.n_workers = int(n_workers)
        self.blocking = blocking
        self._shared_limit = shared_limit
        self._use_caller = use_caller
        self.SINGLETON = getattr(env_class, "SINGLETON", False)  # type: ignore[misc]
        label = name if isinstance(name, str) else getattr(name or env_class, "__name__", None)
        label = label or str(getattr(name, "id", "?"))  # of an EnvSpec
        self._calls: Any = CallLock(self, self._lock)
        super().__init__(label, delay_setup)

    @abstractmethod
    def make_batch_env(self, constructor: Callable[[], PlanEnv]) -> BatchEnv:
        """Start the workers."""

    def setup(self) -> None:
        if self._phase == NEW:
            self._calls.check_process()
        super().setup()

    def build_engine(self) -> None:
        """Start the workers, then make the local copy, because its engine may be a singleton.

        If states must be analysed, the local copy is made first, and workers get its findings. If
        threads can step batches, workers are started later, if at all.
        """
        kind: Any = self._env_recipe.target
        is_known = isinstance(kind, type) and issubclass(kind, SimulatorEnv) and not self.SINGLETON
        local_first = is_known and (
            kind.findings is not SimulatorEnv.findings
            or (self._may_use_threads and kind.can_use_threads is not SimulatorEnv.can_use_threads)
        )
        if local_first:
            self.plan_env = self._env_recipe()
        findings = self.plan_env.findings() if local_first else None
        self._constructor = Informed(self._worker_recipe(), findings)
        self._on_threads = local_first and self._may_use_threads and self.plan_env.can_use_threads
        self._stats, self._is_synced = Stats(), True
        if self._on_threads:
            self.plan_env.use_threads(self.n_workers)
        else:
            self._start_workers(local_first)
        self.plan_env._calls = self._lock
        self._spec = self.plan_env.batch_spec
        self._is_synced = self.plan_env._has_begun
        if self._is_synced:
            self._sync(self.plan_env.get_state(), blocking=True)
        self.frameskip, self.autoreset = self.plan_env.frameskip, self.plan_env.autoreset
        self.return_image = self.plan_env.return_image
        self.STATE_IS_ARRAY = self.plan_env.STATE_IS_ARRAY
        self.OBS_IS_ARRAY = self.plan_env.OBS_IS_ARRAY
        self.observation_space = self.plan_env.observation_space
        self.action_space = self.plan_env.action_space

    def _start_workers(self, local_first: bool) -> BatchEnv:
        try:
            started = self.make_batch_env(self._constructor)
        except BaseException:
            if local_first and self._phase == NEW:
                self.plan_env.close()
            raise
        try:
            if not local_first:
                self.plan_env = self._env_recipe()
            self._check_local_copy(started)
            trusted = self.plan_env.is_trusted
            takes_rows = trusted if self._use_caller is None else self._use_caller
            started.use_caller(self.plan_env if takes_rows else None, trusted)
            if self._synced is not None:
                started.sync_states(self._synced)
        except BaseException:
            started.close()
            raise
        vars(started.stats).update(vars(self._stats))
        self._started, self._stats, self._synced = started, started.stats, None
        return started

    @property
    def _batch_env(self) -> BatchEnv:
        """The workers; started at first access."""
        if self._started is None:
            self.setup()  # raises if it was closed
        return self._started if self._started is not None else self._start_workers(True)

    @property
    def _local(self) -> SimulatorEnv:
        """The local copy; built, with the workers, at first access."""
        if self._phase != READY:
            self.setup()
        return self.plan_env

    @property
    @one_call
    def batch_env(self) -> BatchEnv:
        """The workers. Their state is that of the local copy at the last reset or sync."""
        local = self._local
        if not self._is_synced:  # deferred until an episode begins
            self._is_synced = True
            self._batch_env.sync_states(local.get_state())
        return self._batch_env

    @property
    def batch_spec(self) -> BatchSpec:
        spec = self._spec
        if spec is None or spec is not self.plan_env._spec:
            spec = self._local.batch_spec
            if spec is not self._spec:  # states of the local copy have outgrown their arrays
                self._calls.run(None, lambda _: self._follow_local())
        return spec

    @one_call
    def outgrow(self, quiet: bool = False) -> None:
        """Switch to states of unbounded size, locally and in the workers."""
        self._outgrow(quiet)

    def _outgrow(self, quiet: bool = False) -> None:
        self._local.outgrow(quiet)
        self._follow_local()

    def _follow_local(self) -> None:
        """Switch the workers to states of unbounded size, if the local copy has switched."""
        if self.plan_env.batch_spec is self._spec:
            return
        self._spec, self.STATE_IS_ARRAY = self.plan_env.batch_spec, self.plan_env.STATE_IS_ARRAY
        if not self.STATE_IS_ARRAY:
            self._constructor.findings = self.plan_env.findings()  # for workers that start later
            if self._started is not None:
                self._started.outgrow()

    def _check_local_copy(self, workers: BatchEnv) -> None:
        if not isinstance(self.plan_env, SimulatorEnv):
            self.plan_env.close()
            raise TypeError(f"workers need a SimulatorEnv each, got {self.plan_env!r}")
        local, remote = self.plan_env.batch_spec, workers.batch_spec
        if not local.agrees_with(remote):
            self.plan_env.close()
            raise ValueError(
                f"the local copy has other spaces or states than the workers: {local}, not {remote}"
            )

    def _worker_recipe(self) -> Recipe:
        if (self._env_recipe.kwargs or {}).get("render_mode") == "human":
            return self._env_recipe.replace(render_mode="rgb_array")
        return self._env_recipe

    def sync_states(
        self, state: Any = None, blocking: bool = True, timeout: float | None = None
    ) -> None:
        """Put all workers and the local copy into ``state``; ``None``: the local copy's state."""

        def call(left: float | None) -> None:
            if state is not None:
                self._local.set_state(state)
            self._sync(self._local.get_state() if state is None else state, blocking, left)

        self._calls.run(check_timeout(timeout), call)

    def _sync(self, state: Any, blocking: bool = False, timeout: float | None = None) -> None:
        """Put the workers into ``state``; ones that start later get it then."""
        self._is_synced = True
        self._follow_local()
        if self._started is None:
            self._synced = state
        else:
            self._started.sync_states(state, blocking, timeout)

    @property
    def is_batched(self) -> bool:
        """Whether engines may run whole batches at once, so that large chunks are faster."""
        return self.batch_spec.is_batched

    def run_rows(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        timeout = None if timeout is None else check_timeout(timeout)
        return self._calls.run(timeout, self._run_rows, rows, form)

    def _run_rows(self, rows: Rows, form: Form, timeout: float | None) -> Any:
        try:
            if self._on_threads and timeout is None:
                batch = self._run_on_threads(rows, form)
                if batch is not None:
                    return batch
            workers = self._batch_env if self._started is None else self._started
            return workers.run(rows, form, timeout)
        except StateOutgrownError:
            self._outgrow()
            return self._batch_env.run(rows, form, timeout)

    def _run_on_threads(self, rows: Rows, form: Form) -> Any:
        began = time.perf_counter()
        batch = self.plan_env.run_on_threads(rows, form)
        if batch is not None:
            frames = int(rows.dts.sum()) * (form.steps or 1)
            self._stats.add(len(rows.dts), frames, time.perf_counter() - began)
        return batch

    @one_call
    def draw_images(self, states: Any) -> np.ndarray:
        where = self.plan_env if len(states) == 0 or self._started is None else self._started
        return where.draw_images(states)

    @property
    def stats(self) -> Stats:
        """Batches, rows, frames and seconds so far; replaced workers and repeated rows."""
        self._local  # noqa: B018  # built at the first access
        return self._stats

    # ---- methods of the local copy ------------------------------------------------------------

    @property
    def unwrapped(self) -> SimulatorEnv:
        """The local copy."""
        return self._local

    @property
    def state_method(self) -> str:
        return self._local.state_method

    @property
    @one_call
    def has_ended(self) -> bool:
        return self._local.has_ended

    @property
    def gym_env(self) -> Any:
        """The local copy's Gymnasium environment."""
        return self._local.gym_env  # type: ignore[attr-defined]

    @one_call
    def state_from(self, state: Any = None, **kwargs: Any) -> Any:
        """A state with measured numbers in it; see the local copy's method. MuJoCo only."""
        return self._local.state_from(state, **kwargs)  # type: ignore[attr-defined]

    @one_call
    def physics_of(self, states: Any) -> Any:
        """The physics of states, as columns; see the local copy's method. MuJoCo only."""
        return self._local.physics_of(states)  # type: ignore[attr-defined]

    def reset(
        self,
        return_state: bool = True,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> tuple[Any, ...]:
        """``PlanEnv.reset``; the workers have ``timeout`` seconds to load the new state."""

        def call(left: float | None) -> tuple[Any, ...]:
            state, obs, info = self._local.reset(seed=seed, options=options)
            self._sync(state, blocking=left is not None, timeout=left)
            return (state, obs, info) if return_state else (obs, info)

        return self._calls.run(check_timeout(timeout), call)

    @one_call
    def seed(self, seed: int | None = None) -> list[int | None]:
        return self._local.seed(seed)

    @step_method
    @one_call
    def step(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        return_state: bool | None = None,
        *,
        seed: int | None = None,
    ) -> Step | Transition:
        return self._local.step(action, state, dt, return_state, seed=seed)

    @one_call
    def get_state(self) -> Any:
        return self._local.get_state()

    @one_call
    def set_state(self, state: Any) -> None:
        self._local.set_state(state)
        self._sync(state)

    @one_call
    def observe(self) -> Any:
        return self._local.observe()

    @one_call
    def info(self) -> dict[str, Any]:
        return self._local.info()

    @one_call
    def get_image(self) -> np.ndarray:
        return self._local.get_image()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close the local copy, and the workers within ``timeout`` seconds. Idempotent."""
        self._close_timeout = check_timeout(timeout, bounded=True)
        if not self._calls.is_forked:
            with suppress(TimeoutError, ReentrantCallError):  # close even if a call never ends
                self._calls.run(self._close_timeout, lambda _: None)
        super().close()

    def close_engine(self) -> None:
        if self._calls.is_forked:  # the workers belong to the parent
            return
        if self._started is not None:
            self._started.close(self._close_timeout)
        self.plan_env.close()

    split_similar_chunks = staticmethod(split_similar_chunks)

    @staticmethod
    def batch_step_data(actions: Any, states: Any, dt: Any, batch_size: int) -> tuple[Any, ...]:
        """States, actions and ``dt`` of a batch, each an iterator over ``batch_size`` entries."""
        size = len(actions)
        states = [None] * size if states is None else states
        dts = np.full(size, dt) if np.ndim(dt) == 0 else dt
        if len(states) != size or len(dts) != size:
            raise InvalidBatchError(f"{size} actions, {len(states)} states and {len(dts)} dt")
        return tuple(split_similar_chunks(part, batch_size) for part in (states, actions, dts))

    @staticmethod
    def unpack_transitions(results: list[Any], return_states: bool) -> tuple[list[Any], ...]:
        """The fields of several batches, each as one list over all their rows."""
        n_fields = 6 if return_states else 5
        return tuple([row for part in results for row in part[field]] for field in range(n_fields))

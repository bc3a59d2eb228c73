"""VectorizedEnv: batches run in workers, everything else in a local copy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.errors import InvalidBatchError, StateOutgrownError
from plangym_lite.recipe.informed import Informed
from plangym_lite.recipe.recipe import Recipe, freeze
from plangym_lite.transitions import (
    BatchSpec,
    Form,
    Rows,
    Step,
    Transition,
)
from plangym_lite.validation import check_timeout
from plangym_lite.vectorization.dispatch.batch_env import BatchEnv
from plangym_lite.vectorization.dispatch.splitting import split_similar_chunks
from plangym_lite.vectorization.worker.proxy import HasSpecs
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT

__all__ = ["VectorizedEnv"]


class VectorizedEnv(HasSpecs, PlanEnv):
    """An environment whose batches are run by workers.

    Methods that concern one state run in the local copy, ``plan_env``.

    Args:
        env_class: a ``PlanEnv`` class, or a callable that returns a ``PlanEnv``.
        name: the name of the environment, if ``env_class`` takes one.
        frameskip: ``None``: the default of ``env_class``.
        autoreset: ``None``: the default of ``env_class``.
        delay_setup: start the workers at first use.
        n_workers: number of workers.
        blocking: use one worker at a time; the results are the same.
        shared_limit: bytes of shared memory for batches; the default is a quarter of the memory.
        use_caller: whether this process runs rows, too; ``None``: only if the engine never ends
            its process (``is_trusted``).
        engine_kwargs: passed to ``env_class``.
    """

    plan_env: PlanEnv

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
        super().__init__(label, 1, True, delay_setup)

    @abstractmethod
    def make_batch_env(self, constructor: Callable[[], PlanEnv]) -> BatchEnv:
        """Start the workers."""

    def build_engine(self) -> None:
        """Start the workers, then make the local copy, because its engine may be a singleton.

        If states have to be examined, the local copy is made first; workers get its findings.
        """
        kind: Any = self._env_recipe.target
        is_known = isinstance(kind, type) and issubclass(kind, PlanEnv) and not self.SINGLETON
        local_first = is_known and kind.findings is not PlanEnv.findings
        if local_first:
            self.plan_env = self._env_recipe()
        findings = self.plan_env.findings() if local_first else None
        self._constructor = Informed(self._worker_recipe(), findings)
        try:
            self._batch_env = self.make_batch_env(self._constructor)
        except BaseException:
            if local_first:
                self.plan_env.close()
            raise
        try:
            if not local_first:
                self.plan_env = self._env_recipe()
            self._check_local_copy()
            trusted = self.plan_env.is_trusted
            if trusted if self._use_caller is None else self._use_caller:
                self._batch_env.employ_caller(self.plan_env)
        except BaseException:
            self._batch_env.close()
            raise
        self._is_synced = False
        if self.plan_env._has_begun:
            self._sync_at_last()
        self.frameskip, self.autoreset = self.plan_env.frameskip, self.plan_env.autoreset
        self.return_image = self.plan_env.return_image
        self.STATE_IS_ARRAY = self.plan_env.STATE_IS_ARRAY
        self.OBS_IS_ARRAY = self.plan_env.OBS_IS_ARRAY
        self.observation_space = self.plan_env.observation_space
        self.action_space = self.plan_env.action_space
        self._spec = self.plan_env.batch_spec

    def _sync_at_last(self) -> None:
        """Send the state of the local copy, if that was deferred until an episode begins."""
        if not self._is_synced:
            self._is_synced = True
            self._batch_env.sync_states(self.plan_env.get_state())

    @property
    def batch_env(self) -> BatchEnv:
        """The workers. Their state is that of the local copy at the last reset or sync."""
        self._ensure_setup()
        self._sync_at_last()
        return self._batch_env

    @property
    def batch_spec(self) -> BatchSpec:
        self._ensure_setup()
        spec = self.plan_env.batch_spec
        if spec is not self._spec:
            self._spec, self.STATE_IS_ARRAY = spec, self.plan_env.STATE_IS_ARRAY
            if not self.STATE_IS_ARRAY:
                self._outgrow_workers()
        return spec

    def outgrow(self, quiet: bool = False) -> None:
        self.plan_env.outgrow(quiet)
        self._spec, self.STATE_IS_ARRAY = self.plan_env.batch_spec, False
        self._outgrow_workers()

    def _outgrow_workers(self) -> None:
        self._constructor.findings = self.plan_env.findings()  # for workers that start later
        self._batch_env.outgrow()

    def _check_local_copy(self) -> None:
        local, remote = self.plan_env.batch_spec, self._batch_env.batch_spec
        if not local.agrees_with(remote):
            self.plan_env.close()
            raise ValueError(
                f"the local copy has other spaces or states than the workers: {local}, not {remote}"
            )

    def _worker_recipe(self) -> Recipe:
        """The recipe for workers, which open no window."""
        if (self._env_recipe.kwargs or {}).get("render_mode") == "human":
            return self._env_recipe.replace(render_mode="rgb_array")
        return self._env_recipe

    def sync_states(
        self, state: Any = None, blocking: bool = True, timeout: float | None = None
    ) -> None:
        """Put all workers and the local copy into ``state``; ``None``: the local copy's state."""
        self._ensure_setup()
        self._is_synced = True
        if state is None:
            state = self.plan_env.get_state()
        else:
            self.plan_env.set_state(state)
        self._sync(state, blocking, timeout)

    def _sync(self, state: Any, blocking: bool = False, timeout: float | None = None) -> None:
        self._is_synced = self.batch_spec is not None
        self._batch_env.sync_states(state, blocking, timeout)

    @property
    def is_batched(self) -> bool:
        return self.batch_spec.together

    def run_rows(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        try:
            return self._batch_env.run(rows, form, timeout)
        except StateOutgrownError:
            self.outgrow()
            return self._batch_env.run(rows, form, timeout)

    def draw_images(self, states: Any) -> np.ndarray:
        return (self._batch_env if len(states) else self.plan_env).draw_images(states)

    # ---- methods of the local copy ------------------------------------------------------------

    @property
    def unwrapped(self) -> PlanEnv:
        """The local copy."""
        self._ensure_setup()
        return self.plan_env.unwrapped

    @property
    def state_method(self) -> str:
        return self.unwrapped.state_method

    @property
    def gym_env(self) -> Any:
        """The local copy's Gymnasium environment."""
        return self.unwrapped.gym_env  # type: ignore[attr-defined]

    def reset(
        self,
        return_state: bool = True,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> tuple[Any, ...]:
        """``PlanEnv.reset``; the workers have ``timeout`` seconds to load the new state."""
        self._ensure_setup()
        check_timeout(timeout)
        state, obs, info = self.plan_env.reset(seed=seed, options=options)
        self._sync(state, blocking=timeout is not None, timeout=timeout)
        return (state, obs, info) if return_state else (obs, info)

    def seed(self, seed: int | None = None) -> list[int | None]:
        self._ensure_setup()
        return self.plan_env.seed(seed)

    def step(
        self, action: Any, state: Any = None, dt: int = 1, return_state: bool | None = None
    ) -> Step | Transition:
        self._ensure_setup()
        return self.plan_env.step(action, state, dt, return_state)

    def get_state(self) -> Any:
        self._ensure_setup()
        return self.plan_env.get_state()

    def set_state(self, state: Any) -> None:
        self._ensure_setup()
        self.plan_env.set_state(state)
        self._sync(state)

    def observe(self) -> Any:
        self._ensure_setup()
        return self.plan_env.observe()

    def get_image(self) -> np.ndarray:
        self._ensure_setup()
        return self.plan_env.get_image()

    def render(self) -> Any:
        self._ensure_setup()
        return self.plan_env.render()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close the local copy, and the workers within ``timeout`` seconds. Idempotent."""
        self._close_timeout = check_timeout(timeout, bounded=True)
        super().close()

    def close_engine(self) -> None:
        self._batch_env.close(self._close_timeout)
        self.plan_env.close()

    split_similar_chunks = staticmethod(split_similar_chunks)

    @staticmethod
    def batch_step_data(actions: Any, states: Any, dt: Any, batch_size: int) -> tuple[Any, ...]:
        """States, actions and ``dt`` of a batch, each an iterator over ``batch_size`` chunks."""
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

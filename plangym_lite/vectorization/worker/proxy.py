"""EnvironmentWorker: a worker with the methods of the environment in it.

Each method takes ``blocking``: ``True`` returns the result, ``False`` a promise of it, without
waiting; and ``timeout``: seconds for the whole call. A worker that has not answered by then is
replaced by a new one, whose environment starts from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from plangym_lite.transitions import empty_tree
from plangym_lite.validation import check_timeout
from plangym_lite.vectorization.worker.worker import Worker, time_limit

__all__ = ["ArraySpec", "EnvironmentWorker", "HasSpecs", "TimeStepSpec", "spec_of_space"]


class ArraySpec(NamedTuple):
    """Shape, dtype and bounds of an array; the bounds are inclusive."""

    shape: tuple[int, ...]
    dtype: np.dtype
    minimum: Any
    maximum: Any


class TimeStepSpec(NamedTuple):
    """The arrays of a step."""

    step_type: ArraySpec
    reward: ArraySpec
    discount: ArraySpec
    observation: Any


def spec_of_space(space: spaces.Space) -> Any:
    """An :class:`ArraySpec` for each leaf of a space, nested like it; other leaves as they are."""

    def leaf(part: Any) -> Any:
        bounds = _bounds(part)
        return part if bounds is None else ArraySpec(part.shape, np.dtype(part.dtype), *bounds)

    return empty_tree(space, leaf)


def _bounds(space: Any) -> tuple[Any, Any] | None:
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return (0, 1) if isinstance(space, spaces.MultiBinary) else None


class HasSpecs:
    """Specs, made from ``observation_space`` and ``action_space``."""

    observation_space: Any
    action_space: Any

    def observation_spec(self) -> Any:
        """The spec of an observation."""
        return spec_of_space(self.observation_space)

    def action_spec(self) -> Any:
        """The spec of an action."""
        return spec_of_space(self.action_space)

    def time_step_spec(self) -> TimeStepSpec:
        """The spec of a step; its type is 0 for the first, 1 for a middle, 2 for the last one."""
        number = np.dtype(np.float64)
        return TimeStepSpec(
            ArraySpec((), np.dtype(np.int64), 0, 2),
            ArraySpec((), number, -np.inf, np.inf),
            ArraySpec((), number, 0.0, 1.0),
            self.observation_spec(),
        )


def _verb(name: str) -> Any:
    """The method of that name, which is called in the worker."""

    def call(
        self: Any, *args: Any, blocking: bool = True, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        return self._invoke(blocking, timeout, name, *args, **kwargs)

    call.__name__, call.__doc__ = name, f"``PlanEnv.{name}``."
    return call


class EnvironmentWorker(HasSpecs, Worker):
    """A worker that can be used like its environment.

    Each method calls that of :class:`~plangym_lite.core.PlanEnv` in the worker. A plain Gymnasium
    environment has them all, too: see :class:`.PlainEnv`.
    """

    step = _verb("step")
    step_batch = _verb("step_batch")
    rollout_batch = _verb("rollout_batch")
    get_state = _verb("get_state")
    set_state = _verb("set_state")

    def reset(
        self,
        return_state: bool = False,
        *,
        blocking: bool = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """``PlanEnv.reset``: ``(obs, info)``; with ``return_state``, ``(state, obs, info)``."""
        return self._invoke(blocking, timeout, "reset", return_state, **kwargs)

    def render(
        self, mode: str = "rgb_array", *, blocking: bool = True, timeout: float | None = None
    ) -> Any:
        """The image of the current state."""
        if mode != "rgb_array":
            raise NotImplementedError(f"only mode 'rgb_array' is supported, got {mode!r}")
        return self._invoke(blocking, timeout, "render")

    def _invoke(
        self, blocking: bool, timeout: float | None, name: str, *args: Any, **kwargs: Any
    ) -> Any:
        if not blocking and timeout is not None:
            raise ValueError("timeout= needs blocking=True; a promise has result(timeout=...)")

        def call(left: float | None) -> Any:
            with time_limit([self], left, name, lambda _: self.replace()):
                promise = self.call(name, *args, **kwargs)
                return promise.result() if blocking else promise

        return self._as_one_call(check_timeout(timeout), call)

    def _as_one_call(self, timeout: float | None, call: Callable[..., Any]) -> Any:
        """``call(left)``, without calls of other threads; ``left`` is the rest of ``timeout``."""
        return call(timeout)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.access(name)

"""The verbs of an environment, spoken to a worker.

Every verb takes ``blocking``: ``True`` gives the result, ``False`` at once a promise of it; and
``timeout``: seconds for the whole call. A worker that has not answered by then is replaced by a
fresh one, whose environment knows nothing of what went before.
"""

from __future__ import annotations

from typing import Any

from plangym_lite.vectorization.limits import time_limit
from plangym_lite.vectorization.specs import HasSpecs
from plangym_lite.vectorization.worker import Worker

__all__ = ["EnvironmentWorker"]


class EnvironmentWorker(HasSpecs, Worker):
    """A worker that can be used like the environment that lives in it.

    Each verb does over there what the method of :class:`~plangym_lite.core.PlanEnv` does.
    """

    def step(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        return_state: bool | None = None,
        *,
        blocking: bool = True,
        timeout: float | None = None,
    ) -> Any:
        """``PlanEnv.step``."""
        return self._verb(blocking, timeout, "step", action, state, dt, return_state)

    def step_batch(
        self,
        actions: Any,
        states: Any = None,
        dt: Any = 1,
        return_state: bool | None = None,
        *,
        blocking: bool = True,
        timeout: float | None = None,
    ) -> Any:
        """``PlanEnv.step_batch``."""
        return self._verb(blocking, timeout, "step_batch", actions, states, dt, return_state)

    def rollout_batch(
        self,
        actions: Any,
        states: Any = None,
        dt: Any = 1,
        return_observs: str | None = "last",
        *,
        blocking: bool = True,
        timeout: float | None = None,
    ) -> Any:
        """``PlanEnv.rollout_batch``."""
        return self._verb(blocking, timeout, "rollout_batch", actions, states, dt, return_observs)

    def reset(
        self, return_state: bool = False, *, blocking: bool = True, timeout: float | None = None
    ) -> Any:
        """``PlanEnv.reset``."""
        return self._verb(blocking, timeout, "reset", return_state)

    def get_state(self, *, blocking: bool = True, timeout: float | None = None) -> Any:
        """``PlanEnv.get_state``."""
        return self._verb(blocking, timeout, "get_state")

    def set_state(self, state: Any, *, blocking: bool = True, timeout: float | None = None) -> Any:
        """``PlanEnv.set_state``."""
        return self._verb(blocking, timeout, "set_state", state)

    def render(
        self, mode: str = "rgb_array", *, blocking: bool = True, timeout: float | None = None
    ) -> Any:
        """The picture."""
        if mode != "rgb_array":
            raise NotImplementedError(f"only mode 'rgb_array' crosses the border, got {mode!r}")
        return self._verb(blocking, timeout, "render")

    def _verb(self, blocking: bool, timeout: float | None, name: str, *args: Any) -> Any:
        if not blocking and timeout is not None:
            raise ValueError("timeout= is for blocking calls: ask the promise, result(timeout=...)")
        with time_limit([self], timeout, name, lambda _: self.replace()):
            promise = self.call(name, *args)
            return promise.result() if blocking else promise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.access(name)

"""The verbs of an environment, spoken to a worker.

Every verb takes ``blocking``: ``True`` gives the result, ``False`` at once a promise of it.
"""

from __future__ import annotations

from typing import Any

from plangym_lite.vectorization.specs import HasSpecs
from plangym_lite.vectorization.worker import Worker

__all__ = ["EnvironmentWorker"]


class EnvironmentWorker(HasSpecs, Worker):
    """A worker that can be used like the environment that lives in it."""

    def step(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        return_state: bool | None = None,
        *,
        blocking: bool = True,
    ) -> Any:
        """``PlanEnv.step`` over there; with ``blocking=False`` a promise of it."""
        return self._verb("step", blocking, action, state, dt, return_state)

    def step_batch(
        self,
        actions: Any,
        states: Any = None,
        dt: Any = 1,
        return_state: bool | None = None,
        *,
        blocking: bool = True,
    ) -> Any:
        """``PlanEnv.step_batch`` over there; with ``blocking=False`` a promise of it."""
        return self._verb("step_batch", blocking, actions, states, dt, return_state)

    def reset(self, return_state: bool = False, *, blocking: bool = True) -> Any:
        """``PlanEnv.reset`` over there; with ``blocking=False`` a promise of it."""
        return self._verb("reset", blocking, return_state)

    def get_state(self, *, blocking: bool = True) -> Any:
        """``PlanEnv.get_state`` over there; with ``blocking=False`` a promise of it."""
        return self._verb("get_state", blocking)

    def set_state(self, state: Any, *, blocking: bool = True) -> Any:
        """``PlanEnv.set_state`` over there; with ``blocking=False`` a promise of it."""
        return self._verb("set_state", blocking, state)

    def render(self, mode: str = "rgb_array", *, blocking: bool = True) -> Any:
        """The picture; with ``blocking=False`` a promise of it."""
        if mode != "rgb_array":
            raise NotImplementedError(f"only mode 'rgb_array' crosses the border, got {mode!r}")
        return self._verb("render", blocking)

    def _verb(self, name: str, blocking: bool, *args: Any) -> Any:
        promise = self.call(name, *args)
        return promise.result() if blocking else promise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.access(name)

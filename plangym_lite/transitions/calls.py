"""How the answers of ``step`` and ``step_batch`` are typed, by ``states`` and ``return_state``.

States come back if they went in, or if ``return_state=True``. A state whose type a checker does not
know may be ``None``: then ``return_state=`` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar, overload

import numpy as np

from plangym_lite.transitions.values import Step, StepBatch, Transition, TransitionBatch

__all__ = ["Options", "step_batch_method", "step_method"]

Many = np.ndarray | Sequence[Any]
Counts = int | Sequence[int] | np.ndarray
Options = dict[str, Any] | None
Seeds = int | Sequence[int] | np.ndarray | None
Call = TypeVar("Call", covariant=True)


class Method(Protocol[Call]):
    """A method whose calls have the type ``Call``."""

    def __get__(self, env: object, kind: type | None = None, /) -> Call: ...


class StepCall(Protocol):
    """``env.step``."""

    @overload
    def __call__(
        self,
        action: Any,
        state: None = None,
        dt: int = 1,
        return_state: Literal[False] | None = None,
        *,
        seed: int | None = None,
    ) -> Step: ...
    @overload
    def __call__(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        *,
        return_state: Literal[True],
        seed: int | None = None,
    ) -> Transition: ...
    @overload
    def __call__(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        *,
        return_state: Literal[False],
        seed: int | None = None,
    ) -> Step: ...
    @overload
    def __call__(
        self,
        action: Any,
        state: Any,
        dt: int = 1,
        return_state: Literal[True] | None = None,
        *,
        seed: int | None = None,
    ) -> Transition: ...
    @overload
    def __call__(
        self,
        action: Any,
        state: Any = None,
        dt: int = 1,
        return_state: bool | None = None,
        *,
        seed: int | None = None,
    ) -> Step | Transition: ...


class StepBatchCall(Protocol):
    """``env.step_batch``."""

    @overload
    def __call__(
        self,
        actions: Many,
        states: None = None,
        dt: Counts = 1,
        return_state: Literal[False] | None = None,
        *,
        seeds: Seeds = None,
        timeout: float | None = None,
    ) -> StepBatch: ...
    @overload
    def __call__(
        self,
        actions: Many,
        states: Many | None = None,
        dt: Counts = 1,
        *,
        return_state: Literal[True],
        seeds: Seeds = None,
        timeout: float | None = None,
    ) -> TransitionBatch: ...
    @overload
    def __call__(
        self,
        actions: Many,
        states: Many | None = None,
        dt: Counts = 1,
        *,
        return_state: Literal[False],
        seeds: Seeds = None,
        timeout: float | None = None,
    ) -> StepBatch: ...
    @overload
    def __call__(
        self,
        actions: Many,
        states: Many,
        dt: Counts = 1,
        return_state: Literal[True] | None = None,
        *,
        seeds: Seeds = None,
        timeout: float | None = None,
    ) -> TransitionBatch: ...
    @overload
    def __call__(
        self,
        actions: Many,
        states: Many | None = None,
        dt: Counts = 1,
        return_state: bool | None = None,
        *,
        seeds: Seeds = None,
        timeout: float | None = None,
    ) -> StepBatch | TransitionBatch: ...


def step_method(method: Callable[..., Any]) -> Method[StepCall]:
    """``method`` itself, with the types of ``env.step``."""
    return method


def step_batch_method(method: Callable[..., Any]) -> Method[StepBatchCall]:
    """``method`` itself, with the types of ``env.step_batch``."""
    return method

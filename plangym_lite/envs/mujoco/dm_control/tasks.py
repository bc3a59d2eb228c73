"""Names of the DeepMind Control Suite's tasks, and helpers for all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.envs.mujoco.rendering import without_display
from plangym_lite.errors import NotCloneableError, UnknownEnvironmentError

try:
    with without_display():
        from dm_control import suite
except ImportError:  # EGL is not usable
    from dm_control import suite

__all__ = ["TASKS", "TameBox", "find_task", "looking_away", "suite", "task_of"]

TASKS: dict[str, tuple[str, str]] = {"-".join(pair): pair for pair in suite.ALL_TASKS}
"""Domain and task."""

WIDE = 1e6


def task_of(name: str) -> tuple[str, str] | None:
    """``("cartpole", "balance")`` from ``"cartpole-balance"`` or shimmy's id of it."""
    if name.startswith("dm_control/"):
        name = name.removeprefix("dm_control/").removesuffix("-v0")
    return TASKS.get(name)


def find_task(name: str) -> tuple[str, str]:
    """Domain and task of a name; an error if there is no such task."""
    pair = task_of(name)
    if pair is None and name.startswith("dm_control/"):
        raise NotCloneableError(f"{name!r} is no task of the suite: composer tasks are refused")
    if pair is None:
        near = ", ".join(difflib.get_close_matches(name, TASKS, n=3))
        raise UnknownEnvironmentError(
            f"no task of dm_control is called {name!r}; the nearest names are {near or 'none'}"
        )
    return pair


class TameBox(spaces.Box):
    """Samples within [-1, 1] if the box is practically unbounded: lqr_6_2 would diverge."""

    def sample(self, *args: Any, **kwargs: Any) -> np.ndarray:
        value = super().sample(*args, **kwargs)
        return np.where(self.high - self.low < WIDE, value, np.sin(value))


@contextmanager
def looking_away(task: Any, observation: Any) -> Iterator[None]:
    """Let ``task`` return ``observation`` in this context: computing it takes a third of a step."""
    own = vars(task).get("get_observation")
    task.get_observation = lambda physics: observation
    try:
        yield
    finally:
        if own is None:
            del task.get_observation
        else:
            task.get_observation = own

"""Names of the DeepMind Control Suite's tasks, and helpers for all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces

from plangym_lite.envs.gymnasium.window import check_display
from plangym_lite.envs.mujoco.rendering import without_display
from plangym_lite.envs.snapshot.mjdata import changed_fields, copy_of_model
from plangym_lite.errors import NotCloneableError, UnknownEnvironmentError

try:
    with without_display():
        from dm_control import suite
except ImportError:  # EGL is not usable
    from dm_control import suite

__all__ = [
    "TASKS",
    "TameBox",
    "changing_fields",
    "check_images",
    "find_task",
    "looking_away",
    "step_of",
    "suite",
    "task_of",
    "upload_terrain",
]

TASKS: dict[str, tuple[str, str]] = {"-".join(pair): pair for pair in suite.ALL_TASKS}
"""Domain and task."""

PROBE_SEEDS, PROBE_STEPS = (0, 1, 2), 3
WIDE = 1e6
HOOKS = "before_step", "after_step", "get_reward", "get_observation", "get_termination"


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


def check_images(
    obs_type: str, obs_types: tuple[str, ...], render_mode: str | None, return_image: bool
) -> None:
    """Raise ``ValueError`` if the options of images do not fit together.

    ``RuntimeError``: a window is asked for, and there is no display.
    """
    if obs_type not in obs_types:
        raise ValueError(f"obs_type must be one of {obs_types}, got {obs_type!r}")
    if render_mode not in (None, "rgb_array", "human"):
        raise ValueError(f"render_mode must be rgb_array, human or None, got {render_mode!r}")
    if render_mode is None and (return_image or obs_type != "coords"):
        raise ValueError("images need render_mode='rgb_array', got render_mode=None")
    if render_mode == "human":
        check_display()


def upload_terrain(physics: Any) -> None:
    """Let OpenGL know the height fields of a model, which may have changed."""
    contexts, model = physics.contexts, physics.model.ptr
    with contexts.gl.make_current() as context:
        for index in range(model.nhfield):
            context.call(mujoco.mjr_uploadHField, model, contexts.mujoco.ptr, index)


def step_of(env: Any) -> list[Any]:
    """The methods that a step calls: two lists differ if one of them was replaced."""
    return [env.step, env.physics.step, *(getattr(env.task, name) for name in HOOKS)]


def changing_fields(model: Any, reset: Any, step: Any, shape: tuple[int, ...]) -> set[str]:
    """Run some steps; return the names of the model's arrays that change.

    Args:
        model: the ``MjModel``.
        reset: ``reset(seed, options)`` begins an episode.
        step: dm_control's step.
        shape: of an action.
    """
    before, changed = copy_of_model(model), set()
    actions = np.random.default_rng(0)
    for seed in PROBE_SEEDS:
        reset(seed, None)
        for _ in range(PROBE_STEPS):
            step(actions.uniform(-0.1, 0.1, shape))
        changed |= set(changed_fields(model, before))
    return changed

"""``plan --save FILE.npz``: the steps of all games, for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from plangym_lite.cli.target import CommandError
from plangym_lite.core import PlanEnv
from plangym_lite.planners import PlanOutput
from plangym_lite.states.files import state_columns

__all__ = ["Turn", "check_saving", "save_turns"]


class Turn(NamedTuple):
    """One step of a game."""

    seed: int  # of the episode
    state: Any  # before the step
    obs: Any  # before the step
    action: Any
    decision: PlanOutput | None  # None: the action was part of an earlier plan
    step: Any  # the transition


def save_turns(path: Path, env: PlanEnv, turns: list[Turn]) -> None:
    """Write ``N`` steps, readable by ``numpy.load``; the states also by ``load_states``.

    The arrays, each with a leading ``[N]``: ``seeds``, ``observations``, ``states``, ``actions``,
    ``weights`` (``[N, A]``, the planner's ``action_weights`` of discrete actions), ``values``,
    ``rewards``, ``terminateds``, ``truncateds``. Weights and values are nan where the action was
    part of an earlier plan. Nested values have an array for each leaf: ``observations.image``.
    """
    decisions = [turn.decision for turn in turns]
    first: Any = next(decision for decision in decisions if decision is not None)
    columns: dict[str, Any] = {
        "seeds": np.array([turn.seed for turn in turns]),
        **leaves_of("observations", [turn.obs for turn in turns]),
        **leaves_of("actions", [turn.action for turn in turns]),
        "values": np.array([np.nan if found is None else found.value for found in decisions]),
        "rewards": np.array([turn.step.reward for turn in turns]),
        "terminateds": np.array([turn.step.terminated for turn in turns]),
        "truncateds": np.array([turn.step.truncated for turn in turns]),
    }
    if first.action_weights is not None:
        unknown = np.full(len(first.action_weights), np.nan)
        weights = [unknown if found is None else found.action_weights for found in decisions]
        columns["weights"] = np.array(weights)
    states = state_columns(env, [turn.state for turn in turns])
    with path.open("wb") as file:
        np.savez_compressed(file, **columns, **states)


def check_saving(env: PlanEnv) -> None:
    """Raise :class:`CommandError` if observations or actions have no fixed form."""
    for space in (env.observation_space, env.action_space):
        for part in parts_of(space):
            if isinstance(part, (spaces.Sequence, spaces.Graph, spaces.OneOf)):
                raise CommandError(f"--save: {env.name} has values of no fixed form: {part}")


def parts_of(space: spaces.Space) -> list[spaces.Space]:
    if isinstance(space, spaces.Dict):
        return [leaf for part in space.spaces.values() for leaf in parts_of(part)]
    if isinstance(space, spaces.Tuple):
        return [leaf for part in space.spaces for leaf in parts_of(part)]
    return [space]


def leaves_of(name: str, values: list[Any]) -> dict[str, np.ndarray]:
    """Values of equal form as arrays, one for each leaf."""
    first = values[0]
    if isinstance(first, (dict, tuple)):
        keys: Any = first if isinstance(first, dict) else range(len(first))
        parts = [leaves_of(f"{name}.{key}", [value[key] for value in values]) for key in keys]
        return {key: leaf for part in parts for key, leaf in part.items()}
    return {name: np.array(values)}

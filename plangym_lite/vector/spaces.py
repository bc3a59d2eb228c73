"""The spaces of a vector environment, and checks that its environments fit each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gymnasium import Space
from gymnasium.spaces.utils import is_space_dtype_shape_equiv
from gymnasium.vector.utils import batch_differing_spaces, batch_space

from plangym_lite.errors import SpacesDifferError
from plangym_lite.nested import same_space
from plangym_lite.transitions import BatchSpec

__all__ = ["ObservationMode", "batched_spaces", "check_mode", "spec_in_common"]

ObservationMode = str | tuple[Space, Space]
"""``"same"``, ``"different"``, or the batched and the single observation space."""


def check_mode(mode: Any) -> None:
    """Raise unless ``mode`` is an :data:`ObservationMode`."""
    if isinstance(mode, tuple) and len(mode) == 2:
        if not all(isinstance(space, Space) for space in mode):
            raise TypeError(f"observation_mode must be two spaces, got {mode!r}")
    elif mode not in ("same", "different"):
        raise ValueError(
            "Invalid `observation_mode`, expected: 'same' or 'different' or tuple of single and "
            f"batch observation space, actual got {mode}"
        )


def spec_in_common(
    specs: Sequence[BatchSpec], mode: ObservationMode = "same", name: str = "SubprocVectorEnv"
) -> BatchSpec:
    """The layout of a row, the same for all environments, or ``SpacesDifferError``.

    ``mode`` says how far observation spaces may differ; ``name`` is for messages.
    """
    first = specs[0]
    single = mode[1] if isinstance(mode, tuple) else first.observation_space
    for index, spec in enumerate(specs):
        if mode == "same" and not same_space(spec.observation_space, single):
            raise SpacesDifferError(
                f"{name}(..., observation_mode='same') however the sub-environments observation "
                f"spaces are not equivalent. worker {index} has {spec.observation_space}, worker 0 "
                f"{single}. If this is intentional, use `observation_mode='different'` instead."
            )
        if mode != "same" and not is_space_dtype_shape_equiv(spec.observation_space, single):
            raise SpacesDifferError(
                f"{name}(..., observation_mode='different' or custom space) however the "
                "sub-environments observation spaces do not share a common shape and dtype: "
                f"worker {index} has {spec.observation_space} instead of {single}"
            )
        agreed = dataclasses.replace(spec, observation_space=first.observation_space)
        if not first.agrees_with(agreed):
            raise SpacesDifferError(
                f"worker {index} has other actions or states than worker 0: {spec} instead of "
                f"{first}"
            )
    return dataclasses.replace(first, observation_space=single)


def batched_spaces(
    specs: Sequence[BatchSpec], single: Space, mode: ObservationMode
) -> tuple[Space, Space]:
    """The observation space and the action space of all environments."""
    actions = batch_space(specs[0].action_space, len(specs))
    if isinstance(mode, tuple):
        return mode[0], actions
    if mode == "different":
        return batch_differing_spaces([spec.observation_space for spec in specs]), actions
    return batch_space(single, len(specs)), actions

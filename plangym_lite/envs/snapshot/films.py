"""Wrappers that record films. Recordings are not part of the state; batches record nothing."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

__all__ = ["FILMS", "mute", "unmute"]

FILMS: tuple[type, ...] = (gym.wrappers.RecordVideo,)
"""Layers that are not saved and record nothing during batches, verification and replays."""
PASSED = ("reset", "step", "render")


def mute(layer: Any) -> None:
    """Let a layer forward calls without recording."""
    for name in PASSED:
        setattr(layer, name, getattr(layer.env, name))


def unmute(layer: Any) -> None:
    """Let it record again."""
    for name in PASSED:
        vars(layer).pop(name, None)

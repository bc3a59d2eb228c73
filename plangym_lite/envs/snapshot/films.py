"""Wrappers that film: what they record is no state, and batches write no films."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

__all__ = ["FILMS", "mute", "unmute"]

FILMS: tuple[type, ...] = (gym.wrappers.RecordVideo,)
"""Layers that are not saved, and look away from batches, verifications and replays."""
PASSED = ("reset", "step", "render")


def mute(layer: Any) -> None:
    """Have a layer pass on what it is asked, and record nothing."""
    for name in PASSED:
        setattr(layer, name, getattr(layer.env, name))


def unmute(layer: Any) -> None:
    """Have it record again."""
    for name in PASSED:
        vars(layer).pop(name, None)

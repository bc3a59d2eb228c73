"""One file per engine: how that engine's state is saved and restored.

``from plangym_lite.envs import AtariEnv`` and the others of ``__all__`` load their simulator then.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plangym_lite.envs.atari import AtariEnv
    from plangym_lite.envs.box2d import Box2DEnv
    from plangym_lite.envs.checkpoints import load_states, save_states
    from plangym_lite.envs.classic_control import ClassicControl
    from plangym_lite.envs.dm_control import DMControlEnv
    from plangym_lite.envs.gym import PlangymEnv
    from plangym_lite.envs.mujoco import MujocoEnv
    from plangym_lite.envs.retro import RetroEnv
    from plangym_lite.envs.toy_text import ToyText

__all__ = [
    "AtariEnv",
    "Box2DEnv",
    "ClassicControl",
    "DMControlEnv",
    "MujocoEnv",
    "PlangymEnv",
    "RetroEnv",
    "ToyText",
    "load_states",
    "save_states",
]

HOMES = {
    "AtariEnv": "atari",
    "Box2DEnv": "box2d",
    "ClassicControl": "classic_control",
    "DMControlEnv": "dm_control",
    "MujocoEnv": "mujoco",
    "PlangymEnv": "gym",
    "RetroEnv": "retro",
    "ToyText": "toy_text",
    "load_states": "checkpoints",
    "save_states": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})

"""The adapters: how the state of each engine is saved and restored.

``from plangym_lite.envs import AtariEnv`` loads the simulator, and so do the other names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plangym_lite.envs.atari.env import AtariEnv
    from plangym_lite.envs.batched.classic_control import ClassicControl
    from plangym_lite.envs.batched.toy_text import ToyText
    from plangym_lite.envs.box2d.env import Box2DEnv
    from plangym_lite.envs.gymnasium.env import PlangymEnv
    from plangym_lite.envs.gymnasium.pettingzoo import PettingZooEnv
    from plangym_lite.envs.mujoco.dm_control import DMControlEnv
    from plangym_lite.envs.mujoco.env import MujocoEnv
    from plangym_lite.envs.retro import RetroEnv
    from plangym_lite.states.files import load_states, save_states

__all__ = [
    "AtariEnv",
    "Box2DEnv",
    "ClassicControl",
    "DMControlEnv",
    "MujocoEnv",
    "PettingZooEnv",
    "PlangymEnv",
    "RetroEnv",
    "ToyText",
    "load_states",
    "save_states",
]

HOMES = {
    "AtariEnv": "plangym_lite.envs.atari",
    "Box2DEnv": "plangym_lite.envs.box2d",
    "ClassicControl": "plangym_lite.envs.batched.classic_control",
    "DMControlEnv": "plangym_lite.envs.mujoco.dm_control",
    "MujocoEnv": "plangym_lite.envs.mujoco",
    "PettingZooEnv": "plangym_lite.envs.gymnasium.pettingzoo",
    "PlangymEnv": "plangym_lite.envs.gymnasium",
    "RetroEnv": "plangym_lite.envs.retro",
    "ToyText": "plangym_lite.envs.batched.toy_text",
    "load_states": "plangym_lite.states.files",
    "save_states": "plangym_lite.states.files",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})

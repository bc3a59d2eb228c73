"""VecEnvWrapper: a layer around a SubprocVecEnv; and what carries a closure by value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np

from plangym_lite.vector.conversion import Indices
from plangym_lite.vector.stable_baselines3 import VecEnv, VecStep

__all__ = ["CloudpickleWrapper", "VecEnvWrapper"]


class VecEnvWrapper(VecEnv):
    """Passes everything on to ``venv``; override what shall be different.

    Attributes that the wrapper does not have are looked for further in. A name that several
    layers further in have is refused: which of them is meant?

    Args:
        venv: the environment, or another wrapper.
        observation_space: what observations look like from outside; ``None``: as inside.
        action_space: what actions look like from outside; ``None``: as inside.
    """

    def __init__(
        self,
        venv: Any,
        observation_space: gym.Space | None = None,
        action_space: gym.Space | None = None,
    ) -> None:
        self.venv = venv
        self.num_envs = venv.num_envs
        self.render_mode = venv.render_mode
        self.observation_space = observation_space or venv.observation_space
        self.action_space = action_space or venv.action_space

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: Any) -> None:
        self.venv.step_async(actions)

    def step_wait(self) -> VecStep:
        return self.venv.step_wait()

    def seed(self, seed: int | None = None) -> Sequence[int]:
        """Seed the next ``reset``: ``seed + i``."""
        return self.venv.seed(seed)

    def get_images(self) -> Sequence[Any]:
        return self.venv.get_images()

    def get_state(self) -> np.ndarray:
        """The states of all environments."""
        return self.venv.get_state()

    def set_state(self, states: Sequence[Any], indices: Indices = None) -> None:
        """Put the environments asked for into ``states``."""
        self.venv.set_state(states, indices)

    def env_method(self, name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list:
        """Call a method of the environments asked."""
        return self.venv.env_method(name, *args, indices=indices, **kwargs)

    def get_attr(self, name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the environments asked."""
        return self.venv.get_attr(name, indices)

    def set_attr(self, name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the environments asked."""
        self.venv.set_attr(name, value, indices)

    def has_attr(self, name: str) -> bool:
        """Whether every environment has an attribute of that name."""
        return self.venv.has_attr(name)

    def env_is_wrapped(self, wrapper_class: type, indices: Indices = None) -> list[bool]:
        """Whether the environments asked have a layer of that class."""
        return self.venv.env_is_wrapped(wrapper_class, indices)

    def close(self) -> None:
        self.venv.close()

    @property
    def unwrapped(self) -> Any:
        return self.venv.unwrapped

    # ---- attributes of the layers further in ----------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "venv":  # private, or a copy that is not whole yet
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self.getattr_recursive(name)

    def getattr_recursive(self, name: str) -> Any:
        """The attribute of the only layer that has it.

        Raises:
            AttributeError: no layer has it, or several: the message names them.
        """
        owners = [layer for layer in self._layers() if _has(layer, name)]
        if not owners:
            raise AttributeError(f"neither {type(self).__name__} nor what it wraps has {name!r}")
        if len(owners) > 1 and owners[0] is not self:
            first, second = (_name_of(layer) for layer in owners[:2])
            raise AttributeError(f"{name!r} is ambiguous: both {first} and {second} have it")
        return getattr(owners[0], name)

    def getattr_depth_check(self, name: str, already_found: bool) -> str | None:
        here = _has(self, name)
        if here and already_found:
            return _name_of(self)
        return self.venv.getattr_depth_check(name, already_found or here)

    def _layers(self) -> Iterator[Any]:
        layer: Any = self
        while isinstance(layer, VecEnvWrapper):
            yield layer
            layer = layer.venv
        yield layer


def _has(layer: Any, name: str) -> bool:
    """Whether the layer itself has the attribute."""
    if isinstance(layer, VecEnvWrapper):
        return name in vars(layer) or hasattr(type(layer), name)
    return hasattr(layer, name)


def _name_of(layer: Any) -> str:
    return f"{type(layer).__module__}.{type(layer).__name__}"


class CloudpickleWrapper:
    """Pickles what it holds, ``var``, by value: lambdas, closures, classes of a notebook cell."""

    def __init__(self, var: Any) -> None:
        self.var = var

    def __getstate__(self) -> bytes:
        return cloudpickle.dumps(self.var)

    def __setstate__(self, data: bytes) -> None:
        self.var = cloudpickle.loads(data)

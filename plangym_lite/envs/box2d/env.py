"""Box2D: LunarLander, BipedalWalker, CarRacing. A state is a seed and the actions since.

Python can read only part of a Box2D world (positions, velocities), not warm starts, contacts and
sleep timers. Replay from the seed is exact in every process. To avoid replays, each process keeps
snapshots of the states that it saved (world_snapshot.py); from such a state, or one that follows
it, only the missing actions are replayed.

An image is what Gymnasium draws if every frame is drawn, whatever was drawn before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from plangym_lite.envs.box2d.picture import (
    SKIPS,
    SteadyPicture,
    drawn_once,
    foreign_layers,
    steady_layer,
)
from plangym_lite.envs.box2d.world_snapshot import WorldSnapshots, are_exact
from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.envs.snapshot.snapshot import has_replaced_methods, layers_of

__all__ = ["Box2DEnv"]

MODULE = "gymnasium.envs.box2d."
REMEMBERED = 256
TRUSTED: OrderedDict[Any, bool] = OrderedDict()
"""By all layers and their arguments, whether world snapshots are exact in this process."""
GYMNASIUMS_OWN = frozenset(
    getattr(gym.wrappers, name)
    for name in (
        *("FrameStackObservation", "TimeAwareObservation", "DelayObservation", "DtypeObservation"),
        *("MaxAndSkipObservation", "NormalizeObservation", "FlattenObservation"),
        *("RescaleObservation", "ReshapeObservation", "GrayscaleObservation", "StickyAction"),
        *("AddRenderObservation", "ResizeObservation"),
        *("ClipAction", "RescaleAction", "RepeatAction", "ClipReward", "NormalizeReward"),
    )
    if hasattr(gym.wrappers, name)
)
"""Wrappers whose whole state are attributes that snapshots save."""


class Box2DEnv(PlangymEnv):
    """Gymnasium's Box2D environments.

    Args:
        name: as for :class:`PlangymEnv`, like the other arguments.
        n_live: how many states are kept in memory, to start from without a replay.
    """

    _changes_stack = _plays_only = True
    STATE_METHODS: ClassVar[tuple[str, ...]] = ("replay",)
    STATES_NAME: ClassVar[str] = "Box2DEnv"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read

    def __init__(self, name: Any, *others: Any, n_live: int = 128, **engine_kwargs: Any) -> None:
        if n_live < 1:
            raise ValueError(f"n_live must be at least 1, got {n_live}")
        self._n_live, self._sees_pixels = n_live, False
        super().__init__(name, *others, **engine_kwargs)

    def make_gym_env(self) -> gym.Env:
        env = super().make_gym_env()
        if self._is_bare:
            return env
        *wrappers, base = layers_of(env)
        if getattr(base, "domain_randomize", False):  # the initial colours of a CarRacing
            game: Any = base
            game.np_random = np.random.default_rng(0)
            game._init_colors()
        steady = SteadyPicture(base, bool(self._wrappers) or bool(foreign_layers(wrappers)))
        if not wrappers:
            return steady
        wrappers[-1].env = steady  # type: ignore[attr-defined]
        return env

    def prepare_states(self) -> None:
        base, foreign = type(self._base), foreign_layers(self._layers[:-1])
        is_own = base.__module__.startswith(MODULE) and not has_replaced_methods(self._layers)
        if not is_own or set(map(type, foreign)) - GYMNASIUMS_OWN:
            super().prepare_states()
            return
        self._sees_pixels = base.__name__ == "CarRacing" and not foreign
        skip = None if foreign else SKIPS.get(base.__name__)
        snapshots = WorldSnapshots.of if self._can_have_snapshots() else None
        n_live = self._n_live if snapshots or not foreign else 1
        self.use_replay(
            first=self._gym_env,
            n_live=n_live,
            skip=skip,
            checkpoints=snapshots,
            keep_wrappers=bool(foreign),
        )

    def _can_have_snapshots(self) -> bool:
        """Whether world snapshots are exact here; tested once in a process for equal layers."""
        key = tuple(_how_made(layer) for layer in self._layers)
        if key not in TRUSTED:
            env = self.make_stack()
            TRUSTED[key] = are_exact(env)
            env.close()
            while len(TRUSTED) > REMEMBERED:
                TRUSTED.popitem(last=False)
        return TRUSTED[key]

    def draw_image(self) -> np.ndarray:
        env = self._gym_env if self._replayed is None else self._replayed.live_env
        with steady_layer(env).asked_from_outside():
            return super().draw_image()

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        if n_frames == 1 or not self._sees_pixels or self.render_mode == "human":
            return super().advance(action, n_frames)
        assert self._replayed is not None
        env: Any = self._replayed.live_env
        with drawn_once(env):
            result = super().advance(action, n_frames)
        self._replayed.look(env.unwrapped.state)
        return result


def _how_made(layer: Any) -> tuple[Any, ...]:
    names = ("_saved_kwargs", "_ezpickle_args", "_ezpickle_kwargs")
    return type(layer), *(repr(vars(layer).get(name)) for name in names)

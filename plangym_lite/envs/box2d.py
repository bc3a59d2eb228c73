"""Box2D: LunarLander, BipedalWalker, CarRacing. A state is a seed and the actions since.

What can be read of a Box2D world (positions, velocities) is not all of it: warm starts, contacts
and sleeping timers are missing. Playing from the seed again is exact, in every process. So that it
is seldom needed, each process keeps images of the states that it was asked for (box2d_image.py),
and from a state or from one that follows it only the missing frames are played.

A picture shows what Gymnasium draws where every frame is drawn, whatever was drawn before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from plangym_lite.envs.box2d_image import WorldImages, are_exact
from plangym_lite.envs.gym import PlangymEnv

__all__ = ["Box2DEnv"]

MODULE = "gymnasium.envs.box2d."
FADING = 0.15  # what LunarLander takes off a particle's time for each drawing
LIFETIME = 8  # steps after which any particle is gone
TRUSTED: dict[type, bool] = {}
"""Whether images of environments of a class are exact in this process."""
LASER_TURNS = 100  # pictures after which BipedalWalker's laser begins again


class Box2DEnv(PlangymEnv):
    """Gymnasium's Box2D environments.

    Args:
        name: as for :class:`PlangymEnv`, and so are the others.
        n_live: how many states are kept in memory, to be stepped from without playing.
    """

    _plays_only = True
    STATE_METHODS: ClassVar[tuple[str, ...]] = ("replay",)

    def __init__(self, name: Any, *others: Any, n_live: int = 128, **engine_kwargs: Any) -> None:
        if n_live < 1:
            raise ValueError(f"n_live must be at least 1, got {n_live}")
        self._n_live, self._sees_pixels = n_live, False
        super().__init__(name, *others, **engine_kwargs)

    def make_gym_env(self) -> gym.Env:
        env = super().make_gym_env()
        base: Any = env.unwrapped
        if getattr(base, "domain_randomize", False):  # the first colours of a CarRacing
            base.np_random = np.random.default_rng(0)
            base._init_colors()
        return SteadyPicture(env)

    def prepare_states(self) -> None:
        base = type(self._base)
        known = base.__module__.startswith(MODULE) and not self._wrappers
        if not known:
            super().prepare_states()
            return
        self._sees_pixels = known and base.__name__ == "CarRacing"
        skip = SKIPS.get(base.__name__) if known else None
        images = WorldImages.of if known and self._can_have_images() else None
        n_live = self._n_live if known else 1
        self.use_replay(first=self._gym_env, n_live=n_live, skip=skip, images=images)

    def _can_have_images(self) -> bool:
        """Whether images are exact here; looked at once in a process for each class."""
        kind = type(self._base)
        if kind not in TRUSTED:
            env = self.make_stack()
            TRUSTED[kind] = are_exact(env)
            env.close()
        return TRUSTED[kind]

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        if n_frames == 1 or not self._sees_pixels or self.render_mode == "human":
            return super().advance(action, n_frames)
        assert self._replayed is not None
        env: Any = self._replayed.live_env
        with drawn_once(env):
            result = super().advance(action, n_frames)
        self._replayed.look(env.unwrapped.state)
        return result


class SteadyPicture(gym.Wrapper):
    """Makes the picture depend on the state alone, not on the pictures drawn before."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._frames = 0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self._frames = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        self._frames += 1
        particles = getattr(self.unwrapped, "particles", None)
        if particles:  # LunarLander's exhaust fades by being drawn
            for particle in particles:
                particle.ttl -= FADING
            self.unwrapped._clean_particles(False)  # type: ignore[attr-defined]
        return self.env.step(action)

    def render(self) -> Any:
        base: Any = self.unwrapped
        if hasattr(base, "lidar_render"):
            base.lidar_render = self._frames % LASER_TURNS
        before = [(particle, particle.ttl) for particle in getattr(base, "particles", ())]
        picture = self.env.render()
        gone = len(before) - len(getattr(base, "particles", ()))  # the oldest are destroyed
        for particle, ttl in before[gone:]:
            particle.ttl = ttl
        return picture


@contextlib.contextmanager
def drawn_once(env: gym.Env) -> Iterator[None]:
    """Frames of CarRacing played inside are not drawn but the last."""
    base: Any = env.unwrapped
    base._render = lambda mode: None
    try:
        yield
    finally:
        del base._render
    base.state = base._render("state_pixels")


def skip_pixels(env: gym.Env, actions: Iterator[Any]) -> Any:
    """Drive a CarRacing without drawing; return the picture of where it ends."""
    with drawn_once(env):
        for action in actions:
            env.step(action)
    return env.unwrapped.state  # type: ignore[attr-defined]


def skip_exhaust(env: gym.Env, actions: Iterator[Any]) -> Any:
    """Fly a LunarLander without the exhaust that is gone at the end: it touches nothing."""
    base: Any = env.unwrapped
    todo, mode = list(actions), base.render_mode
    for left in range(len(todo), 0, -1):
        base.render_mode = mode if left <= LIFETIME else None
        try:
            obs = env.step(todo[-left])[0]
        finally:
            base.render_mode = mode
    return obs


SKIPS = {"CarRacing": skip_pixels, "LunarLander": skip_exhaust}
"""How the episodes of a class are played again quickly."""

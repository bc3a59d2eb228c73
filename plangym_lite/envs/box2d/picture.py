"""Images of a Box2D world that depend only on its state, not on what was drawn before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym

from plangym_lite.envs.gymnasium.env import STATELESS_WRAPPERS
from plangym_lite.envs.snapshot.snapshot import layers_of

__all__ = ["SKIPS", "SteadyPicture", "drawn_once", "foreign_layers", "steady_layer"]

FADING = 0.15  # of a LunarLander particle's lifetime, each time it is drawn
LIFETIME = 8  # steps after which any particle is destroyed
LASER_TURNS = 100  # images after which BipedalWalker's laser starts again


class SteadyPicture(gym.Wrapper):
    """Makes the image depend on the state only, not on images drawn before.

    It is the layer directly above the engine's environment. Images that wrappers draw (there may be
    some, if ``among_others``) are drawn as in Gymnasium, and do affect the state.
    """

    def __init__(self, env: gym.Env, among_others: bool = False) -> None:
        super().__init__(env)
        self._frames, self._among_others = 0, among_others
        self._is_drawn = False  # by wrappers, in this episode
        self._is_asked = False  # by us

    @property
    def spec(self) -> Any:  # type: ignore[override]
        return self.env.spec

    @contextlib.contextmanager
    def asked_from_outside(self) -> Iterator[None]:
        """Images drawn in this context are for the user and do not affect the state."""
        self._is_asked = True
        try:
            yield
        finally:
            self._is_asked = False

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self._frames, self._is_drawn = 0, False
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        self._frames += 1
        particles = getattr(self.unwrapped, "particles", None)
        if particles and not self._is_drawn:  # drawing makes LunarLander's exhaust fade
            for particle in particles:
                particle.ttl -= FADING
            self.unwrapped._clean_particles(False)  # type: ignore[attr-defined]
        return self.env.step(action)

    def render(self) -> Any:
        if self._among_others and not self._is_asked:
            self._is_drawn = True
            return self.env.render()
        base: Any = self.unwrapped
        turn = getattr(base, "lidar_render", None)
        if turn is not None and not self._is_drawn:
            base.lidar_render = self._frames % LASER_TURNS
        before = [(particle, particle.ttl) for particle in getattr(base, "particles", ())]
        picture = self.env.render()
        gone = len(before) - len(getattr(base, "particles", ()))  # the oldest are destroyed
        for particle, ttl in before[gone:]:
            particle.ttl = ttl
        if turn is not None:
            base.lidar_render = turn
        return picture


def steady_layer(env: gym.Env) -> SteadyPicture:
    """The ``SteadyPicture`` layer of a stack."""
    return next(layer for layer in layers_of(env) if isinstance(layer, SteadyPicture))


def foreign_layers(wrappers: Sequence[gym.Env]) -> list[gym.Env]:
    """The layers that may have more state than a number of steps."""
    known = (*STATELESS_WRAPPERS, gym.wrappers.TimeLimit, SteadyPicture)
    return [layer for layer in wrappers if type(layer) not in known]


@contextlib.contextmanager
def drawn_once(env: gym.Env) -> Iterator[None]:
    """Draw only the last frame of a CarRacing in this context.

    Gymnasium draws before it adds a frame's reward to the score that the image shows.
    """
    base: Any = env.unwrapped
    score = base.reward

    def look_away(mode: str) -> None:
        nonlocal score
        score = base.reward

    base._render = look_away
    try:
        yield
    finally:
        del base._render
    after, base.reward = base.reward, score
    base.state = base._render("state_pixels")
    base.reward = after


def skip_pixels(env: gym.Env, actions: Iterator[Any]) -> tuple[Any, Any]:
    """Step a CarRacing without drawing; return the image of the last state, and the info."""
    with drawn_once(env):
        for action in actions:
            *_, info = env.step(action)
    return env.unwrapped.state, info  # type: ignore[attr-defined]


def skip_exhaust(env: gym.Env, actions: Iterator[Any]) -> tuple[Any, Any]:
    """Step a LunarLander without exhaust that has vanished at the end: it collides with nothing."""
    base: Any = env.unwrapped
    todo, mode = list(actions), base.render_mode
    for left in range(len(todo), 0, -1):
        base.render_mode = mode if left <= LIFETIME else None
        try:
            obs, *_, info = env.step(todo[-left])
        finally:
            base.render_mode = mode
    return obs, info


SKIPS = {"CarRacing": skip_pixels, "LunarLander": skip_exhaust}
"""By class, a fast way to replay many actions."""

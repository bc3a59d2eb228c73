"""Stand: one live environment of a :class:`~plangym_lite.envs.replay.ReplayedEnv`."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import gymnasium as gym

from plangym_lite.stable import register, stable_reduce

__all__ = ["Images", "Root", "Stand"]


class Root(NamedTuple):
    """How an episode began."""

    seed: int
    options: bytes | None  # pickled
    wrappers: bytes | None  # what the wrappers around the engine had gathered before

    def __reduce__(self) -> tuple[Any, ...]:
        return stable_reduce("Root", *self)


register("Root", Root)


class Images(Protocol):
    """What takes images of one environment: ``load`` puts it back to where ``save`` was called."""

    def save(self) -> Any: ...

    def load(self, image: Any) -> None: ...


class Stand:
    """One environment, standing where ``frames`` led it."""

    def __init__(self, env: gym.Env, root: Root) -> None:
        self.env, self.root = env, root
        self.frames = b""
        self.obs: Any = None
        self.gathered: Any = None  # saves what the wrappers gather, where they do
        self.camera: Any = None  # takes images, if there can be any
        self.images: dict[bytes, tuple[Any, Any]] = {}  # by frames: image and observation

    def keep_image(self) -> bool:
        """Take an image of here, unless there is one; return whether one was taken."""
        if self.camera is None or self.frames in self.images:
            return False
        self.images[self.frames] = self.camera.save(), self.obs
        return True

    def nearest(self, frames: bytes) -> bytes | None:
        """The place furthest on the way to ``frames`` from which it can go there."""
        if frames == self.frames or frames in self.images:
            return frames
        places = [place for place in (self.frames, *self.images) if frames.startswith(place)]
        return max(places, key=len, default=None)

    def go_back(self, frames: bytes) -> None:
        """Stand at a place that ``nearest`` has named."""
        if frames != self.frames:
            image, self.obs = self.images[frames]
            self.camera.load(image)
            self.frames = frames

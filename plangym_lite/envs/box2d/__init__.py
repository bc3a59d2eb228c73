"""Box2D environments: states are replayed, with snapshots of the world's memory as a cache."""

from plangym_lite.envs.box2d.env import Box2DEnv

__all__ = ["Box2DEnv"]

"""Environments on Box2D, whose states are the memory of its world."""

from plangym_lite.envs.box2d.env import Box2DEnv

__all__ = ["Box2DEnv"]

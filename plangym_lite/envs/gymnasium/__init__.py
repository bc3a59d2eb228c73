"""Any Gymnasium environment, saved by a snapshot of its Python objects or by replay."""

from plangym_lite.envs.gymnasium.env import PlangymEnv

__all__ = ["PlangymEnv"]

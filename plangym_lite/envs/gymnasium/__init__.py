"""Any Gymnasium environment: states are snapshots of its Python objects, or played again."""

from plangym_lite.envs.gymnasium.env import PlangymEnv

__all__ = ["PlangymEnv"]

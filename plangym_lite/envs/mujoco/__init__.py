"""MuJoCo environments, of Gymnasium and dm_control."""

from plangym_lite.envs.mujoco.env import MujocoEnv

__all__ = ["MujocoEnv"]

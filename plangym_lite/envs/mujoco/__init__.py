"""Environments on MuJoCo, Gymnasium's and dm_control's."""

from plangym_lite.envs.mujoco.env import MujocoEnv

__all__ = ["MujocoEnv"]

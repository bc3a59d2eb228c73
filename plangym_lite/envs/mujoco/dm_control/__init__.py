"""The tasks of the DeepMind Control Suite."""

from plangym_lite.envs.mujoco.dm_control.env import DMControlEnv
from plangym_lite.envs.mujoco.dm_control.tasks import TASKS, task_of

__all__ = ["TASKS", "DMControlEnv", "task_of"]

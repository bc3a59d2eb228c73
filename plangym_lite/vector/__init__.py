"""Vector environments with the interfaces of Gymnasium and stable-baselines.

They use the same workers as batches. Each environment keeps its current state.
"""

from plangym_lite.vector.gymnasium import SequentialVectorEnv, SubprocVectorEnv
from plangym_lite.vector.stable_baselines3 import SubprocVecEnv, VecEnv
from plangym_lite.vector.wrapper import CloudpickleWrapper, VecEnvWrapper

__all__ = [
    "CloudpickleWrapper",
    "SequentialVectorEnv",
    "SubprocVecEnv",
    "SubprocVectorEnv",
    "VecEnv",
    "VecEnvWrapper",
]

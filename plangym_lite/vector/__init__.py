"""Vector environments: many episodes side by side, in the dialects that others speak.

They run on the same workers as batches do. An episode stays where its steps led.
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

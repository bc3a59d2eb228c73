"""plangym_lite: step any simulator from any saved state, exactly, on every core you have.

The layers of the package. A file imports only from lower ones:

    floor 0  errors  system  stable  pickled
    floor 1  recipe/  nested/  transitions  validation
    floor 2  core.py  simulator.py                          PlanEnv, and the hooks of an adapter
    floor 3  states/                                        keeping states
    floor 4  envs/  vectorization/  vector/  planners/  testing/
    floor 5  registry.py
    floor 6  cli/  viz/  __main__.py  __init__.py

``import plangym_lite`` loads no simulator.
"""

from plangym_lite.core import PlanEnv
from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.errors import (
    AlreadySteppingError,
    ClosedError,
    InvalidBatchError,
    InvalidStateError,
    InvalidStepError,
    NotCloneableError,
    NotSteppingError,
    PlangymError,
    ProtocolError,
    RemoteError,
    UnknownEnvironmentError,
    WorkerDiedError,
    WorkerError,
)
from plangym_lite.registry import make, register_adapter
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.states.archive import StateArchive
from plangym_lite.states.files import load_states, save_states
from plangym_lite.transitions import RolloutBatch, Step, StepBatch, Transition, TransitionBatch
from plangym_lite.vector import (
    CloudpickleWrapper,
    SequentialVectorEnv,
    SubprocVecEnv,
    SubprocVectorEnv,
    VecEnvWrapper,
)
from plangym_lite.vectorization import BatchEnv, ExternalProcess, ParallelEnv

__all__ = [
    "AlreadySteppingError",
    "BatchEnv",
    "ClosedError",
    "CloudpickleWrapper",
    "ExternalProcess",
    "InvalidBatchError",
    "InvalidStateError",
    "InvalidStepError",
    "NotCloneableError",
    "NotSteppingError",
    "ParallelEnv",
    "PlanEnv",
    "PlangymEnv",
    "PlangymError",
    "ProtocolError",
    "RemoteError",
    "RolloutBatch",
    "SequentialVectorEnv",
    "SimulatorEnv",
    "StateArchive",
    "Step",
    "StepBatch",
    "SubprocVecEnv",
    "SubprocVectorEnv",
    "Transition",
    "TransitionBatch",
    "UnknownEnvironmentError",
    "VecEnvWrapper",
    "WorkerDiedError",
    "WorkerError",
    "load_states",
    "make",
    "register_adapter",
    "save_states",
]

__version__ = "0.1.0"

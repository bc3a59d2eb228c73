"""The same environment, stepped by many workers.

::

     PARENT                                            CHILD (one a worker)
     ParallelEnv    a local copy, and ...
       BatchEnv     deals rows, gathers results        serve    receives, does, answers
         ExternalProcess ── Channel ── CALL ────────────> Desk    knows env and blocks
                         <──────────── RESULT ───────────   PlanEnv.make_transitions
         BlockPool  Block <════ shared memory ════>  Block    the loop over rows

The pipe carries small messages with request ids; states, actions, observations and numbers lie in
shared memory, written in place by the child. :class:`InlineWorker` stands for a child in tests.
"""

from plangym_lite.vectorization.batch import BatchEnv
from plangym_lite.vectorization.env import VectorizedEnv
from plangym_lite.vectorization.messages import Message
from plangym_lite.vectorization.parallel import ParallelEnv
from plangym_lite.vectorization.process import ExternalProcess
from plangym_lite.vectorization.worker import InlineWorker, Promise, Worker

__all__ = [
    "BatchEnv",
    "ExternalProcess",
    "InlineWorker",
    "Message",
    "ParallelEnv",
    "Promise",
    "VectorizedEnv",
    "Worker",
]

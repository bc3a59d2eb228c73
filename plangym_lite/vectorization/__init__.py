"""The same environment, stepped by many workers.

::

     PARENT                                            CHILD (one a worker)
     ParallelEnv    a local copy, and ...
       BatchEnv     deals rows, gathers results        serve    receives, does, answers
         ExternalProcess ── Channel ── CALL ────────────> RequestHandler    knows env and blocks
                         <──────────── RESULT ───────────   SimulatorEnv.make_transitions
         BlockPool  Block <════ shared memory ════>  Block    the loop over rows
                    RowQueue ────── a pipe ─────────────>   what else there is to run

Messages are small and carry request ids; states, actions, observations and numbers lie in shared
memory, written in place by the child. Most rows of a batch are dealt in large pieces, by messages;
the rest is taken by whoever is done with them. :class:`InlineWorker` stands for a child in tests.
"""

from plangym_lite.vectorization.dispatch.batch_env import BatchEnv
from plangym_lite.vectorization.env import VectorizedEnv
from plangym_lite.vectorization.parallel import ParallelEnv
from plangym_lite.vectorization.process.process import ExternalProcess
from plangym_lite.vectorization.worker.inline import InlineWorker
from plangym_lite.vectorization.worker.messages import Message
from plangym_lite.vectorization.worker.worker import Promise, Worker

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

"""The same environment, stepped by many workers.

::

     PARENT                                            CHILD (one for each worker)
     ParallelEnv    a local copy, and ...
       BatchEnv     fills a block, collects results    server   receives, runs, replies
         ExternalProcess ── Channel ── CALL ────────────> RequestHandler    has env and blocks
                         <──────────── RESULT ───────────   SimulatorEnv.make_transitions
         BlockPool  Block <════ shared memory ════>  Block    the loop over rows
                    ChunkQueue ──── a pipe ─────────────>   chunks of rows; the caller takes too

Messages are small and carry request ids. States, actions, observations and numbers are in shared
memory, and the child writes them in place. ``docs/walk.md`` follows one batch. In tests
:class:`InlineWorker` replaces a child.
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

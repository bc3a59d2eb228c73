"""The exceptions of plangym_lite.

::

    PlangymError (Exception)
    ├── UnknownEnvironmentError (ValueError)   no environment has that name
    ├── NotCloneableError                      this environment's state cannot be saved exactly
    ├── InvalidStateError (ValueError)         not a state of this environment
    │   └── StateOutgrownError                 it needs more bytes than an array of states has
    ├── InvalidBatchError (ValueError)         lengths, shapes or dtypes of a batch that do not fit
    ├── InvalidStepError (TypeError, ValueError)  a step or reset returned invalid values
    ├── ForkedError (RuntimeError)             its workers are another process's
    ├── ReentrantCallError (RuntimeError)      it was called from inside a call of it
    ├── ClosedError (RuntimeError)             it was closed before this call
    ├── AlreadySteppingError (RuntimeError)    step_async twice, without step_wait
    ├── NotSteppingError (RuntimeError)        step_wait without step_async
    └── WorkerError (RuntimeError)
        ├── WorkerDiedError                    the worker's process has ended
        ├── ProtocolError                      a bug of ours: a message of unknown type
        └── RemoteError                        an error of the child that cannot be pickled

An error that the environment raises in a worker is raised again in the parent; its ``__cause__`` is
a :class:`RemoteError` with the child's traceback. A wait that takes too long raises the built-in
:class:`TimeoutError`.
"""

from __future__ import annotations

__all__ = [
    "AlreadySteppingError",
    "ClosedError",
    "ForkedError",
    "InvalidBatchError",
    "InvalidStateError",
    "InvalidStepError",
    "NotCloneableError",
    "NotSteppingError",
    "PlangymError",
    "ProtocolError",
    "ReentrantCallError",
    "RemoteError",
    "StateOutgrownError",
    "UnknownEnvironmentError",
    "WorkerDiedError",
    "WorkerError",
]


class PlangymError(Exception):
    """Base class of the exceptions of plangym_lite."""


class UnknownEnvironmentError(PlangymError, ValueError):
    """No environment has that name."""


class NotCloneableError(PlangymError):
    """The environment's state cannot be saved and restored exactly."""


class InvalidStateError(PlangymError, ValueError):
    """The value is not a state of this environment."""


class StateOutgrownError(InvalidStateError):
    """A state needs more bytes than the array has. Environments handle this themselves."""


class InvalidBatchError(PlangymError, ValueError):
    """The actions, states or dt of a batch do not fit each other or the environment."""


class InvalidStepError(PlangymError, TypeError, ValueError):
    """The environment's ``step`` or ``reset`` returned what Gymnasium does not allow."""


class ForkedError(PlangymError, RuntimeError):
    """The workers belong to another process, of which this one was forked."""


class ReentrantCallError(PlangymError, RuntimeError):
    """An environment was called from inside a call of it."""


class ClosedError(PlangymError, RuntimeError):
    """The environment or worker was closed before this call."""


class AlreadySteppingError(PlangymError, RuntimeError):
    """A step is in progress: call ``step_wait`` first."""


class NotSteppingError(PlangymError, RuntimeError):
    """No step is in progress: call ``step_async`` first."""


class WorkerError(PlangymError, RuntimeError):
    """An error in the communication between a worker and its parent."""


class WorkerDiedError(WorkerError):
    """The worker's process has ended: the message names worker, exit code, signal and call."""


class ProtocolError(WorkerError):
    """A message that is not part of the protocol."""


class RemoteError(WorkerError):
    """The text of a traceback in another process.

    It is the ``__cause__`` of an error raised in another process. It is raised itself if the
    original error cannot be pickled.
    """

    def __str__(self) -> str:
        return "\n" + "".join(str(arg) for arg in self.args)

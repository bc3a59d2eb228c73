"""The exceptions of plangym_lite.

::

    PlangymError (Exception)
    ├── UnknownEnvironmentError (ValueError)   no environment has that name
    ├── NotCloneableError                      this environment's state cannot be saved exactly
    ├── InvalidStateError (ValueError)         not a state of this environment
    │   └── StateOutgrownError                 it needs more bytes than an array of states has
    ├── InvalidBatchError (TypeError, ValueError)  lengths, shapes or dtypes of a batch do not fit
    ├── SpacesDifferError (RuntimeError, ValueError)  environments that do not fit each other
    ├── InvalidStepError (TypeError, ValueError)  a step or reset returned invalid values
    ├── ForkedError (RuntimeError)             its workers are another process's
    ├── ReentrantCallError (RuntimeError)      it was called from inside a call of it
    ├── ClosedError (RuntimeError)             it was closed before this call
    ├── AlreadySteppingError (RuntimeError)    a call was begun and its result not yet taken
    ├── NotSteppingError (RuntimeError)        no call was begun whose result could be taken
    ├── AnswerTimeoutError (TimeoutError)      environments have not answered in time; ask again
    └── WorkerError (RuntimeError)
        ├── WorkerDiedError                    the worker's process has ended
        ├── ProtocolError                      a bug of ours: a message of unknown type
        └── RemoteError                        an error of the child that cannot be pickled

An error that the environment itself raises arrives as itself; its ``__cause__`` is a
:class:`RemoteError` that prints the child's traceback. A wait that takes too long ends in the
built-in :class:`TimeoutError`. ``ClosedError``, ``AlreadySteppingError`` and ``NotSteppingError``
are also ``ClosedEnvironmentError``, ``AlreadyPendingCallError`` and ``NoAsyncCallError`` of
:mod:`gymnasium.error`, and ``AnswerTimeoutError`` is ``multiprocessing.TimeoutError``, as there.
"""

from __future__ import annotations

import multiprocessing

from gymnasium import error as gymnasium_error

__all__ = [
    "AlreadySteppingError",
    "AnswerTimeoutError",
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
    "SpacesDifferError",
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


class InvalidBatchError(PlangymError, TypeError, ValueError):
    """The actions, states or dt of a batch do not fit each other or the environment."""


class SpacesDifferError(PlangymError, RuntimeError, ValueError):
    """Environments that shall be stepped side by side have different spaces or states."""


class InvalidStepError(PlangymError, TypeError, ValueError):
    """The environment's ``step`` or ``reset`` returned what Gymnasium does not allow."""


class ForkedError(PlangymError, RuntimeError):
    """The workers belong to another process, of which this one was forked."""


class ReentrantCallError(PlangymError, RuntimeError):
    """An environment was called from inside a call of it."""


class ClosedError(PlangymError, RuntimeError, gymnasium_error.ClosedEnvironmentError):
    """The environment or worker was closed before this call."""


class AlreadySteppingError(PlangymError, RuntimeError, gymnasium_error.AlreadyPendingCallError):
    """A step, reset or call is under way: take its result first; ``name`` says which it is."""

    def __init__(self, message: str = "", name: str = "step") -> None:
        RuntimeError.__init__(self, message)
        self.name = name


class NotSteppingError(PlangymError, RuntimeError, gymnasium_error.NoAsyncCallError):
    """No step, reset or call, ``name``, is under way: begin one first."""

    def __init__(self, message: str = "", name: str = "step") -> None:
        RuntimeError.__init__(self, message)
        self.name = name


class AnswerTimeoutError(PlangymError, multiprocessing.TimeoutError, TimeoutError):
    """Environments of a vector environment have not answered in time; they go on."""


class WorkerError(PlangymError, RuntimeError):
    """An error in the communication between a worker and its parent."""


class WorkerDiedError(WorkerError):
    """The worker's process has ended: the message names worker, exit code, signal and call."""


class ProtocolError(WorkerError):
    """A message that is not part of the protocol."""


class RemoteError(WorkerError):
    """What was raised in another process, and its traceback there.

    It is the ``__cause__`` of an error raised in another process. It is raised itself if the
    original error cannot be pickled.
    """

    def __str__(self) -> str:
        return "".join(str(arg) for arg in self.args)

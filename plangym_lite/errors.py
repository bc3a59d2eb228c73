"""Every error that plangym_lite raises of its own.

::

    PlangymError (Exception)
    ├── UnknownEnvironmentError (ValueError)   no environment of that name
    ├── NotCloneableError                      this environment's state cannot be saved exactly
    ├── InvalidStateError (ValueError)         not a state of this environment
    │   └── StateOutgrownError                 it needs more bytes than an array of states has
    ├── InvalidBatchError (TypeError, ValueError)  lengths, shapes or dtypes of a batch do not fit
    ├── SpacesDifferError (RuntimeError, ValueError)  environments that do not fit each other
    ├── InvalidStepError (TypeError, ValueError)  an environment answered what is no step
    ├── ClosedError (RuntimeError)             you closed it
    ├── AlreadySteppingError (RuntimeError)    a call was begun and its result not yet taken
    ├── NotSteppingError (RuntimeError)        no call was begun whose result could be taken
    ├── AnswerTimeoutError (TimeoutError)      environments have not answered in time; ask again
    └── WorkerError (RuntimeError)
        ├── WorkerDiedError                    it broke: the process is gone
        ├── ProtocolError                      our bug: a message nobody understands
        └── RemoteError                        the child's error, where it cannot travel

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
    "InvalidBatchError",
    "InvalidStateError",
    "InvalidStepError",
    "NotCloneableError",
    "NotSteppingError",
    "PlangymError",
    "ProtocolError",
    "RemoteError",
    "SpacesDifferError",
    "StateOutgrownError",
    "UnknownEnvironmentError",
    "WorkerDiedError",
    "WorkerError",
]


class PlangymError(Exception):
    """Anything that plangym_lite raises of its own."""


class UnknownEnvironmentError(PlangymError, ValueError):
    """No environment has that name."""


class NotCloneableError(PlangymError):
    """The environment's state cannot be saved and restored exactly."""


class InvalidStateError(PlangymError, ValueError):
    """The value is not a state of this environment."""


class StateOutgrownError(InvalidStateError):
    """A state needs more bytes than states were given. Environments deal with it themselves."""


class InvalidBatchError(PlangymError, TypeError, ValueError):
    """The actions, states or dt of a batch do not fit each other or the environment."""


class SpacesDifferError(PlangymError, RuntimeError, ValueError):
    """Environments that shall be stepped side by side have different spaces or states."""


class InvalidStepError(PlangymError, TypeError, ValueError):
    """The environment's ``step`` or ``reset`` gave what Gymnasium's interface does not allow."""


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
    """Something went wrong between a worker and its parent."""


class WorkerDiedError(WorkerError):
    """The worker's process is gone: the message names worker, exit code, signal and call."""


class ProtocolError(WorkerError):
    """A message that the protocol does not have."""


class RemoteError(WorkerError):
    """What was raised in another process, and its traceback there.

    It is the ``__cause__`` of the error that travelled, and is raised itself when the
    original error could not be pickled.
    """

    def __str__(self) -> str:
        return "".join(str(arg) for arg in self.args)

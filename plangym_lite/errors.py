"""The exceptions of plangym_lite.

::

    PlangymError (Exception)
    ├── UnknownEnvironmentError (ValueError)   no environment has that name
    ├── NotCloneableError                      this environment's state cannot be saved exactly
    ├── InvalidStateError (ValueError)         not a state of this environment
    │   └── StateOutgrownError                 it needs more bytes than the state array has
    ├── InvalidBatchError (TypeError, ValueError)  lengths, shapes or dtypes of a batch do not fit
    ├── SpacesDifferError (RuntimeError, ValueError)  spaces or states of environments differ
    ├── InvalidStepError (TypeError, ValueError)  a step or reset returned invalid values
    ├── ForkedError (RuntimeError)             its workers belong to the parent process
    ├── ReentrantCallError (RuntimeError)      it was called from inside one of its calls
    ├── ClosedError (RuntimeError)             it was closed before this call
    ├── AlreadySteppingError (RuntimeError)    a call is pending: take its result first
    ├── NotSteppingError (RuntimeError)        no call is pending
    ├── AnswerTimeoutError (TimeoutError)      environments have not answered in time
    ├── NoWorkersError (NotImplementedError)   this system cannot have workers
    ├── MissingPackageError (ModuleNotFoundError)  a package is not installed: which extra has it
    └── WorkerError (RuntimeError)
        ├── WorkerDiedError                    the worker's process has ended
        ├── ProtocolError                      a bug: a message of unknown kind
        └── RemoteError                        an error of a worker that cannot be pickled

An error that the environment raises keeps its type; its ``__cause__`` is a :class:`RemoteError`
with the worker's traceback. A wait that takes too long raises the built-in
:class:`TimeoutError`. ``ClosedError``, ``AlreadySteppingError``, ``NotSteppingError`` and
``MissingPackageError`` are also ``ClosedEnvironmentError``, ``AlreadyPendingCallError``,
``NoAsyncCallError`` and ``DependencyNotInstalled`` of :mod:`gymnasium.error`, and
``AnswerTimeoutError`` is ``multiprocessing.TimeoutError``, as there.
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
    "MissingPackageError",
    "NoWorkersError",
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
    "to_install",
]


def to_install(extra: str = "") -> str:
    """The command that installs an extra, for messages. The package is not on PyPI."""
    return f'pip install ".{extra and f"[{extra}]"}" in a checkout of plangym_lite'


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
    """The environments of a vector environment have different spaces or states."""


class InvalidStepError(PlangymError, TypeError, ValueError):
    """The environment's ``step`` or ``reset`` returned values that Gymnasium does not allow."""


class ForkedError(PlangymError, RuntimeError):
    """The workers belong to the process that this one was forked from."""


class ReentrantCallError(PlangymError, RuntimeError):
    """An environment was called from inside one of its calls."""


class ClosedError(PlangymError, RuntimeError, gymnasium_error.ClosedEnvironmentError):
    """The environment or worker was closed before this call."""


class AlreadySteppingError(PlangymError, RuntimeError, gymnasium_error.AlreadyPendingCallError):
    """A step, reset or call, ``name``, is pending: take its result first."""

    def __init__(self, message: str = "", name: str = "step") -> None:
        RuntimeError.__init__(self, message)
        self.name = name


class NotSteppingError(PlangymError, RuntimeError, gymnasium_error.NoAsyncCallError):
    """No step, reset or call, ``name``, is pending: begin one first."""

    def __init__(self, message: str = "", name: str = "step") -> None:
        RuntimeError.__init__(self, message)
        self.name = name


class AnswerTimeoutError(PlangymError, multiprocessing.TimeoutError, TimeoutError):
    """Environments of a vector environment have not answered in time; the call is still pending."""


class NoWorkersError(PlangymError, NotImplementedError):
    """This system lacks what worker processes need."""


class MissingPackageError(
    PlangymError, ModuleNotFoundError, gymnasium_error.DependencyNotInstalled
):
    """A package is not installed; the message names the extra that installs it."""


class WorkerError(PlangymError, RuntimeError):
    """An error in the communication between a worker and its parent."""


class WorkerDiedError(WorkerError):
    """The worker's process has ended: the message names worker, exit code, signal and call."""


class ProtocolError(WorkerError):
    """A message that is not part of the protocol."""


class RemoteError(WorkerError):
    """The text and traceback of an error raised in another process.

    It is the ``__cause__`` of that error here, or is raised in its place if that cannot be pickled.
    """

    def __str__(self) -> str:
        return "".join(str(arg) for arg in self.args)

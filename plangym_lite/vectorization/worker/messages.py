"""The messages between a parent and its worker, and their format.

::

    length: 8 bytes | kind: 1 byte | request id: 8 bytes | payload: a pickle of (length) bytes

    parent -> child   ACCESS  name                      the value of an attribute
                      CALL    (name, args, kwargs)      the result of a method
                      CLOSE   None                      close the environment and end
    child -> parent   READY   Ready                     once, after the environment was built
                      RESULT  value                     of the request with this id
                      EXCEPTION  (error, traceback)     of the request with this id

A reply carries the id of its request, so that it cannot answer another one.
"""

from __future__ import annotations

import pickle
import struct
import traceback
from enum import IntEnum
from types import FunctionType
from typing import Any

from plangym_lite.errors import RemoteError
from plangym_lite.recipe.parcel import dumps

__all__ = ["HEADER", "Message", "dump", "dump_error", "load", "load_error"]

HEADER = struct.Struct("<QBQ")


class Message(IntEnum):
    """The kinds of message, with plangym's numbers."""

    ACCESS = 1
    CALL = 2
    RESULT = 3
    EXCEPTION = 4
    CLOSE = 5
    READY = 6


def dump(value: Any) -> bytes:
    """Pickle a value; what pickle rejects (a lambda, a class of a notebook cell) by value."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # a __reduce__ may raise anything
        return dumps(value)


load = pickle.loads


def dump_error(error: BaseException) -> bytes:
    """An exception and its traceback; if it cannot be pickled, only the traceback.

    ``SystemExit`` and ``KeyboardInterrupt``, which would end the parent, are not sent.
    """
    raised = "".join(traceback.format_exception_only(type(error), error))
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    text = f"{raised}\n{trace}"
    try:
        payload = dump((_Raised(error) if isinstance(error, Exception) else None, text))
        pickle.loads(payload)
    except Exception:  # such as an exception that holds a lock
        payload = pickle.dumps((None, text))
    return payload


class _Raised:
    """Pickles as the exception; a constructor in Python, with other arguments, is not called."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        error, kind = self._error, type(self._error)
        own = [getattr(kind, name) for name in ("__reduce__", "__reduce_ex__", "__new__")]
        if isinstance(kind.__init__, FunctionType) and FunctionType not in map(type, own):
            return _rebuilt, error.__reduce__()
        return _itself, (error,)


def _itself(error: Exception) -> Exception:
    return error


def _rebuilt(kind: Any, args: tuple[Any, ...], attributes: Any = None) -> Exception:
    error = kind.__new__(kind, *args)
    builtin = next(base for base in kind.__mro__ if not isinstance(base.__init__, FunctionType))
    builtin.__init__(error, *args)
    error.__setstate__(attributes)
    return error


def load_error(payload: bytes) -> BaseException:
    """The exception of ``dump_error``, with the worker's traceback as its cause."""
    try:
        error, text = pickle.loads(payload)
    except Exception as failure:  # such as a class that cannot be imported here
        error, text = None, f"(the error could not be unpickled here: {failure!r})"
    if error is None:
        return RemoteError(text)
    error.__cause__ = RemoteError(text)
    return error

"""The messages between a parent and its worker, and how one looks on the wire.

::

    length: 8 bytes | kind: 1 byte | request id: 8 bytes | payload: a pickle of (length) bytes

    parent -> child   ACCESS  name                      the value of an attribute
                      CALL    (name, args, kwargs)      the result of a method
                      CLOSE   None                      close the environment and end
    child -> parent   READY   Ready                     once, after the environment was built
                      RESULT  value                     of the request with this id
                      EXCEPTION  (error, traceback)     of the request with this id

A reply carries the id of its request, so that no reply can answer another one.
"""

from __future__ import annotations

import pickle
import struct
import traceback
from enum import IntEnum
from typing import Any

from plangym_lite.errors import RemoteError
from plangym_lite.recipe.parcel import dumps

__all__ = ["HEADER", "Message", "dump", "dump_error", "frames", "load", "load_error"]

HEADER = struct.Struct("<QBQ")
LARGE = 1 << 20  # bytes of a payload that is worth sending without a copy


class Message(IntEnum):
    """The kinds of message, with plangym's numbers."""

    ACCESS = 1
    CALL = 2
    RESULT = 3
    EXCEPTION = 4
    CLOSE = 5
    READY = 6


def frames(kind: int, request: int, payload: bytes) -> list[memoryview]:
    """One message as bytes, in parts."""
    header = HEADER.pack(len(payload), kind, request)
    parts = (header + payload,) if len(payload) < LARGE else (header, payload)
    return [memoryview(part) for part in parts]


def dump(value: Any) -> bytes:
    """Pickle a value; what pickle refuses (a lambda, a class of a notebook cell) by value."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # whatever a foreign __reduce__ raises
        return dumps(value)


load = pickle.loads


def dump_error(error: BaseException) -> bytes:
    """An exception and its traceback; if it cannot travel, only the traceback.

    What would end the parent (``SystemExit``, ``KeyboardInterrupt``) does not travel.
    """
    raised = "".join(traceback.format_exception_only(type(error), error))
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    text = f"{raised}\n{trace}"
    try:
        payload = dump((error if isinstance(error, Exception) else None, text))
        pickle.loads(payload)
    except Exception:  # an exception whose constructor wants other arguments, say
        payload = pickle.dumps((None, text))
    return payload


def load_error(payload: bytes) -> BaseException:
    """The exception of ``dump_error``, its cause the other side's traceback."""
    try:
        error, text = pickle.loads(payload)
    except Exception as failure:  # a class that this side cannot import
        error, text = None, f"(the error could not be unpickled here: {failure!r})"
    if error is None:
        return RemoteError(text)
    error.__cause__ = RemoteError(text)
    return error

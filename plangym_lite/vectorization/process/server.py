"""The child's side: receive a request, handle it, answer; errors do not end the child.

The child ignores Ctrl-C, which the parent handles. It ends when the parent closes its end of the
channel. It also ends, even during a call, when the parent's process has ended: the kernel then
sends SIGIO for the lifeline, a pipe whose other end only the parent has open.
"""

from __future__ import annotations

import os
import random
import signal
import socket
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from plangym_lite.recipe.parcel import unpack
from plangym_lite.transitions import BatchSpec
from plangym_lite.vectorization.worker.attachments import ROWS
from plangym_lite.vectorization.worker.channel import Channel, ChannelClosedError
from plangym_lite.vectorization.worker.handler import RequestHandler, to_send
from plangym_lite.vectorization.worker.messages import Message, dump, dump_error, load
from plangym_lite.vectorization.worker.plain import hosted
from plangym_lite.vectorization.worker.worker import unknown

__all__ = ["Ready", "main", "quieten", "ready_of"]


class Ready(NamedTuple):
    """A child's first message: the spaces of its environment."""

    spec: BatchSpec | None
    observation_space: Any
    action_space: Any


def ready_of(env: Any) -> Ready:
    """The first message for an environment."""
    names = ("batch_spec", "observation_space", "action_space")
    return Ready(*(getattr(env, name, None) for name in names))


def quieten() -> None:
    """Let plot and window libraries in this process run without a screen."""
    os.environ.update(MPLBACKEND="Agg", SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")


def main(
    sock: socket.socket,
    lifeline: Connection,
    constructor: Any,
    poll_seconds: float = 0.0,
    cwd: str | None = None,
) -> None:
    """Run a worker until it receives CLOSE.

    Args:
        sock: the channel.
        lifeline: closes when the parent has ended.
        constructor: makes the environment; ``bytes``: that of a parcel.
        poll_seconds: seconds for which it polls for the next request before it sleeps.
        cwd: the working directory to change to.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the parent may ignore it
    _end_with(lifeline)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the inherited mask may block SIGIO
    quieten()
    np.random.seed()  # a forked child would draw the parent's numbers
    random.seed()
    channel = Channel(sock, takes_fds=True)
    try:
        handler = _build(channel, constructor, cwd)
        if handler is None:
            return
        try:
            _serve(channel, handler, poll_seconds)
        finally:
            if hasattr(handler.env, "close"):
                handler.env.close()
    except ChannelClosedError:
        pass  # the parent has ended or has closed its end
    finally:
        channel.close()


def _build(channel: Channel, constructor: Any, cwd: str | None) -> RequestHandler | None:
    try:
        if cwd is not None:
            os.chdir(cwd)
        env = hosted(unpack(constructor))
        ready = dump(ready_of(env))
    except BaseException as error:
        channel.send(Message.EXCEPTION, 0, dump_error(error))
        return None
    channel.send(Message.READY, 0, ready)
    return RequestHandler(env)


def _serve(channel: Channel, handler: RequestHandler, poll_seconds: float) -> None:
    while True:
        kind, request, payload = channel.receive(spin=poll_seconds)
        if kind == Message.CLOSE:
            return
        try:
            if kind == Message.CALL:
                result = _handle(handler, channel, payload)
            elif kind == Message.ACCESS:
                result = handler.access(load(payload))
            else:
                raise unknown(kind)
            answer, data = Message.RESULT, dump(result)
        except BaseException as error:  # an environment may even call sys.exit
            answer, data = Message.EXCEPTION, dump_error(error)
        channel.send(answer, request, data)


def _handle(handler: RequestHandler, channel: Channel, payload: bytes) -> Any:
    if payload[:1] != b"@":
        return handler.handle(channel.take_fd, *load(payload))
    _, taker, *rows = ROWS.unpack(payload)
    result = handler.run_rows(*rows) if rows[2] else handler.take_chunks(taker)
    chunks, infos, *others = result
    return chunks, to_send(infos), *others


def _end_with(lifeline: Connection) -> None:
    """Let the kernel end this process when ``lifeline`` closes, even during a call."""
    try:
        import fcntl

        fd = lifeline.fileno()
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    except (ImportError, AttributeError, OSError):
        return  # no such signal here: it ends with the channel only
    if lifeline.poll():
        os._exit(1)

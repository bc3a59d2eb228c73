"""The Ray cluster of the workers: a running one, or a local one started for them.

Each user of Ray holds a :class:`Connection`. The first connects to a cluster or starts one, unless
the program has called ``ray.init``; closing the last one undoes exactly that.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants

from plangym_lite.vectorization.ray.actor import INLINE_BYTES

__all__ = ["LOCAL_STORE", "Connection", "free_cores", "on_loopback"]

LOCAL_STORE = 512 << 20
"""Bytes of object store of a cluster started here: many times the data in flight."""

LOCAL_SETTINGS = {"max_direct_call_object_size": 1 << 20, "free_objects_period_milliseconds": 0}
"""Of a cluster started here. States in the message itself cost half the time of an object, and
memory that is freed at once is reused while its pages are in the cache."""

CONSTANTS = 4
ROOM_PATIENCE = 1.0  # seconds until the resources of a dead worker are free
_lock = threading.Lock()


class _Session:
    """The session that the first connection began."""

    def __init__(self) -> None:
        self.identity = _identity()
        self.users = 0


_session: _Session | None = None


class Connection:
    """A connection to a cluster, and the constants stored there.

    Args:
        ray_kwargs: arguments of ``ray.init``. ``address``, or the variable ``RAY_ADDRESS``, names a
            running cluster; without it a local cluster is started, which only this machine
            can reach. Not used if Ray is already connected.
    """

    def __init__(self, ray_kwargs: dict[str, Any] | None = None) -> None:
        global _session
        self._constants: dict[bytes, Any] = {}
        self._mine: _Session | None = None
        with _lock:
            if not ray.is_initialized():
                _begin(dict(ray_kwargs or {}))
                _session = _Session()
            if _session is not None and _session.identity == _identity():
                self._mine = _session
                _session.users += 1

    def constant(self, value: Any) -> Any:
        """What to send for bytes or an array of several calls: large ones are stored once."""
        if len(memoryview(value).cast("B")) <= INLINE_BYTES:
            return value
        key = bytes(value)
        ref = self._constants.pop(key, None)
        self._constants[key] = ray.put(value) if ref is None else ref
        if len(self._constants) > CONSTANTS:
            del self._constants[next(iter(self._constants))]
        return self._constants[key]

    def close(self) -> None:
        global _session
        with _lock:
            mine, self._mine = self._mine, None
            self._constants.clear()
            if mine is None:
                return
            mine.users -= 1
            if mine.users or mine is not _session:
                return
            _session = None
            if ray.is_initialized() and _identity() == mine.identity:
                ray.shutdown()


def free_cores(wanted: float) -> float:
    """Free CPUs of the cluster; waits up to ``ROOM_PATIENCE`` seconds for ``wanted``."""
    wanted = min(wanted, ray.cluster_resources().get("CPU", 0.0))
    deadline = time.monotonic() + ROOM_PATIENCE
    while (free := ray.available_resources().get("CPU", 0.0)) < wanted:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return free


@contextmanager
def on_loopback() -> Iterator[None]:
    """Let Ray processes started here listen on the loopback address only.

    Ray does so by itself if clusters are disabled (``ENABLE_RAY_CLUSTER``); otherwise it replaces
    even a node address of 127.0.0.1 by one that other machines can reach.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _begin(ray_kwargs: dict[str, Any]) -> None:
    ray_kwargs = {"logging_level": logging.ERROR, **ray_kwargs}
    address = ray_kwargs.pop("address", None) or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        ray.init(address=address, **ray_kwargs)
        return
    small = {
        "object_store_memory": LOCAL_STORE,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "_system_config": dict(LOCAL_SETTINGS),
    }
    with on_loopback():
        ray.init(address="local", **{**small, **ray_kwargs})


def _identity() -> tuple[str, str]:
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_job_id()

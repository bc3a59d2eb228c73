"""After each test: no child process and no name in shared memory is left behind."""

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import time

import psutil
import pytest

SHM = "/dev/shm"


def children():
    """Processes below this one, but for the two helpers of multiprocessing."""
    helpers = {
        multiprocessing.forkserver._forkserver._forkserver_pid,
        multiprocessing.resource_tracker._resource_tracker._pid,
    }
    return {
        child for child in psutil.Process().children(recursive=True) if child.pid not in helpers
    }


def shared_names():
    return set(os.listdir(SHM)) if os.path.isdir(SHM) else set()


@pytest.fixture(autouse=True)
def new_children():
    """The processes that this test has started so far; none may be left at its end."""
    processes, names = children(), shared_names()
    yield lambda: children() - processes
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        left = children() - processes, shared_names() - names
        if not any(left):
            return
        time.sleep(0.05)
    raise AssertionError(f"left behind: {left}")

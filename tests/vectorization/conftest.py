"""The subjects of the laws; after each test no process and no shared memory is left behind."""

import os
import time

import psutil
import pytest

from plangym_lite.vectorization import BatchEnv, InlineWorker, ParallelEnv
from plangym_lite.vectorization.process.start import forkserver_pid
from tests.vectorization.subjects import MAKERS, Subject

SHM = "/dev/shm"


def children():
    """Processes below this one, but for the server that forks workers."""
    return {
        child
        for child in psutil.Process().children(recursive=True)
        if child.pid != forkserver_pid()
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


WITH_PROCESSES = ["toy", "opaque states", "nested", "cartpole", "generic snapshot", "atari rgb"]
MAX_WORKERS = 4


@pytest.fixture(scope="module", params=MAKERS)
def inline(request):
    """A subject, and pools of 1 to 4 workers in this process."""
    subject = Subject(MAKERS[request.param])
    workers = [InlineWorker(MAKERS[request.param]) for _ in range(MAX_WORKERS)]
    subject.pools = [BatchEnv(workers[: count + 1]) for count in range(MAX_WORKERS)]
    subject.workers = workers
    yield subject
    for pool in subject.pools:
        pool.close()
    subject.env.close()


@pytest.fixture(scope="module", params=WITH_PROCESSES)
def processes(request):
    """A subject, and the same environment with three processes."""
    subject = Subject(MAKERS[request.param])
    with ParallelEnv(MAKERS[request.param], n_workers=3) as subject.parallel:
        subject.parallel.sync_states(subject.env.get_state())
        yield subject
    subject.env.close()

"""What is shared is opened by its handle, and told once."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import make
from plangym_lite.transitions import Form
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import Piece
from plangym_lite.vectorization.memory.layout import Layout
from plangym_lite.vectorization.memory.queue import RowQueue
from plangym_lite.vectorization.worker.attachments import Attachments, Handle

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="no such files here")

OTHER = """
import sys
from plangym_lite.vectorization.memory.chunks import RowQueue
from plangym_lite.vectorization.worker.attachments import Handle
block, queue = (Handle(*map(int, text.split())) for text in sys.argv[1:])
fd = block.open()
assert open(fd, "r+b", buffering=0).write(b"here") == 4
queue = RowQueue(queue.open())
print(queue.take(), queue.take())
"""


@pytest.fixture
def queue():
    queue = RowQueue()
    yield queue
    queue.close()


@pytest.fixture
def blocks():
    with make("CartPole-v1") as env:
        blocks = [Block(Layout(env.batch_spec, 9, Form(states=keep))) for keep in (True, False)]
    yield blocks
    for block in blocks:
        block.drop()


def test_another_process_opens_blocks_and_queues(queue, blocks):
    queue.put([Piece(3, 4)])
    handles = [" ".join(map(str, Handle.of(shared.fd))) for shared in (blocks[0], queue)]
    made = subprocess.run(
        [sys.executable, "-c", OTHER, *handles], capture_output=True, text=True, timeout=30
    )
    assert made.stdout == "Piece(start=3, stop=4) None\n", made.stderr
    memory = np.empty(4, np.uint8)
    os.preadv(blocks[0].fd, [memory], 0)
    assert memory.tobytes() == b"here"


def test_a_queue_can_be_taken_from_by_both(queue):
    twin = RowQueue(Handle.of(queue.fd).open())
    queue.put([Piece(0, 1), Piece(1, 2)])
    assert (twin.take(), queue.take(), twin.take()) == (Piece(0, 1), Piece(1, 2), None)
    twin.close()


def test_no_other_file_is_taken_for_it(queue):
    handle = Handle.of(queue.fd)
    before = len(os.listdir("/proc/self/fd"))
    for wrong in (handle._replace(inode=handle.inode + 1), handle._replace(device=0)):
        with pytest.raises(OSError, match="another file"):
            wrong.open()
    queue.close()
    with pytest.raises(OSError, match=r"another file|No such file"):
        handle.open()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    with pytest.raises(FileNotFoundError):
        handle._replace(pid=int(gone.stdout)).open()
    assert len(os.listdir("/proc/self/fd")) <= before


@given(uses=st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.booleans()), max_size=12))
def test_everything_is_told_once(uses):
    with make("CartPole-v1") as env:
        blocks = [Block(Layout(env.batch_spec, 9)) for _ in range(2)]
    queues, told, known, last = [RowQueue(), RowQueue()], Attachments(), set(), None
    for which, with_queue, forgets in uses:
        block, queue = blocks[which], queues[which] if with_queue else None
        fds = [fd for _, _, fd in told.missing(block, queue)]
        news = [queue.fd] if queue not in (None, last) else []
        assert fds == news + ([] if which in known else [block.fd])
        last, known = queue or last, known | {which}
        if forgets:
            assert told.forget(block.number)
            assert not told.forget(block.number)
            known -= {which}
    for thing in queues:
        thing.close()


def test_what_could_not_be_sent_is_told_again(blocks, queue):
    told = Attachments()
    for _ in range(2):
        name, _, fd = next(told.missing(blocks[0], queue))
        assert (name, fd) == ("@queue", queue.fd)
    assert len(list(told.missing(blocks[0], queue))) == 2
    assert not list(told.missing(blocks[0], queue))

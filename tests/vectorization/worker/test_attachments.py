"""What is shared with a worker is sent once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import make
from plangym_lite.transitions import Form
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.layout import Layout
from plangym_lite.vectorization.memory.queue import ChunkQueue
from plangym_lite.vectorization.worker.attachments import Attachments


@pytest.fixture
def queue():
    queue = ChunkQueue()
    yield queue
    queue.close()


@pytest.fixture
def blocks():
    with make("CartPole-v1") as env:
        blocks = [Block(Layout(env.batch_spec, 9, Form(states=keep))) for keep in (True, False)]
    yield blocks
    for block in blocks:
        block.drop()


@given(uses=st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.booleans()), max_size=12))
def test_everything_is_sent_once(uses):
    with make("CartPole-v1") as env:
        blocks = [Block(Layout(env.batch_spec, 9)) for _ in range(2)]
    queues, attachments, known, last = [ChunkQueue(), ChunkQueue()], Attachments(), set(), None
    for which, with_queue, detaches in uses:
        block, queue = blocks[which], queues[which] if with_queue else None
        fds = [fd for _, _, fd in attachments.missing(block, queue)]
        news = [queue.fd] if queue not in (None, last) else []
        assert fds == news + ([] if which in known else [block.fd])
        last, known = queue or last, known | {which}
        if detaches:
            assert attachments.detach(block.number)
            assert not attachments.detach(block.number)
            known -= {which}
    for thing in queues:
        thing.close()


def test_what_could_not_be_sent_is_sent_again(blocks, queue):
    attachments = Attachments()
    for _ in range(2):
        name, _, fd = next(attachments.missing(blocks[0], queue))
        assert (name, fd) == ("@queue", queue.fd)
    assert len(list(attachments.missing(blocks[0], queue))) == 2
    assert not list(attachments.missing(blocks[0], queue))

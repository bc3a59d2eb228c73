"""What is shared with a worker is sent once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import make
from plangym_lite.transitions import Form
from plangym_lite.vectorization.memory.arenas import make_arena
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import ChunkQueue
from plangym_lite.vectorization.memory.layout import Layout
from plangym_lite.vectorization.worker.attachments import Attachments
from tests.vectorization.helpers import block_of


@pytest.fixture
def queue():
    queue = ChunkQueue()
    yield queue
    queue.close()


@pytest.fixture
def blocks():
    with make("CartPole-v1") as env:
        blocks = [block_of(Layout(env.batch_spec, 9, Form(states=keep))) for keep in (True, False)]
    return blocks


@given(uses=st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=12))
def test_everything_is_sent_once(uses):
    with make("CartPole-v1") as env:
        layout = Layout(env.batch_spec, 9)
    arenas = [make_arena(1, [9 * layout.nbytes])[0] for _ in range(2)]
    blocks = [Block(layout, arena, arena.take(layout.nbytes)) for arena in arenas * 2]
    queues, attachments, known, last = [ChunkQueue(), ChunkQueue()], Attachments(), set(), None
    for which, with_queue, detaches in uses:
        block, queue = blocks[which], queues[which % 2] if with_queue else None
        found = list(attachments.missing(block, queue))
        news = [queue.fd] if queue not in (None, last) else []
        new_arena = [] if block.arena.number in known else [block.arena.fd]
        assert [fd for _, _, fds in found for fd in fds] == news + new_arena
        assert [name for name, _, _ in found] == ["@queue"] * len(news) + ["@attach"] * (
            block.number not in known
        )
        last, known = queue or last, known | {block.number, block.arena.number}
        if detaches:
            for number in (block.number, block.arena.number)[: 1 + which // 2]:
                assert attachments.detach(number)
                assert not attachments.detach(number)
                known -= {number}
    for thing in queues:
        thing.close()


def test_what_could_not_be_sent_is_sent_again(blocks, queue):
    attachments = Attachments()
    for _ in range(2):
        name, _, fds = next(attachments.missing(blocks[0], queue))
        assert (name, fds) == ("@queue", (queue.fd,))
    assert len(list(attachments.missing(blocks[0], queue))) == 2
    assert not list(attachments.missing(blocks[0], queue))


def test_what_a_worker_could_not_take_is_sent_again(blocks, queue):
    attachments = Attachments()
    sent = list(attachments.missing(blocks[0], queue))
    for name, args, _ in sent:
        attachments.failed(name, args)
    assert [name for name, _, _ in attachments.missing(blocks[0], queue)] == ["@queue", "@attach"]

"""The queue: what is put in comes out once, in order, for whoever reads first."""

import os
import threading

import pytest

from plangym_lite.vectorization.memory.chunks import MOST_CHUNKS, Chunk, ChunkQueue


@pytest.fixture
def queue():
    queue = ChunkQueue()
    yield queue
    queue.close()


def taken(queue):
    return list(iter(queue.take, None))


@pytest.mark.parametrize("n_chunks", [0, 1, 3, MOST_CHUNKS])
def test_what_is_put_in_comes_out_in_order(queue, n_chunks):
    chunks = [Chunk(row, 2 * row + 1) for row in range(n_chunks)]
    queue.put(7, chunks)
    assert queue.is_empty() is (n_chunks == 0)
    assert taken(queue) == [(7, *chunk) for chunk in chunks]
    assert queue.take() is None
    assert queue.is_empty()


def test_what_is_cleared_is_counted_in_rows(queue):
    queue.put(0, [Chunk(0, 4), Chunk(4, 5), Chunk(5, 2_000_000)])
    assert queue.clear() == 2_000_000
    assert queue.take() is None
    assert queue.clear() == 0


def test_each_chunk_is_taken_by_one(queue):
    other_end = ChunkQueue(os.dup(queue.fd))
    chunks = [Chunk(row, row + 1) for row in range(MOST_CHUNKS)]
    found = [[] for _ in range(4)]
    go = threading.Barrier(5)

    def take(into, end):
        go.wait()
        into.extend(taken(end))

    threads = [
        threading.Thread(target=take, args=(into, end))
        for into, end in zip(found, [queue, other_end] * 2, strict=True)
    ]
    for thread in threads:
        thread.start()
    queue.put(3, chunks)
    go.wait()
    for thread in threads:
        thread.join()
    assert sorted(token for into in found for token in into) == [(3, *chunk) for chunk in chunks]
    other_end.close()


def test_a_queue_that_was_closed_gives_nothing(queue):
    other_end = ChunkQueue(os.dup(queue.fd))
    queue.close()
    assert other_end.take() is None
    other_end.close()


def test_it_closes_its_ends_once():
    before = len(os.listdir("/proc/self/fd"))
    queue = ChunkQueue()
    queue.close()
    queue.close()
    del queue
    ChunkQueue()
    assert len(os.listdir("/proc/self/fd")) == before

"""Channel: whole messages, in order, or ChannelClosedError; never a deadlock."""

import os
import socket
import threading
import time
from contextlib import suppress

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite.vectorization.worker.channel import Channel, ChannelClosedError, LateError
from plangym_lite.vectorization.worker.messages import HEADER

LARGE = os.urandom(1 << 20) * 8  # far more than a socket buffers

messages = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 99), st.binary(max_size=300)))


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    left, right = Channel(ours), Channel(theirs, takes_fds=True)
    yield left, right
    left.close()
    right.close()


def framed(kind, request, payload):
    return HEADER.pack(len(payload), kind, request) + payload


def test_the_format_of_a_message():
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours)
        channel.send(2, 2**64 - 1, b"payload")
        assert theirs.recv(99) == framed(2, 2**64 - 1, b"payload")
        channel.close()


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_messages_arrive_in_order(pair):
    left, right = pair
    for request in range(3):
        left.send(2, request, b"x" * request)
    assert [right.receive() for _ in range(3)] == [(2, 0, b""), (2, 1, b"x"), (2, 2, b"xx")]


@given(messages, st.lists(st.integers(1, 50), min_size=1))
def test_any_cut_of_the_stream_gives_the_same_messages(sent, cuts):
    raw, theirs = socket.socketpair()
    channel = Channel(theirs)
    stream, received = b"".join(framed(*message) for message in sent), []
    with raw:
        for index in range(len(stream) + 1):
            if not stream:
                break
            size = cuts[index % len(cuts)]
            raw.send(stream[:size])
            stream = stream[size:]
            channel.read_available()
            while (message := channel.peek()) is not None:
                assert channel.peek() == message
                channel.drop()
                received.append(message)
    channel.close()
    assert received == sent


def test_large_messages_both_ways_at_once(pair):
    got = {}

    def talk(name, channel):
        channel.send(2, 1, LARGE)
        channel.send(2, 2, LARGE)
        got[name] = [channel.receive(timeout=20) for _ in range(2)]

    threads = [threading.Thread(target=talk, args=item) for item in enumerate(pair)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert got[0] == got[1] == [(2, 1, LARGE), (2, 2, LARGE)]


def test_descriptors_travel_with_their_message(pair):
    left, right = pair
    ends = os.pipe()
    left.send(2, 1, b"before")
    left.send(2, 2, b"with", fds=(ends[1],))
    left.send(2, 3, LARGE[:1000])
    os.close(ends[1])
    assert [right.receive()[1] for _ in range(3)] == [1, 2, 3]
    arrived = right.fds.popleft()
    os.write(arrived, b"hello")
    assert os.read(ends[0], 5) == b"hello"
    for fd in (ends[0], arrived):
        os.close(fd)


def test_descriptors_that_nobody_took_are_closed(pair):
    left, right = pair
    ends = os.pipe()
    left.send(2, 1, b"", fds=(ends[1],))
    os.close(ends[1])
    right.receive()
    right.close()
    assert os.read(ends[0], 1) == b""  # the last writing end is gone
    os.close(ends[0])


@pytest.mark.parametrize("timeout", [0, 0.02])
@pytest.mark.parametrize("spin", [0.0, 0.01])
def test_timeout_loses_no_message(pair, timeout, spin):
    left, right = pair
    with pytest.raises(TimeoutError):
        right.receive(timeout, spin)
    left.send(3, 7, b"late")
    assert right.receive(timeout, spin) == (3, 7, b"late")


def test_half_a_message_is_no_message():
    raw, theirs = socket.socketpair()
    channel, data = Channel(theirs), framed(3, 1, b"payload")
    with raw:
        raw.send(data[:15])
        with pytest.raises(TimeoutError):
            channel.receive(timeout=0.01)
        raw.send(data[15:])
        assert channel.receive(timeout=1) == (3, 1, b"payload")
    channel.close()


def test_what_was_said_before_the_end_is_received(pair):
    left, right = pair
    left.send(3, 1, b"last words")
    left.close()
    assert right.receive() == (3, 1, b"last words")
    with pytest.raises(ChannelClosedError):
        right.receive()


def test_a_failed_send_leaves_what_was_said_before(pair):
    left, right = pair
    left.send(3, 1, b"last words")
    left.close()
    with pytest.raises(ChannelClosedError):
        right.send(2, 1, b"anyone there?")
    assert right.receive() == (3, 1, b"last words")


def test_closed_channel(pair):
    left, _ = pair
    left.close()
    left.close()
    assert left.fileno() == -1
    with pytest.raises(ChannelClosedError):
        left.send(2, 1, b"")
    with pytest.raises(ChannelClosedError):
        left.receive()


def test_send_without_waiting(pair):
    left, right = pair
    left.send(2, 1, b"small", deadline=0.0)
    assert right.receive() == (2, 1, b"small")
    with pytest.raises(LateError, match="no room"):
        left.send(2, 2, LARGE, deadline=0.0)
    with pytest.raises(ChannelClosedError, match="half way"):
        left.send(2, 3, b"after a part of that went out", deadline=0.0)


def test_a_message_that_did_not_begin_breaks_nothing(pair):
    left, right = pair
    with suppress(LateError):
        while True:
            left.send(2, 1, b"x" * 100, deadline=time.monotonic() + 0.01)
    count = 0
    with suppress(LateError):
        while right.receive(timeout=0.05) == (2, 1, b"x" * 100):
            count += 1
    assert count > 100
    left.send(2, 2, b"there is room")
    assert right.receive() == (2, 2, b"there is room")


def test_a_message_is_there_until_it_is_dropped(pair):
    left, right = pair
    left.send(3, 1, b"one")
    left.send(3, 2, b"two")
    assert [right.await_message() for _ in range(3)] == [(3, 1, b"one")] * 3
    right.drop()
    assert right.receive() == (3, 2, b"two")
    assert right.peek() is None


def test_lengths_of_any_size_have_room_in_a_header():
    for length in (0, 1 << 32, 1 << 50):
        assert HEADER.unpack(HEADER.pack(length, 3, 1 << 60)) == (length, 3, 1 << 60)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(psutil.virtual_memory().available < 16 << 30, reason="needs 16 GB of memory")
def test_message_of_more_than_four_gigabytes(pair):
    left, right = pair
    payload = bytes((4 << 30) + 5)
    thread = threading.Thread(target=left.send, args=(3, 1, payload))
    thread.start()
    kind, request, got = right.receive(timeout=500)
    thread.join()
    assert (kind, request, len(got)) == (3, 1, len(payload))
    assert got[-5:] == payload[-5:]


def test_interrupt_while_waiting_for_a_message_breaks_nothing(pair, monkeypatch):
    left, right = pair
    with monkeypatch.context() as patch:
        patch.setattr(right, "_wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            right.receive()
    left.send(3, 1, b"whole")
    assert right.receive() == (3, 1, b"whole")


def test_interrupted_send_is_never_taken_for_a_message(pair, monkeypatch):
    left, right = pair
    with monkeypatch.context() as patch:
        patch.setattr(left, "_wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            left.send(2, 1, LARGE)
    with pytest.raises(ChannelClosedError, match="interrupted"):
        left.send(2, 2, b"next")
    left.close()
    with pytest.raises(ChannelClosedError):
        right.receive()


def test_interrupted_read_is_never_taken_for_a_message(pair, monkeypatch):
    left, right = pair
    left.send(2, 1, b"text")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "recv_fds", interrupt)
        with pytest.raises(KeyboardInterrupt):
            right.receive()
    with pytest.raises(ChannelClosedError, match="interrupted"):
        right.receive()

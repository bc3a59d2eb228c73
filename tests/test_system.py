"""What this process may use of the machine, and signals that arrive at the wrong moment."""

import os
import signal
import subprocess
import sys
import time

import pytest

from plangym_lite.system import HELD, interrupts_held, usable_cores


def test_usable_cores():
    assert 1 <= usable_cores() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_taken_away_do_not_count():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from plangym_lite.system import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "1", done.stderr


# ---- signals held --------------------------------------------------------------------------------


class AlarmError(Exception):
    pass


@pytest.fixture
def raising():
    """A handler of SIGUSR1 that raises, as an alarm's often does."""

    def throw(*args):
        raise AlarmError

    before = signal.signal(signal.SIGUSR1, throw), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGINT, before[1])


@pytest.mark.parametrize("number", range(1, 5))
def test_handlers_come_back_whenever_one_of_them_raises(raising, monkeypatch, number):
    """The signal arrives after each of the changes of handlers in turn."""
    kept = {each: signal.getsignal(each) for each in HELD}
    swap, calls = signal.signal, 0

    def counted(*args):
        nonlocal calls
        before = swap(*args)
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGUSR1)
        return before

    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", counted)
        with pytest.raises(AlarmError), interrupts_held():
            os.kill(os.getpid(), signal.SIGUSR1)
    assert {each: signal.getsignal(each) for each in HELD} == kept
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_signal_that_a_finalizer_held_is_sent_again(raising):
    with interrupts_held(send_again=True):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        time.sleep(5)

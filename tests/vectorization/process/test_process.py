"""ExternalProcess: one child, its life, and the verbs that are spoken to it."""

import gc
import multiprocessing
import os
import resource
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from plangym_lite import ClosedError, WorkerDiedError
from plangym_lite.vectorization import ExternalProcess, ParallelEnv
from plangym_lite.vectorization.worker.channel import Channel
from tests.same import assert_same
from tests.toys import RIGHT, ToyEnv
from tests.vectorization.helpers import is_running, wait_until
from tests.vectorization.worker.probe import SLEEPS, Probe, make_probe


def sleepy():
    """A toy that takes a long while to build."""
    time.sleep(60)
    return ToyEnv()


@pytest.fixture
def process():
    process = ExternalProcess(make_probe)
    yield process
    process.close()


# ---- start ---------------------------------------------------------------------------------------


def test_constructor_must_be_callable():
    with pytest.raises(TypeError, match="callable"):
        ExternalProcess("CartPole-v1")


def test_unknown_start_method():
    with pytest.raises(ValueError, match="fork"):
        ExternalProcess(ToyEnv, start_method="teleport")


def test_start_and_wait_separately():
    processes = [ExternalProcess(ToyEnv, start=False) for _ in range(3)]
    assert [process.pid for process in processes] == [None] * 3
    for process in processes:
        process.start(wait_to_start=False)
    for process in processes:
        process.wait_start(timeout=20)
        process.wait_start()
        assert process.is_alive()
        process.close()


def test_use_before_start():
    process = ExternalProcess(ToyEnv, start=False)
    for use in (process.get_state, process.wait_start, process.fileno):
        with pytest.raises(RuntimeError, match="not started"):
            use()
    assert not process.is_alive()
    process.close()
    with pytest.raises(ClosedError):
        process.start()


def test_first_use_waits_for_the_start():
    process = ExternalProcess(ToyEnv, start=False)
    process.start(wait_to_start=False)
    assert process.action_space.n == 3
    assert process.step(RIGHT).obs[0] == 3
    process.close()


def test_start_twice(process):
    with pytest.raises(RuntimeError, match="started before"):
        process.start()
    assert process.call("count")() == 1


def test_start_that_hangs_can_be_given_up():
    process = ExternalProcess(sleepy, start=False)
    process.start(wait_to_start=False)
    with pytest.raises(TimeoutError):
        process.wait_start(timeout=0.05)
    start = time.monotonic()
    process.close(timeout=0.1)
    assert time.monotonic() - start < 3


def test_constructor_that_cannot_travel():
    lock = threading.Lock()
    with pytest.raises(TypeError, match="lock"):
        ExternalProcess(lambda: lock)


def test_interrupted_restart_can_be_repeated(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    process = ExternalProcess(ToyEnv)
    with monkeypatch.context() as patch:
        patch.setattr("plangym_lite.vectorization.process.launch.start_process", interrupt)
        with pytest.raises(KeyboardInterrupt):
            process.restart()
    with pytest.raises(WorkerDiedError, match="interrupted"):
        process.get_state()
    process.restart()
    assert process.step(RIGHT).obs[0] == 3
    process.close()


def test_interrupted_wait_for_the_start_can_be_repeated(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    process = ExternalProcess(ToyEnv, start=False)
    process.start(wait_to_start=False)
    state = ToyEnv().step(RIGHT, return_state=True).state
    for place in ("load", "Channel.await_message", "Channel.drop"):
        module = "worker.channel" if "." in place else "process.process"
        with monkeypatch.context() as patch:
            patch.setattr(f"plangym_lite.vectorization.{module}.{place}", interrupt)
            with pytest.raises(KeyboardInterrupt):
                process.wait_start()
        process.set_state(state)
        assert_same(state, process.get_state())
        process.replace(state)
        assert_same(state, process.get_state())
        process.replace(state)
    process.close()


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_death_while_starting(how):
    def constructor():
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(7)

    with pytest.raises(WorkerDiedError, match="starting") as caught:
        ExternalProcess(constructor)
    assert ("SIGKILL" if how == "kill" else "exit code 7") in str(caught.value)


def test_failed_restart_can_be_repeated(tmp_path):
    flag = tmp_path / "flag"

    def constructor():
        if flag.exists():
            raise RuntimeError("no licence left")
        return ToyEnv()

    process = ExternalProcess(constructor)
    flag.touch()
    with pytest.raises(RuntimeError, match="no licence left"):
        process.restart()
    with pytest.raises(WorkerDiedError, match="no licence left"):
        process.get_state()
    flag.unlink()
    process.restart()
    assert process.step(RIGHT).obs[0] == 3
    process.close()


def test_environment_that_is_no_plan_env():
    process = ExternalProcess(dict)
    assert process.spec is None
    process.call("update", {"a": 1}).result()
    assert process.call("get", "a")() == 1
    process.close()


# ---- verbs ---------------------------------------------------------------------------------------


def test_verbs_with_and_without_blocking(process):
    env = make_probe()
    state = env.get_state()
    verbs = {
        "reset": (),
        "get_state": (),
        "set_state": (state,),
        "step": (RIGHT, state, 2),
        "step_batch": ([RIGHT, 1], [state, state], [1, 2]),
    }
    for name, arguments in verbs.items():
        if name == "reset":
            expected = env.reset(return_state=False)
        else:
            expected = getattr(env, name)(*arguments)
        assert_same(expected, getattr(process, name)(*arguments))
        assert_same(expected, getattr(process, name)(*arguments, blocking=False)())
    assert len(process.reset(return_state=True)) == 3
    assert len(process.step(RIGHT, return_state=True)) == 6


def test_render(process):
    assert_same(make_probe().render(), process.render())
    assert_same(make_probe().render(), process.render(mode="rgb_array", blocking=False)())
    process.call("count")
    with pytest.raises(NotImplementedError, match="human"):
        process.render(mode="human")


def test_spaces_are_asked_for_once(process, monkeypatch):
    monkeypatch.setattr(process, "_request", lambda *args: pytest.fail("it asked again"))
    assert process.action_space == make_probe().action_space
    assert process.observation_space == make_probe().observation_space


def test_attributes(process):
    assert process.answer == 42
    assert process.sample_action() in range(3)
    assert not hasattr(process, "no_such_name")
    assert not hasattr(process, "_secret")


def test_pid(process):
    assert process.pid != os.getpid()
    assert is_running(process.pid)
    process.close()
    assert not is_running(process.pid)
    assert not process.is_alive()


# ---- ends ----------------------------------------------------------------------------------------


def test_promise_that_was_open_at_close(process):
    answered, pending = process.call("count"), process.call("trouble", SLEEPS)
    assert answered() == 1
    process.close(timeout=0)
    assert answered() == 1
    with pytest.raises(ClosedError):
        pending()


def test_promise_of_before_a_restart(process):
    pending = process.call("trouble", SLEEPS)
    process.restart()
    assert process.call("count")() == 1
    with pytest.raises(WorkerDiedError, match="replaced"):
        pending()


def test_answers_that_came_before_the_death_are_kept(process):
    first = process.call("count")
    assert process.call("count")() == 2
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(process.pid))
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        process.call("count")
    assert first() == 1


class Interrupted:
    """Raises a KeyboardInterrupt before or after the first call of a method."""

    def __init__(self, patch, owner, name, when):
        self.method, self.when = getattr(owner, name), when
        patch.setattr(owner, name, lambda *args: self(*args))

    def __call__(self, *args):
        when, self.when = self.when, None
        if when == "before":
            raise KeyboardInterrupt
        result = self.method(*args)
        if when == "after":
            raise KeyboardInterrupt
        return result


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", [(Channel, "peek"), (Channel, "drop"), (Channel, "_wait")])
def test_interrupt_at_any_moment_loses_no_answer(process, monkeypatch, place, when):
    first, second = process.call("count"), process.call("count")
    with monkeypatch.context() as patch:
        Interrupted(patch, *place, when)
        with pytest.raises(KeyboardInterrupt):
            [
                promise() for promise in (first, process.call("trouble", SLEEPS))
            ]  # the 2nd is waited for
    assert [first(), second(), process.call("count")()] == [1, 2, 3]


def test_interrupted_message_ends_the_process_and_says_so(process, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"{Channel.__module__}.memoryview", interrupt, raising=False)
        with pytest.raises(KeyboardInterrupt):
            process.call("count")
    with pytest.raises(WorkerDiedError, match="interrupt cut a message"):
        process.call("count")()
    process.restart()
    assert process.call("count")() == 1


def test_death_says_what_was_going_on(process):
    pending = process.call("trouble", SLEEPS)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(WorkerDiedError) as caught:
        pending()
    for part in (str(process.pid), "exit code -9", "SIGKILL", "'trouble'"):
        assert part in str(caught.value)


def test_close_of_a_child_in_a_long_call_is_bounded():
    process = ExternalProcess(lambda: ToyEnv(sleep_at=RIGHT, sleep_for=60))
    process.step(RIGHT, blocking=False)
    start = time.monotonic()
    process.close(timeout=0.2)
    assert time.monotonic() - start < 3
    assert not is_running(process.pid)


def test_close_with_a_large_answer_under_way():
    process = ExternalProcess(make_probe)
    promises = [process.call("echo", np.zeros(1 << 20)) for _ in range(2)]
    start = time.monotonic()
    process.close()
    assert time.monotonic() - start < 3
    assert len(promises) == 2


def test_close_with_no_room_left_in_the_pipe():
    process = ExternalProcess(lambda: ToyEnv(sleep_at=RIGHT, sleep_for=60))
    process.step(RIGHT, blocking=False)
    with suppress(BlockingIOError):
        while True:
            process._channel._sock.send(b"x" * 1000)
    start = time.monotonic()
    process.close(timeout=0.2)
    assert time.monotonic() - start < 3


def test_close_survives_an_environment_that_cannot_be_closed():
    class Stuck(ToyEnv):
        def close_engine(self):
            time.sleep(60)

    process = ExternalProcess(Stuck)
    start = time.monotonic()
    process.close(timeout=0.2)
    assert time.monotonic() - start < 3


def test_forgotten_process_ends():
    process = ExternalProcess(Probe)
    pid = process.pid
    del process
    gc.collect()
    assert wait_until(lambda: not is_running(pid))


def test_ended_process_holds_nothing(process):
    def held():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = held()
    others = [ExternalProcess(ToyEnv) for _ in range(3)]
    assert held() > before
    for other in others:
        other.close()
    assert held() == before


def test_descriptors_are_closed_over_many_cycles():
    def cycle():
        process = ExternalProcess(ToyEnv)
        process.step(RIGHT)
        process.close()
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    first = cycle()
    assert [cycle() for _ in range(10)][-1] == first


def test_copies_and_pickles_do_not_recurse(process):
    for name in ("__deepcopy__", "__getstate_manages_dict__", "_anything"):
        assert not hasattr(process, name)


def test_worker_with_too_many_files_open_says_so():
    def constructor():
        if multiprocessing.parent_process() is not None:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), hard))  # so many, and no more
        return ToyEnv()

    with ParallelEnv(constructor, n_workers=1) as env:
        for _ in range(2):
            with pytest.raises(OSError, match="too many files open"):
                env.step_batch([RIGHT] * 9)
        assert env.batch_env[0].step(RIGHT).obs[0] == 3


def test_starting_from_many_threads():
    processes, threads = [], []
    for _ in range(4):
        thread = threading.Thread(target=lambda: processes.append(ExternalProcess(ToyEnv)))
        threads.append(thread)
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [process.step(RIGHT).obs[0] for process in processes] == [3] * 4
    for process in processes:
        process.close()

"""What every worker keeps whose environment is not in this process; see ``suite.py``."""

from __future__ import annotations

import sys
import threading

from plangym_lite.errors import RemoteError, WorkerDiedError
from tests.toys import ToyError
from tests.vectorization.worker.probe import (
    EXITS,
    SLEEPS,
    raises,
)
from tests.vectorization.worker.suite import WorkerSuite

__all__ = ["RemoteWorkerSuite"]


class RemoteWorkerSuite(WorkerSuite):
    """What a worker keeps whose environment is not in this process."""

    told_of_exit = "exit code 3"  # how an ``os._exit(3)`` is named
    answers_outlive_worker = True  # whether one given just before a death always arrives

    def test_cause_is_the_other_sides_traceback(self) -> None:
        with self.working() as worker:
            with raises(ToyError) as caught:
                worker.call("fail", "a reason")()
            cause = caught[0].__cause__
            assert isinstance(cause, RemoteError)
            assert "in fail" in str(cause)
            assert "ToyError: a reason" in str(cause)

    def test_environment_that_would_end_the_program(self) -> None:
        with self.working() as worker:
            for name, said in (("leave", "SystemExit: leaving"), ("interrupt", "no key was")):
                with raises(RemoteError) as caught:
                    worker.call(name)()
                assert said in str(caught[0])
                assert f"in {name}" in str(caught[0])
            assert worker.call("count")() == 1

    def test_constructor_that_would_end_the_program(self) -> None:
        with raises(RemoteError) as caught:
            self.make_worker(lambda: sys.exit("no licence"))
        assert "SystemExit: no licence" in str(caught[0])

    def test_result_that_cannot_be_pickled(self) -> None:
        with self.working() as worker:
            with raises(TypeError):
                worker.call("give_lock")()
            assert worker.call("count")() == 1

    def test_argument_that_cannot_be_pickled(self) -> None:
        with self.working() as worker:
            with raises(TypeError):
                worker.call("echo", threading.Lock())
            assert worker.call("count")() == 1

    def test_late_answer_answers_nothing_else(self) -> None:
        with self.working() as worker:
            late = worker.call("trouble", SLEEPS)
            with raises(TimeoutError):
                late.result(timeout=0.02)
            assert not late.done()
            assert worker.call("echo", "later question")() == ("later question", {})
            assert late() == SLEEPS

    def test_death_and_restart(self) -> None:
        with self.working() as worker:
            answered, lost = worker.call("count"), worker.call("trouble", EXITS)
            for _ in range(2):
                with raises(WorkerDiedError) as caught:
                    lost()
                assert "trouble" in str(caught[0])
                assert self.told_of_exit in str(caught[0])
            if self.answers_outlive_worker:
                assert answered() == 1
            with raises(WorkerDiedError):
                worker.call("count")
            worker.restart()
            assert worker.call("count")() == 1
            with raises(WorkerDiedError):
                lost()

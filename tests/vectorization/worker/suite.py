"""What every worker keeps, wherever it runs: one suite for all of them.

Inherit :class:`WorkerSuite` in a test file and override ``make_worker``; where the worker is not
in this process, inherit :class:`~tests.vectorization.worker.remote_suite.RemoteWorkerSuite`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from plangym_lite.errors import ClosedError, RemoteError
from plangym_lite.nested import assert_same
from plangym_lite.transitions import STEPS, Form
from plangym_lite.validation import prepare_rows
from plangym_lite.vectorization.worker.messages import load_error
from plangym_lite.vectorization.worker.worker import Worker
from tests.toys import NestedToy, OpaqueToy, ToyEnv, ToyError
from tests.vectorization.worker.probe import (
    OddError,
    Probe,
    make_failing_toy,
    make_probe,
    raises,
    run_queue,
    run_rows,
    toy_of,
)

__all__ = ["WorkerSuite"]


class WorkerSuite:
    """To test a worker of your own, inherit this and override ``make_worker``.

    ::

        class TestMyWorker(WorkerSuite):
            def make_worker(self, constructor):
                return MyWorker(constructor)

    A worker in another process keeps what :class:`RemoteWorkerSuite` says as well.
    """

    def make_worker(self, constructor: Callable[[], Any]) -> Worker:
        """A worker that has started, with the environment that ``constructor`` makes."""
        raise NotImplementedError(f"{type(self).__name__} must override make_worker")

    @contextmanager
    def working(self, constructor: Callable[[], Any] = make_probe) -> Iterator[Worker]:
        """A worker that is closed at the end."""
        worker = self.make_worker(constructor)
        try:
            yield worker
        finally:
            worker.close()

    # ---- calls and promises -------------------------------------------------------------------

    def test_call_carries_arguments_and_results(self) -> None:
        with self.working() as worker:
            array = np.arange(3)
            got = worker.call("echo", 1, "two", array, name="three", timeout=4)()
            assert_same((1, "two", array, {"name": "three", "timeout": 4}), got)

    def test_large_arguments_and_results(self) -> None:
        large = np.arange(1 << 19)
        with self.working() as worker:
            promises = [worker.call("echo", large) for _ in range(3)]
            for promise in promises:
                assert_same((large, {}), promise())

    def test_promise_can_be_asked_twice(self) -> None:
        with self.working() as worker:
            promise = worker.call("count")
            assert [promise(), promise.result(), promise.result(timeout=1)] == [1, 1, 1]
            assert promise.done()

    def test_dropped_promise_is_harmless(self) -> None:
        with self.working() as worker:
            for _ in range(5):
                worker.call("count")
            worker.call("fail", "nobody hears this")
            assert worker.call("count")() == 6

    def test_results_in_any_order(self) -> None:
        with self.working() as worker:
            promises = [worker.call("echo", index) for index in range(5)]
            for index in (3, 0, 4, 1, 2):
                assert promises[index]() == (index, {})

    # ---- names --------------------------------------------------------------------------------

    def test_access_gives_values(self) -> None:
        with self.working() as worker:
            assert worker.access("answer") == 42
            assert worker.access("action_space").n == 3

    def test_methods_come_as_bound_calls(self) -> None:
        with self.working() as worker:
            count = worker.access("count")
            assert [count(), count()] == [1, 2]
            assert worker.access("echo")(1, key=2) == (1, {"key": 2})
            with raises(ToyError):
                worker.access("fail")()

    def test_private_names_never_travel(self) -> None:
        with self.working() as worker:
            for name in ("_secret", "_make_trouble", "__class__", "__dict__"):
                with raises(AttributeError):
                    worker.access(name)
                with raises(AttributeError):
                    worker.call(name)()
            assert worker.call("count")() == 1

    def test_unknown_names(self) -> None:
        with self.working() as worker:
            with raises(AttributeError):
                worker.access("no_such_name")
            with raises(AttributeError):
                worker.call("no_such_name")()
            assert worker.call("count")() == 1

    # ---- errors -------------------------------------------------------------------------------

    def test_error_arrives_as_itself(self) -> None:
        with self.working() as worker:
            promise = worker.call("fail", "a reason", 3)
            for _ in range(2):
                with raises(ToyError) as caught:
                    promise()
                assert caught[0].args == ("a reason", 3)
            assert worker.call("count")() == 1

    def test_error_leaves_other_answers_alone(self) -> None:
        with self.working() as worker:
            before, error, after = (worker.call(name) for name in ("count", "fail", "count"))
            with raises(ToyError):
                error()
            assert (after(), before()) == (2, 1)

    def test_error_that_cannot_be_pickled(self) -> None:
        with self.working() as worker:
            with raises(OddError, RemoteError) as caught:
                worker.call("fail_oddly")()
            assert "a text" in str(caught[0])
            assert worker.call("count")() == 1

    def test_wrong_arguments(self) -> None:
        with self.working() as worker:
            with raises(TypeError):
                worker.call("count", "one too many")()
            assert worker.call("count")() == 1

    # ---- constructors -------------------------------------------------------------------------

    def test_constructor_may_be_a_lambda_or_closure(self) -> None:
        size = 5
        with self.working(lambda: ToyEnv(size=size)) as worker:
            assert worker.access("size") == size

        class Local(ToyEnv):
            def cells(self) -> int:
                return self.size

        with self.working(Local) as worker:
            assert worker.call("cells")() == 8

    def test_start_up_error_arrives_as_itself(self) -> None:
        with raises(ValueError) as caught:
            self.make_worker(lambda: ToyEnv(size=1))
        assert "size must be at least 4" in str(caught[0])

    # ---- rows ---------------------------------------------------------------------------------

    def test_rows_equal_the_local_environment(self) -> None:
        for kind in (ToyEnv, OpaqueToy, NestedToy):
            constructor = toy_of(kind)
            with self.working(constructor) as worker, constructor() as env:
                actions = [env.sample_action() for _ in range(12)]
                states = [env.step(action, env.get_state())[0] for action in actions]
                env.reset(seed=3)
                rows = prepare_rows(env.batch_spec, actions, states, range(1, 13))
                before = worker.call("get_state")()
                assert_same(env.run_rows(rows, STEPS), run_rows(worker, env, rows))
                assert_same(before, worker.call("get_state")())

    def test_rollouts_equal_the_local_environment(self) -> None:
        for kind in (ToyEnv, OpaqueToy, NestedToy):
            constructor = toy_of(kind)
            with self.working(constructor) as worker, constructor() as env:
                actions = [[env.sample_action() for _ in range(9)] for _ in range(12)]
                states = [env.step(row[0], env.get_state())[0] for row in actions]
                rows = prepare_rows(env.batch_spec, actions, states, 1, has_steps=True)
                for observs in ("last", "all", None):
                    form = Form(steps=9, observs=observs)
                    assert_same(env.run_rows(rows, form), run_rows(worker, env, rows, form))

    def test_row_that_fails(self) -> None:
        with self.working(make_failing_toy) as worker, make_failing_toy() as env:
            states = [env.get_state()] * 3
            with raises(ToyError):
                run_rows(worker, env, prepare_rows(env.batch_spec, [2, 0, 2], states, 1))
            rows = prepare_rows(env.batch_spec, [2, 1, 2], states, 1)
            assert_same(env.run_rows(rows, STEPS), run_rows(worker, env, rows))

    def test_rows_that_it_takes(self) -> None:
        constructor = toy_of(ToyEnv)
        with self.working(constructor) as worker, constructor() as env:
            if not worker.takes_chunks:
                return
            actions = [env.sample_action() for _ in range(12)]
            states = [env.step(action, env.get_state())[0] for action in actions]
            rows = prepare_rows(env.batch_spec, actions, states, range(1, 13))
            for _ in range(3):  # each with a queue of its own
                got, result = run_queue(worker, env, rows)
                assert list(result.chunks) == [(row, row + 1) for row in range(12)]
                assert result.failure is None
                assert_same(env.run_rows(rows, STEPS), got)
            assert_same(env.run_rows(rows, STEPS), run_rows(worker, env, rows))

    def test_row_that_fails_once_taken(self) -> None:
        with self.working(make_failing_toy) as worker, make_failing_toy() as env:
            if not worker.takes_chunks:
                return
            actions, states = [2, 2, 2, 2, 2, 0, 0, 2, 2], [env.get_state()] * 9
            rows = prepare_rows(env.batch_spec, actions, states, 1)
            _, result = run_queue(worker, env, rows)
            assert list(result.chunks) == [(row, row + 1) for row in range(5)]
            assert result.failure is not None
            start, stop, error = result.failure
            assert (start, stop, type(load_error(error))) == (5, 6, ToyError)
            rows = prepare_rows(env.batch_spec, [2, 1, 2], states[:3], 1)
            assert_same(env.run_rows(rows, STEPS), run_queue(worker, env, rows)[0])

    # ---- ends ---------------------------------------------------------------------------------

    def test_restart_gives_a_fresh_environment(self) -> None:
        with self.working() as worker:
            worker.call("count")()
            worker.restart()
            assert worker.call("count")() == 1
            assert worker.spec is not None

    def test_replaced_worker_is_in_the_state_given(self) -> None:
        with self.working() as worker:
            worker.call("count")()
            state = worker.call("step", 2, None, 1, True)().state
            for there in (state, None):
                worker.replace(there)
                worker.wait_start()
                assert worker.call("count")() == 1
                assert (worker.call("get_state")() == state).all() == (there is not None)

    def test_close_closes_the_environment(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            farewell = os.path.join(folder, "farewell")
            worker = self.make_worker(lambda: Probe(farewell=farewell))
            assert not os.path.exists(farewell)
            worker.close()
            assert os.path.exists(farewell)

    def test_close_may_be_called_again(self) -> None:
        worker = self.make_worker(make_probe)
        worker.close()
        worker.close()

    def test_calls_after_close(self) -> None:
        worker = self.make_worker(make_probe)
        worker.close()
        for use in (
            lambda: worker.call("count"),
            lambda: worker.access("answer"),
            worker.restart,
        ):
            with raises(ClosedError):
                use()

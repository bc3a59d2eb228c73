"""EnvGroup: several workers, each with an environment of its own that stays where its steps led.

Both dialects of vector environments, Gymnasium's and stable-baselines', are spoken by way of this
class. Unlike a :class:`~plangym_lite.BatchEnv`, whose rows carry their state
and can be run again anywhere, it never repeats a step: a worker that dies takes its episode with
it. The others' answers are taken first, the error says which worker it was, and the next ``reset``
or ``set_state`` puts a fresh worker in its place.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from plangym_lite.errors import (
    AlreadySteppingError,
    ClosedError,
    InvalidBatchError,
    NotSteppingError,
    WorkerDiedError,
)
from plangym_lite.system import add_note
from plangym_lite.transitions import (
    BatchSpec,
    Form,
    Rows,
    empty_columns,
    pack,
    write_row,
)
from plangym_lite.validation import check_actions, check_state
from plangym_lite.vectorization.memory.blocks import Block, BlockPool
from plangym_lite.vectorization.memory.layout import (
    form_of,
    has_only_arrays,
    heap_of,
    put_pickled_leaves,
)
from plangym_lite.vectorization.memory.results import take_columns
from plangym_lite.vectorization.worker.handler import RowsResult
from plangym_lite.vectorization.worker.worker import (
    CLOSE_TIMEOUT,
    Promise,
    Worker,
    close_all,
    common_spec,
    known_to_all,
)

__all__ = ["EnvGroup", "Indices", "Lost"]

Indices = int | slice | Iterable[int] | None
"""Which workers: ``None`` for all, a number, a slice or several numbers."""


class Lost(Promise):
    """The answer of a worker that was dead before it was asked."""

    def __init__(self, error: WorkerDiedError) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        raise self._error


STEP = Form(states=False)
NO_STATE = ((0,), np.dtype(np.uint8))  # a row of a vector environment carries no state


class EnvGroup:
    """Workers with one environment each, stepped together.

    Args:
        workers: what they make is a :class:`~plangym_lite.vector.worker_env.WorkerEnv`.
        shared_limit: bytes of shared memory; see ``BlockPool``.
    """

    def __init__(self, workers: Sequence[Worker], shared_limit: int | None = None) -> None:
        self.workers = list(workers)
        self.lost: dict[int, WorkerDiedError] = {}  # those that were found dead
        self.spec = common_spec(self.workers)
        shape, dtype = NO_STATE
        stateless = dataclasses.replace(self.spec, state_shape=shape, state_dtype=dtype)
        self._row_spec: BatchSpec = stateless
        self.takes_arrays = has_only_arrays(self.spec.action_space)
        self._pool = BlockPool(stateless, shared_limit, rounds_up=False)
        self._pool.on_drop = [worker.detach for worker in self.workers]
        self._filler = np.zeros((len(self), *shape), dtype), np.ones(len(self), np.int64)
        self._seeds: list[list[int | None]] | None = None
        for worker in self.workers:
            worker.rows_name = "step"
        self._under_way: tuple[list[Promise], Block, bool] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self.workers)

    @classmethod
    def of(cls, workers: Sequence[Worker], shared_limit: int | None = None) -> EnvGroup:
        """The workers as one; if their environments do not fit each other, they are closed."""
        try:
            return cls(workers, shared_limit)
        except BaseException:
            close_all(workers, timeout=1.0)
            raise

    # ---- calls ---------------------------------------------------------------------------------

    def ask(self, name: str, *args: Any, indices: Indices = None) -> list[Any]:
        """Call a method of those asked, with the same arguments; results in that order."""
        chosen = self.chosen(indices)
        return self.ask_each(name, [args] * len(chosen), chosen)

    def ask_each(self, name: str, args: Sequence[tuple[Any, ...]], indices: Indices) -> list[Any]:
        """The same, each with arguments of its own."""
        return self.end_ask(self.begin_ask(name, args, indices))

    def begin_ask(self, name: str, args: Sequence[tuple[Any, ...]], indices: Indices) -> Any:
        """Send the calls of ``ask_each``; ``end_ask`` takes the answers."""
        self.check_idle()
        chosen = self.chosen(indices)
        return chosen, [self.send(i, name, *given) for i, given in zip(chosen, args, strict=True)]

    def end_ask(self, asked: Any, timeout: float | None = None) -> list[Any]:
        """Wait for what ``begin_ask`` asked."""
        chosen, promises = asked
        return self.gather(chosen, promises, timeout)

    def chosen(self, indices: Indices) -> list[int]:
        """``None``, a number, a slice or several numbers as a list of numbers from 0 on."""
        everyone = range(len(self))
        if indices is None:
            return list(everyone)
        if isinstance(indices, slice):
            return list(everyone[indices])
        try:
            numbers: list[Any] = list(indices)  # type: ignore[arg-type]
        except TypeError:
            numbers = [indices]
        try:
            return [everyone[number] for number in numbers]
        except (IndexError, TypeError) as error:
            raise type(error)(f"{indices!r} does not index {len(self)} environments") from None

    def send(self, index: int, name: str, *args: Any) -> Promise:
        """Call a method of one worker; if it is dead, the promise will say so."""
        try:
            return self.workers[index].call(name, *args)
        except WorkerDiedError as error:
            return Lost(error)

    def gather(
        self, indices: Iterable[int], promises: Sequence[Promise], timeout: float | None = None
    ) -> list[Any]:
        """All results; if there are errors, the first of them, once every reply was taken."""
        deadline = None if timeout is None else time.monotonic() + timeout
        results: list[Any] = []
        errors: list[Exception] = []
        for index, promise in zip(indices, promises, strict=True):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                results.append(promise.result(left))
            except WorkerDiedError as error:
                self.lost[index] = WorkerDiedError(f"environment {index}: {error}")
                errors.append(self.lost[index])
            except Exception as error:
                if isinstance(error, TimeoutError) and not promise.done():
                    raise TimeoutError(
                        f"environment {index} has not answered within {timeout} s"
                    ) from None
                add_note(error, f"in environment {index}")
                errors.append(error)
        if errors:
            raise errors[0]
        return results

    # ---- steps --------------------------------------------------------------------------------

    @property
    def is_stepping(self) -> bool:
        """Whether a step was begun whose result was not taken."""
        return self._under_way is not None

    def begin_step(self, actions: Any) -> None:
        """Have every environment step.

        Raises:
            AlreadySteppingError: a step is under way.
            InvalidBatchError: not one valid action for each environment; nothing was run.
            WorkerDiedError: a worker was lost before; nothing was run.
        """
        self.check_idle()
        for error in self.lost.values():
            raise WorkerDiedError(f"{error}; reset() puts a fresh worker there") from error
        if self.takes_arrays:
            actions = check_actions(self.spec.action_space, actions)
        if len(actions) != len(self):
            raise InvalidBatchError(f"{len(actions)} actions for {len(self)} environments")
        form = form_of(STEP, self.spec.action_space, actions)
        rows = Rows(actions, *self._filler)
        heap = heap_of(self._row_spec, form, rows, known_to_all(self.workers))
        block, may_lease = self._pool.acquire(len(self), form, len(heap.data) if heap else 0)
        block.columns.fill(rows, heap)
        promises = []
        for index, worker in enumerate(self.workers):
            try:
                promises.append(worker.run_rows(block, index, index + 1))
            except WorkerDiedError as error:
                promises.append(Lost(error))
        block.outstanding.extend(promises)
        self._under_way = promises, block, may_lease

    def end_step(self, timeout: float | None = None) -> Any:
        """Take the results of the step under way, a ``StepBatch``; its arrays are yours.

        Raises:
            NotSteppingError: no step is under way.
            TimeoutError: not all within ``timeout`` seconds; the step goes on, ask again.
            WorkerDiedError: a worker died; the others' step is done.
            Exception: what an environment raised; the others' step is done.
        """
        if self._under_way is None:
            raise NotSteppingError("no step is under way: call step_async first")
        promises, block, may_lease = self._under_way
        try:
            answers = self.gather(range(len(self)), promises, timeout)
        except BaseException:
            if all(promise.done() for promise in promises):
                self._under_way = None
            raise
        self._under_way, block.outstanding = None, []
        results = [RowsResult(*answer) for answer in answers]
        batch = take_columns(block, len(self), may_lease)
        for index, result in enumerate(results):
            if result.pickled:
                put_pickled_leaves(batch, index, index + 1, result.pickled)
        return pack(self._row_spec, batch, [result.infos[0] for result in results])

    def check_idle(self) -> None:
        """Raise if a step is under way or all was closed."""
        if self._closed:
            raise ClosedError("the environments were closed: make new ones")
        if self._under_way is not None:
            raise AlreadySteppingError("a step is under way: call step_wait first")

    def finish_step(self, timeout: float | None = None) -> None:
        """Let a step under way end; nobody wants its result."""
        if self._under_way is not None:
            with suppress(Exception):
                self.end_step(timeout)
            self._under_way = None

    # ---- everything else ----------------------------------------------------------------------

    def reset(
        self,
        seeds: Sequence[int | None],
        options: Sequence[dict[str, Any] | None],
        chosen: np.ndarray | None = None,
    ) -> tuple[Any, list[dict[str, Any]]]:
        """Begin episodes, all or the ``chosen`` ones; return ``(observs, infos)`` of all.

        A step under way is ended first. Workers that were lost are replaced.
        """
        self.finish_step()
        self.check_idle()
        everyone = range(len(self))
        mask = np.ones(len(self), bool) if chosen is None else chosen
        self.replace_lost(np.flatnonzero(mask).tolist())
        promises = [
            self.send(index, "reset", seeds[index], options[index], chosen is None)
            if mask[index]
            else self.send(index, "observe")
            for index in everyone
        ]
        results = self.gather(everyone, promises)
        out = empty_columns(self._row_spec, len(self), STEP)
        infos: list[dict[str, Any]] = []
        for index, result in enumerate(results):
            obs, info = result if mask[index] else (result, {})
            if obs is None:
                raise RuntimeError(f"environment {index} was never reset: reset all of them first")
            write_row(out.observs, index, obs)
            infos.append(info)
        return pack(self._row_spec, out, infos).observs, infos

    def seed(self, seeds: Sequence[int | None]) -> list[list[int | None]]:
        """Deal seeds to the environments in turn: number ``i`` gets ``seeds[i::n]``.

        Each uses its own one after another and over again, one an episode.
        """
        if len(seeds) < len(self):
            raise ValueError(f"{len(seeds)} seeds for {len(self)} environments: give one each")
        self.finish_step()
        dealt = [list(seeds[index :: len(self)]) for index in range(len(self))]
        self.ask_each("keep_seeds", [(own,) for own in dealt], None)
        self._seeds = dealt
        return dealt

    def get_state(self) -> Any:
        """The states of all environments: ``[n, S]``, or ``[n]`` of objects."""
        states = self.ask("get_state")
        if self.spec.state_shape is not None:
            return np.stack(states)
        column = np.empty(len(self), object)
        for index, state in enumerate(states):
            column[index] = state
        return column

    def set_state(self, states: Sequence[Any], indices: Indices = None) -> list[bool]:
        """Put the environments asked for, all by default, into ``states``, one each.

        Workers that were lost are replaced. Return which states are ends of episodes.
        """
        self.check_idle()
        chosen = self.chosen(indices)
        if len(states) != len(chosen):
            raise InvalidBatchError(f"{len(states)} states for {len(chosen)} environments")
        for index, state in zip(chosen, states, strict=True):
            check_state(self.spec, state, f"the state of environment {index}")
        self.replace_lost(chosen)
        return self.ask_each("set_state", [(state,) for state in states], chosen)

    def replace_lost(self, indices: Iterable[int]) -> None:
        """Put fresh workers where some died, with the seeds that they had."""
        for index in indices:
            if index in self.lost:
                self.workers[index].restart()
                if self._seeds is not None:
                    self.workers[index].call("keep_seeds", self._seeds[index]).result()
                del self.lost[index]

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take the result of a step under way, then close every environment. May be repeated."""
        if self._closed:
            return
        self.finish_step(timeout)
        self._closed = True
        close_all(self.workers, timeout)
        self._pool.on_drop = []
        self._pool.close()

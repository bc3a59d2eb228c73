"""EnvGroup: several workers, each with one environment that keeps its current state.

The vector environments of Gymnasium and stable-baselines are built on it. The rows of a
:class:`~plangym_lite.BatchEnv` carry their state and can run again; here no step is repeated, and
the episode of a worker that dies is lost. The other answers are collected first, the error names
the worker, and the next ``reset`` or ``set_state`` replaces it.

At most one call is pending: ``begin_step``, ``begin_reset`` or ``begin_call`` begins it, and
``end`` takes its result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from plangym_lite.errors import AnswerTimeoutError, InvalidBatchError, WorkerDiedError
from plangym_lite.system import one_at_a_time
from plangym_lite.transitions import BatchSpec, Form, Rows, empty_columns, pack, write_row
from plangym_lite.validation import check_actions, check_state, check_timeout
from plangym_lite.vector.calls import Calls
from plangym_lite.vector.conversion import Indices, chosen_numbers
from plangym_lite.vector.spaces import ObservationMode, spec_in_common
from plangym_lite.vectorization.memory.blocks import Block, BlockPool
from plangym_lite.vectorization.memory.layout import (
    form_of,
    has_only_arrays,
    heap_of,
    put_pickled_leaves,
)
from plangym_lite.vectorization.worker.handler import RowsResult
from plangym_lite.vectorization.worker.worker import (
    CLOSE_TIMEOUT,
    KnownAnswer,
    Promise,
    Worker,
    close_all,
    known_to_all,
)

__all__ = ["EnvGroup"]

STEP = Form(states=False)
NO_STATE = ((0,), np.dtype(np.uint8))  # a row of a vector environment carries no state


class EnvGroup:
    """Workers with one environment each, stepped concurrently.

    Args:
        workers: each makes a :class:`~plangym_lite.vector.worker_env.WorkerEnv`.
        mode: how far the observation spaces may differ.
        name: the name of the vector environment, in messages.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        shared_limit: int | None = None,
        mode: ObservationMode = "same",
        name: str = "SubprocVectorEnv",
    ) -> None:
        self.workers = list(workers)
        self.calls = Calls(self.workers)
        self._calls = self.calls.lock
        for worker in self.workers:
            worker.wait_start()
        self.specs: list[Any] = [worker.spec for worker in self.workers]
        self.spec = spec_in_common(self.specs, mode, name)
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

    def __len__(self) -> int:
        return len(self.workers)

    @classmethod
    def of(cls, workers: Sequence[Worker], *args: Any) -> EnvGroup:
        """Make a group; if the environments do not fit each other, close the workers."""
        try:
            return cls(workers, *args)
        except BaseException:
            close_all(workers, timeout=1.0)
            raise

    # ---- calls ---------------------------------------------------------------------------------

    def ask(self, name: str, *args: Any, indices: Indices = None) -> list[Any]:
        """Call a method of the chosen environments with the same arguments; results in order."""
        chosen = self.chosen(indices)
        return self.ask_each(name, [args] * len(chosen), chosen)

    @one_at_a_time
    def ask_each(self, name: str, args: Sequence[tuple[Any, ...]], indices: Indices) -> list[Any]:
        """The same with separate arguments for each."""
        chosen = self.chosen(indices)
        if len(set(chosen)) < len(chosen):  # repeated indices: one after another
            return [self.ask_each(name, [a], i)[0] for a, i in zip(args, chosen, strict=True)]
        self.calls.check_idle(name)
        given = dict(zip(chosen, args, strict=True))
        return self.calls.gather({i: self.calls.send(i, name, *given[i]) for i in chosen})

    @one_at_a_time
    def begin_call(self, name: str, args: Sequence[tuple[Any, ...]], pending: str = "call") -> None:
        """Begin ``ask_each`` for all; ``end(pending)`` returns the results."""
        self.calls.check_idle(f"{pending}_async")
        send = self.calls.send
        self.calls.begin(pending, lambda index: send(index, name, *args[index]), list)

    def chosen(self, indices: Indices) -> list[int]:
        return chosen_numbers(indices, len(self))

    # ---- steps --------------------------------------------------------------------------------

    @one_at_a_time
    def begin_step(self, actions: Any, result: Callable[[Any], Any] | None = None) -> None:
        """Step all environments; ``end("step")`` returns ``result`` of a ``StepBatch``.

        Raises:
            AlreadySteppingError: a call is pending.
            InvalidBatchError: not one valid action per environment; nothing was run.
            WorkerDiedError: a worker was lost before; nothing was run.
        """
        self.calls.check_idle("step_async")
        for error in self.calls.lost.values():
            raise WorkerDiedError(f"{error}; reset() puts a fresh worker there") from error
        if self.takes_arrays:
            actions = check_actions(self.spec.action_space, actions)
        if not hasattr(actions, "__len__") or len(actions) != len(self):
            raise InvalidBatchError(
                f"not {len(self)} actions, one for each environment: {actions!r}"
            )
        form = form_of(STEP, self.spec.action_space, actions)
        rows = Rows(actions, *self._filler)
        heap = heap_of(self._row_spec, form, rows, known_to_all(self.workers))
        block, may_lease = self._pool.acquire(len(self), form, len(heap.data) if heap else 0)
        block.columns.fill(rows, heap)

        def send(index: int) -> Promise:
            worker = self.workers[index]
            try:
                promise = worker.run_rows(block, index, index + 1)
            except WorkerDiedError as error:
                promise = KnownAnswer(error=error)
            block.outstanding.append(promise)
            return promise

        def finish(answers: list[Any]) -> Any:
            batch = self._take_step(block, may_lease, answers)
            return batch if result is None else result(batch)

        try:
            self.calls.begin("step", send, finish)
        except BaseException:
            self._pool.discard(block)  # workers may still write to it
            raise

    def _take_step(self, block: Block, may_lease: bool, answers: list[Any]) -> Any:
        block.outstanding = []
        results = [RowsResult(*answer) for answer in answers]
        batch = block.copy_out(len(self), may_lease)
        for index, result in enumerate(results):
            if result.pickled:
                put_pickled_leaves(batch, index, index + 1, result.pickled)
        return pack(self._row_spec, batch, [result.infos[0] for result in results])

    # ---- episodes -----------------------------------------------------------------------------

    def begin_reset(
        self,
        seeds: Sequence[int | None],
        options: Sequence[dict[str, Any] | None],
        chosen: np.ndarray | None = None,
    ) -> None:
        """Begin episodes, all or the ``chosen`` ones, with new workers for lost ones."""
        self.calls.check_idle("reset_async")
        mask = np.ones(len(self), bool) if chosen is None else chosen
        self.replace_lost(np.flatnonzero(mask).tolist())

        def send(index: int) -> Promise:
            if not mask[index]:
                return self.calls.send(index, "observe")
            return self.calls.send(index, "reset", seeds[index], options[index], chosen is None)

        self.calls.begin("reset", send, lambda answers: self._take_reset(mask, answers))

    def _take_reset(self, mask: np.ndarray, results: list[Any]) -> tuple[Any, list[dict[str, Any]]]:
        out = empty_columns(self._row_spec, len(self), STEP)
        infos: list[dict[str, Any]] = []
        for index, result in enumerate(results):
            obs, info = result if mask[index] else (result, {})
            if obs is None:
                raise RuntimeError(f"environment {index} was never reset: reset all of them first")
            write_row(out.observs, index, obs)
            infos.append(info)
        return pack(self._row_spec, out, infos).observs, infos

    @one_at_a_time
    def reset(
        self,
        seeds: Sequence[int | None],
        options: Sequence[dict[str, Any] | None],
        chosen: np.ndarray | None = None,
        timeout: float | None = None,
    ) -> tuple[Any, list[dict[str, Any]]]:
        """Begin episodes, all or the ``chosen`` ones; return ``(observs, infos)`` of all.

        A pending call is ended first. Lost workers are replaced, and so are workers that do not
        answer within ``timeout`` seconds, which apply to the pending call and again to the reset.

        Raises:
            TimeoutError: a reset took longer, or an environment that was not chosen hangs.
        """
        timeout = check_timeout(timeout)
        everyone = np.ones(len(self), bool) if chosen is None else chosen
        try:
            self.calls.finish_pending(timeout)
        except TimeoutError:
            self._leave_hung(np.flatnonzero(everyone).tolist())
        self.begin_reset(seeds, options, chosen)
        try:
            return self.calls.end("reset", timeout)
        except TimeoutError as error:
            late = self._leave_hung(range(len(self))) if self.calls.pending is not None else []
            if late:
                raise AnswerTimeoutError(
                    f"environments {late} were not reset within {timeout:g} s: fresh ones are there"
                ) from None
            raise error
        except BaseException:
            self.calls.abandon()
            raise

    def _leave_hung(self, replaceable: Iterable[int]) -> list[int]:
        """Replace workers that have not answered, collect the other answers; return their indices.

        ``TimeoutError``: one of them is not ``replaceable``.
        """
        assert self.calls.pending is not None
        late = self.calls.pending.late
        kept = sorted(set(late) - set(replaceable))
        if kept:
            raise AnswerTimeoutError(f"environments {kept} have not answered: reset them, too")
        for index, promise in self.calls.pending.promises.items():
            if index in late:
                self.workers[index].replace()
                self.calls.lost.pop(index, None)
            else:
                with suppress(Exception):
                    self.calls.gather({index: promise})
        for index in late:
            self.workers[index].wait_start()
            self._give_seeds(index)
        self.calls.pending = None
        return late

    def seed(self, seeds: Sequence[int | None]) -> list[list[int | None]]:
        """Give seeds to the environments in turn: number ``i`` gets ``seeds[i::n]``.

        Each uses its seeds in order, one per episode, and then again from the first.
        """
        if len(seeds) < len(self):
            raise ValueError(f"{len(seeds)} seeds for {len(self)} environments: give one each")
        self.calls.finish_pending()
        shares = [list(seeds[index :: len(self)]) for index in range(len(self))]
        self.ask_each("keep_seeds", [(own,) for own in shares], None)
        self._seeds = shares
        return shares

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> Any:
        states = self.ask("get_state")
        looks = {(getattr(state, "shape", None), getattr(state, "dtype", None)) for state in states}
        if len(looks) == 1 and isinstance(states[0], np.ndarray):
            return np.stack(states)
        column = np.empty(len(self), object)
        for index, state in enumerate(states):
            column[index] = state
        return column

    def set_state(self, states: Sequence[Any], indices: Indices = None) -> list[bool]:
        """Set states; lost workers are replaced. Returns which states are ends of episodes."""
        self.calls.check_idle("set_state")
        chosen = self.chosen(indices)
        if len(states) != len(chosen):
            raise InvalidBatchError(f"{len(states)} states for {len(chosen)} environments")
        for index, state in zip(chosen, states, strict=True):
            check_state(self.spec, state, f"the state of environment {index}")
        self.replace_lost(chosen)
        rows = [(state,) for state in states]
        if self.spec.state_shape is None:  # only the environments can check states
            self.ask_each("check_state", rows, chosen)
        return self.ask_each("set_state", rows, chosen)

    def replace_lost(self, indices: Iterable[int]) -> None:
        for index in indices:
            if index in self.calls.lost:
                self.workers[index].restart()
                self._give_seeds(index)
                del self.calls.lost[index]

    def _give_seeds(self, index: int) -> None:
        if self._seeds is not None:
            self.workers[index].call("keep_seeds", self._seeds[index]).result()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        if self.calls.is_closed:
            return
        with suppress(TimeoutError):
            self.calls.finish_pending(timeout)
        self.calls.is_closed = True
        close_all(self.workers, timeout)
        self._pool.on_drop = []
        self._pool.close()

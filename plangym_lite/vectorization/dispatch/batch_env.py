"""BatchEnv: split a batch among workers, collect the results in order.

The workers may be of any kind (:class:`.Worker`). ``timeout=`` limits a call in
seconds; workers that have not answered by then are replaced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.errors import ClosedError, WorkerDiedError
from plangym_lite.system import check_timeout, usable_cores
from plangym_lite.transitions import (
    BatchSpec,
    Form,
    Rows,
    StepBatch,
    TransitionBatch,
    empty_columns,
    pack,
    write_row,
)
from plangym_lite.validation import check_state, prepare_rows, states_of_rows
from plangym_lite.vectorization.dispatch.dispatcher import Dispatcher, Stats
from plangym_lite.vectorization.memory.blocks import BlockPool
from plangym_lite.vectorization.memory.chunks import Chunk, ChunkSizes, Takers, split_evenly
from plangym_lite.vectorization.memory.layout import form_of, has_action_column, heap_of
from plangym_lite.vectorization.worker.worker import (
    CLOSE_TIMEOUT,
    Promise,
    Worker,
    close_all,
    common_spec,
    known_to_all,
    time_limit,
)

__all__ = ["BatchEnv"]

RESTARTS = 3
IMAGES_AT_ONCE = 64  # images per message of draw_images
PATIENCE = 0.5  # seconds that a worker gets to finish an interrupted batch


class BatchEnv:
    """Several workers with the same environment, used as one.

    Args:
        envs: the workers.
        blocking: use one worker at a time; the results are the same.
        shared_limit: bytes of shared memory; see :class:`BlockPool`.
        chunk_size: maximum rows of a chunk; ``None``: see :class:`.ChunkSizes`.
    """

    def __init__(
        self,
        envs: Sequence[Worker],
        blocking: bool = False,
        shared_limit: int | None = None,
        chunk_size: int | None = None,
    ) -> None:
        self._envs = list(envs)
        if not self._envs:
            raise ValueError("a BatchEnv needs at least one worker")
        self._blocking = blocking
        self._synced: Any = None  # the last state set in all workers
        self._closed = False
        self._unfinished: dict[int, Promise] = {}  # calls of an interrupted batch
        self._spec = common_spec(self._envs)
        self._sizes = ChunkSizes(self._spec.is_batched, chunk_size)
        self.stats = Stats()
        self._dispatcher = Dispatcher(self._envs, self._replace, self.stats, blocking)
        self._pool = BlockPool(self._spec, shared_limit)
        self._pool.on_drop = [worker.detach for worker in self._envs]
        self._caller: Any = None  # a PlanEnv of this process that also runs rows
        self._takers = Takers(len(self._envs))  # at most, of a batch
        self._workers_only = self._takers  # likewise, if the caller takes none

    def __len__(self) -> int:
        return len(self._envs)

    def __getitem__(self, index: int) -> Worker:
        return self._envs[index]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._envs[0].access(name)

    @property
    def batch_spec(self) -> BatchSpec:
        """What one row looks like."""
        return self._spec

    def use_caller(self, env: PlanEnv | None, only_computes: bool = False) -> None:
        """Let this process run rows too.

        Args:
            env: the local environment that runs them; ``None``: workers only.
            only_computes: whether rows only compute (no waiting); then at most as many workers are
                rung as there are cores.
        """
        if not self._blocking:
            self._caller = env
        has_caller, n_rung = self._caller is not None, len(self)
        if only_computes and all(worker.takes_chunks for worker in self._envs):
            n_rung = min(len(self), max(1, usable_cores()) - has_caller)
        self._takers = Takers(n_rung + has_caller, has_caller)
        self._workers_only = Takers(min(len(self), n_rung + has_caller))

    # ---- batches ------------------------------------------------------------------------------

    def make_transitions(
        self,
        actions: Any,
        states: Any = None,
        dt: Any = 1,
        return_state: bool | None = None,
        timeout: float | None = None,
    ) -> StepBatch | TransitionBatch:
        """``PlanEnv.step_batch`` on all workers; default state: the first worker's."""
        form = Form(states=states is not None if return_state is None else return_state)
        with self._limited("make_transitions", timeout):
            states = states_of_rows(states, actions, lambda: self._ask("get_state", {0: ()})[0])
            return self.run(prepare_rows(self._spec, actions, states, dt), form)

    def run(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        """Run validated rows, within ``timeout`` seconds; see :class:`.Dispatcher`."""
        if timeout is not None:
            with self._limited("step_batch" if form.steps is None else "rollout_batch", timeout):
                return self.run(rows, form)
        if self._closed:
            raise ClosedError("the workers were closed")
        size, deadline = len(rows.dts), self._envs[0].deadline
        if size == 0:
            return pack(self._spec, empty_columns(self._spec, 0, form), [])
        if self._unfinished:
            self._clear_up()
        caller, takers = self._caller, self._takers
        if caller is not None and deadline is not None:  # the caller's own rows cannot be stopped
            caller, takers = None, self._workers_only
        plan = self._sizes.plan(rows, form, takers)
        began = time.perf_counter()
        if caller is not None and len(plan.chunks) == 1:
            batch = caller.run_here(rows, form)
            seconds = taken = time.perf_counter() - began
        else:
            how = caller, takers.n - takers.has_caller, deadline
            batch, seconds = self._run_shared(rows, form, plan.chunks, how)
            taken = time.perf_counter() - began
        if plan.is_measured:
            self._sizes.learn(plan, seconds)
        stats = self.stats
        stats.batches += 1
        stats.rows += size
        stats.frames += plan.total
        stats.seconds += taken
        return batch

    def _run_shared(
        self, rows: Rows, form: Form, chunks: list[Chunk], how: tuple[Any, int, float | None]
    ) -> tuple[Any, float]:
        """The batch, and the run time of its rows, summed over takers."""
        spec = self._spec
        form = form_of(form, spec.action_space, rows.actions)
        heap = None
        if spec.state_shape is None or not has_action_column(spec.action_space, form):
            heap = heap_of(spec, form, rows, known_to_all(self._envs))
        block, may_lease = self._pool.acquire(len(rows.dts), form, len(heap.data) if heap else 0)
        block.columns.fill(rows, heap)
        try:
            batch = self._dispatcher.run(block, rows, chunks, *how)
        except BaseException:  # such as an interrupt: workers may still write rows
            self._unfinished = self._dispatcher.interrupt()
            block.outstanding += self._unfinished.values()
            self._pool.discard(block)
            raise
        if batch.error is not None:
            raise batch.error[1]
        return batch.finish(spec, may_lease), batch.seconds

    def outgrow(self) -> None:
        """Switch to unbounded states: new blocks have no column for states."""
        self._ask("outgrow", dict.fromkeys(range(len(self)), (True,)))
        self._spec = replace(self._spec, state_shape=None, state_dtype=None)
        old, self._pool = self._pool, BlockPool(self._spec, self._pool.limit)
        self._pool.on_drop = old.on_drop
        old.close()

    def draw_images(self, states: Any) -> np.ndarray:
        """The images of validated states, at least one, ``[B, height, width, 3]``."""
        images, at_once = [], IMAGES_AT_ONCE * len(self)
        for first in range(0, len(states), at_once):
            part = states[first : first + at_once]
            chunks = [part[start:stop] for start, stop in split_evenly(len(part), len(self))]
            images += self._ask("get_images", {i: (chunk,) for i, chunk in enumerate(chunks)})
        return np.concatenate(images)

    def _clear_up(self) -> None:
        """After an interrupt: wait ``PATIENCE`` seconds, then replace the workers still busy."""
        while self._unfinished:
            index, promise = self._unfinished.popitem()
            try:
                promise.result(timeout=PATIENCE)
            except Exception:  # the result is not needed
                if not promise.done():
                    self._replace(index)

    def _limited(self, call: str, timeout: float | None) -> AbstractContextManager[None]:
        """A context that ends waits after ``timeout`` seconds."""
        return time_limit(self._envs, timeout, call, self._replace_late)

    def _replace_late(self, index: int) -> None:
        self.stats.replacements += 1
        self._envs[index].replace(self._synced)

    # ---- everything else ----------------------------------------------------------------------

    def sync_states(self, state: Any, blocking: bool = True, timeout: float | None = None) -> None:
        """Put every worker into ``state``; with ``blocking=False`` do not wait for them."""
        check_state(self._spec, state)
        self._synced = state.copy() if isinstance(state, np.ndarray) else state
        with self._limited("sync_states", timeout):
            self._ask("set_state", dict.fromkeys(range(len(self)), (state,)), blocking)

    def reset(
        self,
        indices: Iterable[int] | None = None,
        return_states: bool = True,
        timeout: float | None = None,
    ) -> tuple[Any, ...]:
        """Reset the workers' environments, each to its own episode.

        Returns:
            ``(states, observs, infos)``, or ``(observs, infos)`` without states.
        """
        chosen = list(dict.fromkeys(range(len(self)) if indices is None else indices))
        with self._limited("reset", timeout):
            results = self._ask("reset", dict.fromkeys(chosen, (return_states,)))
        out = empty_columns(self._spec, len(chosen), Form(states=return_states))
        for row, result in enumerate(results):
            write_row(out.observs, row, result[-2])
            if return_states:
                out.states[row] = result[0]
        batch = pack(self._spec, out, [result[-1] for result in results])
        states = (batch.states,) if isinstance(batch, TransitionBatch) else ()
        return *states, batch.observs, batch.infos

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Seed the workers' next reset, each with its own seed."""
        if len(seeds) != len(self):
            raise ValueError(f"{len(seeds)} seeds for {len(self)} workers: give one each")
        self._ask("seed", {index: (seed,) for index, seed in enumerate(seeds)})

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """The images of all workers, ``[n, H, W, 3]`` uint8."""
        if mode != "rgb_array":
            raise NotImplementedError(f"only mode 'rgb_array' is supported, got {mode!r}")
        return np.stack(self._ask("render", dict.fromkeys(range(len(self)), ())))

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close all workers within ``timeout`` seconds in total. Idempotent."""
        check_timeout(timeout, bounded=True)
        if self._closed:
            return
        self._closed = True
        close_all(self._envs, timeout)
        self._dispatcher.interrupt()
        self._caller = None
        self._pool.on_drop = []
        self._pool.close()

    def __enter__(self) -> BatchEnv:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send(self, index: int, name: str, *args: Any) -> Any:
        """Send a call that may be repeated; a dead worker is replaced first."""
        if self._closed:
            raise ClosedError("the workers were closed")
        try:
            return self._envs[index].call(name, *args)
        except WorkerDiedError:
            self._replace(index)
            return self._envs[index].call(name, *args)

    def _ask(self, name: str, args: dict[int, tuple[Any, ...]], wait: bool = True) -> list[Any]:
        """Call workers, each with its arguments; if one dies, ask the next one."""
        promises = {index: self._send(index, name, *given) for index, given in args.items()}
        answers = []
        for index, promise in promises.items() if wait else ():
            try:
                answers.append(promise.result())
            except WorkerDiedError:
                answers.append(self._send(index, name, *args[index]).result())
        return answers

    def _replace(self, index: int) -> None:
        """Replace a dead worker, and put the new one into the last synced state."""
        self.stats.replacements += 1
        for attempt in range(1, RESTARTS + 1):
            try:
                self._envs[index].replace(self._synced)
                return self._envs[index].wait_start()
            except WorkerDiedError:  # during the start
                if attempt == RESTARTS:
                    raise

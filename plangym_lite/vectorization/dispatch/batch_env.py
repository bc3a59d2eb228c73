"""BatchEnv: split a batch among workers, gather it in order.

The workers may be of any kind (:class:`.Worker`). With ``timeout=`` a call
takes so many seconds at most: workers that have not answered by then are replaced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.errors import ClosedError, WorkerDiedError
from plangym_lite.system import usable_cores
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
from plangym_lite.validation import check_state, check_timeout, fill_states, prepare_rows
from plangym_lite.vectorization.dispatch.dispatcher import Dispatcher
from plangym_lite.vectorization.dispatch.splitting import split_evenly
from plangym_lite.vectorization.memory.blocks import BlockPool
from plangym_lite.vectorization.memory.chunks import Chunk, ChunkSizes
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

__all__ = ["BatchEnv", "Stats"]

RESTARTS = 3
IMAGES_AT_ONCE = 64  # pictures that a worker draws for one message of draw_images
PATIENCE = 0.5  # seconds that a worker may go on with an interrupted batch


@dataclass
class Stats:
    """What the workers of an environment have done so far, with the caller's share."""

    batches: int = 0
    rows: int = 0
    frames: int = 0  # in units of ``frameskip``; of rows that end early, those asked for
    seconds: float = 0.0  # in calls that ran batches
    replacements: int = 0  # workers that died, or did not answer in time
    rows_again: int = 0  # that ran once more after a death


class BatchEnv:
    """Several workers with the same environment, used as one.

    Args:
        envs: the workers.
        blocking: one worker after another; the answers are the same.
        shared_limit: bytes of shared memory; see :class:`BlockPool`.
        chunk_size: rows of a chunk at most; ``None``: see :class:`.ChunkSizes`.
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
        self._synced: Any = None  # the state that all workers were last put into
        self._closed = False
        self._unfinished: dict[int, Promise] = {}  # what an interrupted batch left under way
        self._spec = common_spec(self._envs)
        self._sizes = ChunkSizes(self._spec.is_batched, chunk_size)
        self._dispatcher = Dispatcher(self._envs, self._replace, blocking)
        self._pool = BlockPool(self._spec, shared_limit)
        self._pool.on_drop = [worker.detach for worker in self._envs]
        self.stats = Stats()
        self._caller: Any = None  # a PlanEnv of this process that runs rows too
        self._most_rung: int | None = None  # workers for a batch; None: any number

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
        """Let this process take rows too.

        Args:
            env: the environment that runs them here; ``None``: none does.
            only_computes: whether rows do nothing but compute: then no more workers are rung than
                there are cores.
        """
        if not self._blocking:
            self._caller = env
        if only_computes and all(worker.takes_chunks for worker in self._envs):
            self._most_rung = max(1, usable_cores()) - (self._caller is not None)

    # ---- batches ------------------------------------------------------------------------------

    def make_transitions(
        self,
        actions: Any,
        states: Any = None,
        dt: Any = 1,
        return_state: bool | None = None,
        timeout: float | None = None,
    ) -> StepBatch | TransitionBatch:
        """``PlanEnv.step_batch`` on all workers; without a state: from the first one's."""
        form = Form(states=states is not None if return_state is None else return_state)
        with self._limited("make_transitions", timeout):
            current = lambda: self._ask("get_state", {0: ()})[0]  # noqa: E731
            if states is None:
                states = [current()] * len(actions)
            states = fill_states(states, current)
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
        caller, most_rung = self._caller, self._most_rung
        if caller is not None and deadline is not None:  # nothing could stop the caller's rows
            caller, most_rung = None, None if most_rung is None else most_rung + 1
        n_workers = len(self._envs) if most_rung is None else min(len(self._envs), most_rung)
        kind, frames = self._sizes.kind_of(rows, form)
        chunks = self._sizes.cut(size, n_workers + (caller is not None), kind, frames)
        began = time.perf_counter()
        if caller is not None and len(chunks) == 1:  # nothing to share out
            batch = caller.run_rows(rows, form)
            seconds = taken = time.perf_counter() - began
        else:
            batch = self._run_shared(rows, form, chunks, (caller, n_workers, deadline))
            seconds, taken = self._dispatcher.seconds, time.perf_counter() - began
        self._sizes.learn(kind, seconds, frames * size)
        stats = self.stats
        stats.batches += 1
        stats.rows += size
        stats.frames += round(frames * size)
        stats.seconds += taken
        return batch

    def _run_shared(
        self, rows: Rows, form: Form, chunks: list[Chunk], how: tuple[Any, int, float | None]
    ) -> Any:
        spec = self._spec
        form = form_of(form, spec.action_space, rows.actions)
        heap = None
        if spec.state_shape is None or not has_action_column(spec.action_space, form):
            heap = heap_of(spec, form, rows, known_to_all(self._envs))
        block, may_lease = self._pool.acquire(len(rows.dts), form, len(heap.data) if heap else 0)
        block.columns.fill(rows, heap)
        run = self._dispatcher.run
        try:
            results, error = run(block, rows, chunks, *how)
        except BaseException:  # an interrupt, say: rows that nobody waits for may yet be written
            self._unfinished = self._dispatcher.interrupt()
            block.outstanding += self._unfinished.values()
            self._pool.discard(block)
            raise
        finally:
            self.stats.rows_again += self._dispatcher.n_rerun
            self._dispatcher.n_rerun = 0
        if error is not None:
            raise error
        return results.finish(spec, block, may_lease)

    def outgrow(self) -> None:
        """States have no bound any more: blocks are laid out anew, without columns for them."""
        self._ask("outgrow", dict.fromkeys(range(len(self)), (True,)))
        self._spec = replace(self._spec, state_shape=None, state_dtype=None)
        old, self._pool = self._pool, BlockPool(self._spec, self._pool.limit)
        self._pool.on_drop = old.on_drop
        old.close()

    def draw_images(self, states: Any) -> np.ndarray:
        """The pictures of checked states, at least one, ``[B, height, width, 3]``."""
        images, at_once = [], IMAGES_AT_ONCE * len(self)
        for first in range(0, len(states), at_once):
            part = states[first : first + at_once]
            chunks = [part[start:stop] for start, stop in split_evenly(len(part), len(self))]
            images += self._ask("get_images", {i: (chunk,) for i, chunk in enumerate(chunks)})
        return np.concatenate(images)

    def _clear_up(self) -> None:
        """After an interrupt: give the workers a moment to finish, then replace them."""
        while self._unfinished:
            index, promise = self._unfinished.popitem()
            try:
                promise.result(timeout=PATIENCE)
            except Exception:  # nobody asks for it any more
                if not promise.done():
                    self._replace(index)

    def _limited(self, call: str, timeout: float | None) -> AbstractContextManager[None]:
        """A context in which nothing takes longer than ``timeout`` seconds."""
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
        """Reset the workers' environments, each to an episode of its own.

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
        """Seed the workers' next reset, each with a seed of its own."""
        if len(seeds) != len(self):
            raise ValueError(f"{len(seeds)} seeds for {len(self)} workers: give one each")
        self._ask("seed", {index: (seed,) for index, seed in enumerate(seeds)})

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """The pictures of all workers, ``[n, H, W, 3]`` uint8."""
        if mode != "rgb_array":
            raise NotImplementedError(f"only mode 'rgb_array' crosses the border, got {mode!r}")
        return np.stack(self._ask("render", dict.fromkeys(range(len(self)), ())))

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close every worker, in ``timeout`` seconds together. May be called again."""
        check_timeout(timeout, bounded=True)
        if self._closed:
            return
        self._closed = True
        close_all(self._envs, timeout)
        self._dispatcher.close()
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
        """Call workers, each with its arguments; where one died over it, ask the next one."""
        promises = {index: self._send(index, name, *given) for index, given in args.items()}
        answers = []
        for index, promise in promises.items() if wait else ():
            try:
                answers.append(promise.result())
            except WorkerDiedError:
                answers.append(self._send(index, name, *args[index]).result())
        return answers

    def _replace(self, index: int) -> None:
        """Put a fresh worker where one died, in the state that all were put into."""
        self.stats.replacements += 1
        for attempt in range(1, RESTARTS + 1):
            try:
                self._envs[index].replace(self._synced)
                return self._envs[index].wait_start()
            except WorkerDiedError:  # while starting
                if attempt == RESTARTS:
                    raise

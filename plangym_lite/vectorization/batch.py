"""BatchEnv: split a batch among workers, gather it in order.

The workers may be of any kind (:mod:`plangym_lite.vectorization.worker`). Small numbers and states
are copied out of shared memory while other rows still run; images are handed out as views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from plangym_lite.errors import ClosedError, WorkerDiedError
from plangym_lite.transitions import (
    BatchSpec,
    Form,
    Rows,
    StepBatch,
    TransitionBatch,
    empty_columns,
    empty_states,
    map_leaves,
    pack,
    write_row,
)
from plangym_lite.validation import check_state, prepare_rows
from plangym_lite.vectorization.columns import put_odd_leaves
from plangym_lite.vectorization.dealing import Deal
from plangym_lite.vectorization.shared import Block, BlockPool
from plangym_lite.vectorization.worker import Promise, RowsReply, Worker, close_all

__all__ = ["BatchEnv"]

RESTARTS = 3
IMAGE_BYTES = 16 << 10
"""Observations from this size on are images: handed out as views of shared memory."""

PATIENCE = 0.5  # seconds that a worker may go on with an interrupted batch


class BatchEnv:
    """Several workers with the same environment, used as one.

    Args:
        envs: the workers.
        blocking: one worker after another; the answers are the same.
        shared_limit: bytes of shared memory; see :class:`BlockPool`.
    """

    def __init__(
        self, envs: Sequence[Worker], blocking: bool = False, shared_limit: int | None = None
    ) -> None:
        self._envs = list(envs)
        if not self._envs:
            raise ValueError("a BatchEnv needs at least one worker")
        self._blocking = blocking
        self._synced: Any = None  # the state that all workers were last put into
        self._closed = False
        self._unfinished: dict[int, Promise] = {}  # what an interrupted batch left under way
        self._spec = self._common_spec()
        self._pool = BlockPool(self._spec, shared_limit)
        self._pool.on_drop = [worker.forget_block for worker in self._envs]

    def _common_spec(self) -> BatchSpec:
        spec = self._envs[0].spec
        if spec is None:
            raise TypeError("the workers' environments must be PlanEnvs")
        for index, worker in enumerate(self._envs):
            if worker.spec is None or not spec.agrees_with(worker.spec):
                raise ValueError(
                    f"worker {index} has other spaces or states than worker 0: "
                    f"{worker.spec} instead of {spec}"
                )
        return spec

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

    # ---- batches ------------------------------------------------------------------------------

    def make_transitions(
        self, actions: Any, states: Any = None, dt: Any = 1, return_state: bool | None = None
    ) -> StepBatch | TransitionBatch:
        """``PlanEnv.step_batch`` on all workers; ``states=None``: from the first one's state."""
        if return_state is None:
            return_state = states is not None
        if states is None:
            state = self._answer(0, self._send(0, "get_state"), "get_state")
            states = [state] * len(actions)
        return self.run(prepare_rows(self._spec, actions, states, dt), Form(states=return_state))

    def run(self, rows: Rows, form: Form, timeout: float | None = None) -> Any:
        """Run validated rows; see :class:`Deal` for what it raises."""
        if self._closed:
            raise ClosedError("the workers were closed")
        size = len(rows.dts)
        if size == 0:
            return pack(self._spec, empty_columns(self._spec, 0, form), [])
        self._clear_up()
        block, may_lease = self._pool.acquire(size, form)
        gathering = _Gathering(self._spec, block, size, may_lease)
        deal = Deal(
            self._envs,
            block,
            rows,
            replace=self._replace,
            collect=gathering.collect,
            blocking=self._blocking,
        )
        try:
            deal.run(timeout)
        except Exception:
            raise
        except BaseException:  # interrupted: a row that nobody waits for may still be written
            self._unfinished = deal.unfinished()
            self._pool.discard(block)
            raise
        return gathering.finish()

    def _clear_up(self) -> None:
        """After an interrupt: give the workers a moment to finish, then replace them."""
        while self._unfinished:
            index, promise = self._unfinished.popitem()
            try:
                promise.result(timeout=PATIENCE)
            except TimeoutError:
                self._replace(index)
            except Exception:  # nobody asks for it any more
                continue

    # ---- everything else ----------------------------------------------------------------------

    def sync_states(self, state: Any, blocking: bool = True) -> None:
        """Put every worker into ``state``; with ``blocking=False`` do not wait for them."""
        check_state(self._spec, state)
        self._synced = state.copy() if isinstance(state, np.ndarray) else state
        promises = [self._send(index, "set_state", state) for index in range(len(self))]
        if blocking:
            for index, promise in enumerate(promises):
                self._answer(index, promise, "set_state", state)

    def reset(
        self, indices: Iterable[int] | None = None, return_states: bool = True
    ) -> tuple[Any, ...]:
        """Reset the workers' environments, each to an episode of its own.

        Returns:
            ``(states, observs, infos)``, or ``(observs, infos)`` without states.
        """
        chosen = list(range(len(self)) if indices is None else indices)
        promises = [self._send(index, "reset", return_states) for index in chosen]
        results = [
            self._answer(index, promise, "reset", return_states)
            for index, promise in zip(chosen, promises, strict=True)
        ]
        out = empty_columns(self._spec, len(chosen), Form(states=return_states))
        for row, result in enumerate(results):
            write_row(out.observs, row, result[-2])
            if return_states:
                out.states[row] = result[0]
        batch = pack(self._spec, out, [result[-1] for result in results])
        states = (batch.states,) if isinstance(batch, TransitionBatch) else ()
        return *states, batch.observs, batch.infos

    def close(self) -> None:
        """Close every worker. May be called again."""
        if self._closed:
            return
        self._closed = True
        close_all(self._envs)
        self._pool.on_drop = []
        self._pool.close()

    def _send(self, index: int, name: str, *args: Any) -> Any:
        """Send a call that may be repeated; a dead worker is replaced first."""
        if self._closed:
            raise ClosedError("the workers were closed")
        try:
            return self._envs[index].call(name, *args)
        except WorkerDiedError:
            self._replace(index)
            return self._envs[index].call(name, *args)

    def _answer(self, index: int, promise: Promise, name: str, *args: Any) -> Any:
        """What was promised; if the worker died over it, what the next one says."""
        try:
            return promise.result()
        except WorkerDiedError:
            return self._send(index, name, *args).result()

    def _replace(self, index: int) -> None:
        """Put a fresh worker where one died, in the state that all were put into."""
        for attempt in range(1, RESTARTS + 1):
            try:
                self._envs[index].restart()
                break
            except WorkerDiedError:  # while starting
                if attempt == RESTARTS:
                    raise
        if self._synced is not None:
            self._envs[index].call("set_state", self._synced)


class _Gathering:
    """Takes the results of a batch out of its block, piece by piece."""

    def __init__(self, spec: BatchSpec, block: Block, size: int, may_lease: bool) -> None:
        self._spec = spec
        self._block = block
        self._size = size
        self._may_lease = may_lease
        self._has_images = False
        source = block.columns.out
        self._infos: list[Any] = [None] * size
        self._out = source._replace(
            states=empty_states(spec, size) if source.form.states else None,
            observs=map_leaves(self._place_for, source.observs),
        )

    def _place_for(self, leaf: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, list):
            return [None] * self._size
        if leaf[0].nbytes < IMAGE_BYTES:
            return np.empty((self._size, *leaf.shape[1:]), leaf.dtype)
        self._has_images = True
        return None

    def collect(self, start: int, stop: int, reply: RowsReply) -> None:
        """Copy out rows ``start`` to ``stop``, all but images."""
        infos, odd = reply
        self._infos[start:stop] = infos
        source, out = self._block.columns.out, self._out
        put_odd_leaves(out, start, stop, odd)
        if isinstance(out.states, np.ndarray):
            out.states[start:stop] = source.states[start:stop]

        def copy(target: Any, origin: Any) -> None:
            if isinstance(target, np.ndarray):
                target[start:stop] = origin[start:stop]

        map_leaves(copy, out.observs, source.observs)

    def finish(self) -> Any:
        """The whole batch, with images as views, or copied where there is no room for that."""
        source, size = self._block.columns.out, self._size
        out = self._out._replace(
            rewards=source.rewards[:size].copy(),
            terminateds=source.terminateds[:size].copy(),
            truncateds=source.truncateds[:size].copy(),
            lengths=None if source.lengths is None else source.lengths[:size].copy(),
        )
        if not self._has_images:
            return pack(self._spec, out, self._infos)
        leased = self._block.lease().out.observs if self._may_lease else source.observs

        def take(target: Any, image: Any) -> Any:
            if target is not None:
                return target
            return image[:size] if self._may_lease else image[:size].copy()

        out = out._replace(observs=map_leaves(take, out.observs, leased))
        return pack(self._spec, out, self._infos)

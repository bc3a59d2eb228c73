"""Dispatcher: runs one batch on workers and on the caller.

::

    queue     all chunks of the batch, in the order of rows
    takers    the workers that were rung, and the caller: take a chunk, run it in place, repeat
    RESULT    one per worker, when the queue is empty: the chunks that it ran, and their infos

The batch is done when all rows are reported. A worker that was rung but took nothing is not
waited for. Every row carries its state, so the rows lost with a worker run again.
Workers without shared memory (actors) are sent chunks one by one instead.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plangym_lite.errors import WorkerDiedError
from plangym_lite.transitions import BatchSpec, Rows, pack
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import (
    MOST_CHUNKS,
    Chunk,
    ChunkQueue,
    LocalQueue,
    make_queue,
)
from plangym_lite.vectorization.memory.layout import pickled_leaves, put_pickled_leaves
from plangym_lite.vectorization.worker.channel import LateError, milliseconds
from plangym_lite.vectorization.worker.handler import RowsResult
from plangym_lite.vectorization.worker.messages import load_error
from plangym_lite.vectorization.worker.worker import Promise, Worker

__all__ = ["Dispatcher", "RunningBatch", "Stats"]

AHEAD = 2  # chunks in flight to a worker without shared memory: one running, one next
ATTEMPTS = 3  # worker deaths per row before it is an error
SPIN = 1e-3  # seconds of polling for answers, if that takes no core from workers


@dataclass
class Stats:
    """Counts of what the workers and the caller have done so far."""

    batches: int = 0
    rows: int = 0
    frames: int = 0  # in units of ``frameskip``; requested ones if a row ends early
    seconds: float = 0.0  # in calls that ran batches
    replacements: int = 0  # workers that died, or did not answer in time
    rows_again: int = 0  # repeated after the death of a worker

    def add(self, rows: int, frames: int, seconds: float) -> None:
        """Count a batch."""
        self.batches += 1
        self.rows += rows
        self.frames += frames
        self.seconds += seconds


class InFlight(NamedTuple):
    """A request that a worker has not answered yet."""

    promise: Promise
    chunk: Chunk | None  # the chunk sent; None: the worker takes chunks from the queue


class Dispatcher:
    """Runs batches on workers.

    Args:
        workers: see :class:`.Worker`.
        replace: called with the index of a dead worker, to replace it.
        stats: where repeated rows are counted.
        in_turn: ring one worker per batch, in turn.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        replace: Callable[[int], None],
        stats: Stats,
        in_turn: bool = False,
    ) -> None:
        self._workers = workers
        self._replace = replace
        self._stats = stats
        self._next = 0 if in_turn else None
        self._takes = [worker.takes_chunks for worker in workers]
        self._all_take = all(self._takes)
        self._queue: ChunkQueue | LocalQueue | None = None
        self._in_flight: list[deque[InFlight]] = [deque() for _ in workers]

    def run(
        self,
        block: Block,
        rows: Rows,
        chunks: Sequence[Chunk],
        caller: Any = None,
        most_rung: int | None = None,
        deadline: float | None = None,
    ) -> RunningBatch:
        """Run all rows; the returned batch holds the results or the error of the first bad row.

        Args:
            block: the block that holds the batch.
            rows: the batch.
            chunks: the whole batch, in order.
            caller: an environment of this process that also takes chunks.
            most_rung: maximum number of workers; ``None``: as many as there are chunks.
            deadline: a time of ``time.monotonic``.

        Raises:
            LateError: ``deadline`` has passed.
            WorkerDiedError: a worker could not be replaced.
            After any exception call ``interrupt``.
        """
        if self._queue is None or not self._queue.is_shared:
            self._queue = make_queue()
        batch = RunningBatch(block, rows, chunks, self._queue)
        block.columns.at_work[: len(self._workers)] = 0
        self._begin(batch, len(chunks) - (caller is not None), most_rung)
        while batch.n_left > 0:
            if caller is not None and self._run_one(batch, caller):
                continue
            self._wait(batch, deadline, SPIN if caller is not None else 0.0)
        return batch

    def interrupt(self) -> dict[int, Promise]:
        """Abort a batch; return the workers that may still run, each with its last promise."""
        if self._queue is not None:
            self._queue.clear()
            self._queue.close()
            self._queue = None
        busy = {index: sent[-1].promise for index, sent in enumerate(self._in_flight) if sent}
        for sent in self._in_flight:
            sent.clear()
        return busy

    # ---- asking -------------------------------------------------------------------------------

    def _begin(self, batch: RunningBatch, n_wanted: int, most_rung: int | None) -> None:
        batch.put_chunks()
        indices: Sequence[int] = range(len(self._workers))
        if self._next is not None:
            indices, self._next = [self._next], (self._next + 1) % len(self._workers)
        elif most_rung is not None:
            n_wanted = min(n_wanted, most_rung)
        for index in indices:
            if len(batch.takers) < n_wanted and self._workers[index].is_up():
                batch.takers.append(index)
                if len(self._in_flight[index]) < AHEAD:
                    self._ring(batch, index, 1)
                else:  # it took no chunk of the last batches
                    self._collect(batch, index)
        if not batch.takers:  # no worker is ready: wait for one
            batch.takers = [*indices[:n_wanted]]
        takes_all = self._all_take and batch.is_shared
        if not takes_all or not any(self._in_flight):
            for index in batch.takers:  # a second chunk, if chunks are sent
                self._ring(batch, index)

    def _ring(self, batch: RunningBatch, index: int, ahead: int = AHEAD) -> None:
        """Let a worker take chunks, or send it chunks until ``ahead`` are in flight."""
        worker, sent = self._workers[index], self._in_flight[index]
        try:
            if self._takes[index] and batch.is_shared:
                if len(sent) >= AHEAD:
                    return  # not answered yet: it is rung again when it answers
                sent.append(InFlight(worker.take_chunks(batch.block, batch.queue, index), None))
                return
            ahead = 1 if batch.attempts else ahead  # so that a death is due to that chunk
            while len(sent) < ahead and (token := batch.queue.take()):
                chunk = Chunk(*token[1:])
                sent.append(InFlight(worker.run_rows(batch.block, *chunk), chunk))
        except WorkerDiedError as error:
            self._handle_death(batch, index, error)

    def _run_one(self, batch: RunningBatch, caller: Any) -> bool:
        """Run the next chunk in this process; whether there was one."""
        token = batch.queue.take()
        if token is None:
            return False
        start, stop = token[1:]
        columns = batch.block.columns
        out = columns.out_of(start, stop)
        began = time.perf_counter()
        try:
            infos = caller.make_transitions(batch.rows.part(start, stop), out)
        except Exception as error:
            self._fail(batch, Chunk(start, stop), error)
            return True
        pickled = pickled_leaves(out) if columns.has_pickled_leaves else []
        seconds = time.perf_counter() - began
        batch.collect(RowsResult([(start, stop)], infos, pickled, seconds))
        return True

    # ---- answers ------------------------------------------------------------------------------

    def _wait(self, batch: RunningBatch, deadline: float | None, spin: float) -> None:
        """Wait for an answer and collect all that came; if no worker runs, recover lost rows."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise LateError("rows are left to run")
        busy = [index for index, sent in enumerate(self._in_flight) if sent]
        if not busy:
            return self._recover(batch)
        # an answer may have been read during the wait for another one
        ready = [index for index in busy if self._in_flight[index][0].promise.is_received()]
        if not ready:
            poll, at = select.poll(), {}
            for index in busy:
                fd = self._workers[index].fileno()
                at[fd] = index
                poll.register(fd, select.POLLIN)
            events: list[Any] = []
            spin_until = time.perf_counter() + spin
            while not events and time.perf_counter() < spin_until:
                events = poll.poll(0)
            ready = [at[fd] for fd, _ in events or poll.poll(milliseconds(left))]
        for index in ready:
            self._collect(batch, index)

    def _collect(self, batch: RunningBatch, index: int) -> None:
        """Collect the answers of a worker; ring it again if chunks remain."""
        sent, has_answered = self._in_flight[index], False
        while sent and sent[0].promise.done():
            has_answered = True
            promise, chunk = sent[0]
            if promise.is_void():
                sent.popleft()
                continue
            try:
                result = RowsResult(*promise.result())
            except WorkerDiedError as error:
                return self._handle_death(batch, index, error)
            except Exception as error:
                sent.popleft()
                self._fail(batch, chunk or batch.no_rows(), error)
                continue
            sent.popleft()
            self._take(batch, result)
        goes_on = has_answered and batch.n_left > 0 and batch.error is None
        if goes_on and not batch.queue.is_empty():
            self._ring(batch, index)

    def _take(self, batch: RunningBatch, result: RowsResult) -> None:
        batch.collect(result)
        if result.failure is not None:
            start, stop, error = result.failure
            self._fail(batch, Chunk(start, stop), load_error(error))
        if result.refused is not None:
            if batch.error is not None:
                batch.n_left -= result.refused[1] - result.refused[0]
            else:
                batch.queue.put(batch.block.number, [Chunk(*result.refused)])

    def _fail(self, batch: RunningBatch, failed: Chunk, error: BaseException) -> None:
        """Handle a failed chunk: clear the queue; chunks that have begun are waited for."""
        batch.n_left -= batch.queue.clear()
        batch.n_left -= sum(chunk.stop - chunk.start for chunk in (failed, *batch.chunks))
        batch.chunks = []
        if batch.error is None or failed.start < batch.error[0]:
            batch.error = failed.start, error

    # ---- deaths -------------------------------------------------------------------------------

    def _handle_death(self, batch: RunningBatch, index: int, error: WorkerDiedError) -> None:
        """Replace a dead worker, and record the chunk that it was running."""
        sent = self._in_flight[index]
        at_work = batch.at_work(index, sent)
        sent.clear()
        if at_work is None:
            batch.idle_deaths += 1
            if batch.idle_deaths > ATTEMPTS * len(self._workers):
                raise error
        self._replace(index)
        if batch.error is not None:
            return
        for row in range(*at_work or (0, 0)):
            batch.attempts[row] = batch.attempts.get(row, 0) + 1
        if at_work is not None and at_work.stop - at_work.start == 1:
            row = at_work.start
            if batch.attempts[row] >= ATTEMPTS:
                text = f"row {row} ended its worker {ATTEMPTS} times; the last time {error}"
                return self._fail(batch, at_work, WorkerDiedError(text))
        if not batch.queue.is_empty():
            self._ring(batch, index)

    def _recover(self, batch: RunningBatch) -> None:
        """With no worker running: run the rows that remain in the queue or were lost.

        Rows that may have ended a worker run alone.
        """
        if batch.error is not None:
            batch.n_left = 0
            return
        if batch.queue.is_empty():
            if not batch.chunks:
                batch.chunks = batch.lost_chunks()
                self._stats.rows_again += sum(chunk.stop - chunk.start for chunk in batch.chunks)
            batch.put_chunks()
        for index in batch.takers:
            self._ring(batch, index)


class RunningBatch:
    """A batch on its way, and its results: infos and pickled results chunk by chunk.

    Args:
        block: the block that holds it.
        rows: its rows.
        chunks: all of it, in order.
        queue: from which its chunks are taken.
    """

    def __init__(self, block: Block, rows: Rows, chunks: Sequence[Chunk], queue: Any) -> None:
        self.block, self.rows, self.queue = block, rows, queue
        self.is_shared = block.is_shared and queue.is_shared  # whether workers take chunks
        self.chunks = list(chunks)  # not in the queue yet
        self.n_left = len(rows.dts)  # rows not reported yet
        self.infos: list[Any] = [None] * self.n_left  # None: not reported yet
        self.seconds = 0.0  # run time of the rows, summed over takers
        self.error: tuple[int, BaseException] | None = None  # of the first row that failed
        self.takers: list[int] = []
        self.attempts: dict[int, int] = {}  # by row: worker deaths
        self.idle_deaths = 0
        self._pickled: list[tuple[int, int, list[list[Any]]]] = []

    def put_chunks(self) -> None:
        """Put chunks into the empty queue."""
        some, self.chunks = self.chunks[:MOST_CHUNKS], self.chunks[MOST_CHUNKS:]
        self.queue.put(self.block.number, some)

    def collect(self, result: RowsResult) -> None:
        """Add what a taker reports."""
        done = 0
        for start, stop in result.chunks:
            end = done + stop - start
            self.infos[start:stop] = result.infos[done:end]
            if result.pickled:
                self._pickled.append((start, stop, [leaf[done:end] for leaf in result.pickled]))
            done = end
        self.n_left -= done
        self.seconds += result.seconds

    def finish(self, spec: BatchSpec, may_lease: bool) -> Any:
        """The value for the caller; see :meth:`.Block.copy_out`."""
        out = self.block.copy_out(len(self.infos), may_lease)
        for start, stop, pickled in self._pickled:
            put_pickled_leaves(out, start, stop, pickled)
        return pack(spec, out, self.infos)

    def at_work(self, index: int, sent: Sequence[InFlight]) -> Chunk | None:
        """The chunk that a worker was running when it died."""
        if sent and sent[0].chunk is not None:
            return sent[0].chunk
        start, stop = self.block.columns.at_work[index].tolist()
        return Chunk(start, stop) if stop > start else None

    def no_rows(self) -> Chunk:
        """The empty chunk at the first row that is not reported: of a worker that took none."""
        row = self.infos.index(None)
        return Chunk(row, row)

    def lost_chunks(self) -> list[Chunk]:
        """The rows that are not reported; those that may have ended a worker one by one."""
        lost: list[Chunk] = []
        for row, info in enumerate(self.infos):
            if info is not None:
                continue
            alone = row in self.attempts
            if lost and not alone and lost[-1].stop == row and lost[-1].start not in self.attempts:
                lost[-1] = Chunk(lost[-1].start, row + 1)
            else:
                lost.append(Chunk(row, row + 1))
        return lost

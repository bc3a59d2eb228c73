"""One batch on its way through the workers: dealt in pieces, gathered in order, nothing lost.

Because every row carries its state, a row that was lost with its worker is simply dealt again.

Each worker is dealt a first, large piece. The rest lies in a queue, in ever smaller pieces: whoever
has run what it was dealt takes one after another, without a word to the caller, and answers when
none is left. Where workers cannot take for themselves (actors on other nodes; rows that travel in
messages; after a death), the rest is dealt as they answer, and each has its next piece before it
asks.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from plangym_lite.errors import WorkerDiedError
from plangym_lite.transitions import Rows
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import PIECES, Piece, PieceSizes, pieces_of
from plangym_lite.vectorization.memory.queue import RowQueue
from plangym_lite.vectorization.worker.channel import LateError, milliseconds
from plangym_lite.vectorization.worker.handler import RowsReply
from plangym_lite.vectorization.worker.messages import load_error
from plangym_lite.vectorization.worker.worker import Promise, Worker

__all__ = ["Deal"]

IN_HAND = 2  # pieces a worker is dealt: one at work, one to go on with
ATTEMPTS = 3


class Deal:
    """Runs one batch.

    Args:
        workers: who runs it.
        block: where inputs and results lie.
        rows: the batch.
        replace: called with the index of a worker that must be replaced.
        collect: called with ``(start, stop, infos, odd)`` for each piece, while others still run;
            see :class:`~plangym_lite.vectorization.worker.handler.RowsReply`.
        blocking: one worker after another.
        piece_sizes: how the batch is cut.
        queue: where the rest of the batch may lie for workers that share this memory.
        spin: seconds to look for answers again and again before blocking.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        block: Block,
        rows: Rows,
        *,
        replace: Callable[[int], None],
        collect: Callable[[int, int, list[Any], list[Any]], None],
        blocking: bool = False,
        piece_sizes: PieceSizes = PIECES,
        queue: RowQueue | None = None,
        spin: float = 0.0,
    ) -> None:
        self._workers = workers
        self._block = block
        self._rows = rows
        self._replace = replace
        self._collect = collect
        self._blocking = blocking
        self._spin = spin
        n_frames = rows.dts.item(0) * (block.layout.form.steps or 1)
        may_take = queue is not None and not blocking and block.columns.hold_everything
        may_take = may_take and all(worker.takes_pieces for worker in workers)
        self._to_do = deque(pieces_of(len(rows.dts), len(workers), piece_sizes, n_frames, may_take))
        self._queue = queue if may_take and len(self._to_do) > len(workers) else None
        self._untaken: set[Piece] = set()  # put into the queue; nobody has said that it ran them
        self._hands: list[deque[tuple[Piece, Promise]]] = [deque() for _ in workers]
        self._attempts: dict[int, int] = {}
        self._idle_deaths = 0
        self._error: tuple[int, BaseException] | None = None  # of the first row that failed

    def run(self, deadline: float | None = None) -> None:
        """Run all rows; raise the error of the first row that failed, after all have answered.

        Raises:
            LateError: not until ``deadline``, in the time of ``time.monotonic``.
            WorkerDiedError: a row ended its worker each of three times.
        """
        self._begin()
        while any(self._hands) or self._deal_lost():
            for worker in self._wait(deadline):
                self._gather(worker)
        if self._error is not None:
            raise self._error[1]

    def unfinished(self) -> dict[int, Promise]:
        """The workers that are still at it, each with the last promise it gave; they stop soon."""
        self._empty_queue()
        return {worker: hand[-1][1] for worker, hand in enumerate(self._hands) if hand}

    def _begin(self) -> None:
        """Everyone gets a first piece, then the rest to take from, or else a second piece."""
        if self._queue is None:
            for limit in range(1, IN_HAND + 1):
                for worker in range(len(self._workers) if self._to_do else 0):
                    self._hand_out(worker, limit)
            return
        self._empty_queue()
        *others, last = range(len(self._workers))
        for worker in others:
            self._hand_out(worker, limit=1)
        self._lay_out_rest()
        self._hand_out(last, limit=1)  # the caller itself, where it runs rows: before it answers

    def _lay_out_rest(self) -> None:
        """Put into the queue what is to be done, all but the next piece."""
        rest = list(self._to_do)[1:]
        if self._queue is not None and rest:
            self._block.columns.fill(rest[0].start, rest[-1].stop, self._rows)
            n_put = self._queue.put(rest)
            self._untaken.update(rest[:n_put])
            self._to_do = deque([self._to_do[0], *rest[n_put:]])

    def _empty_queue(self) -> list[Piece]:
        """Take everything out of the queue, so that nobody else does."""
        pieces = [] if self._queue is None else list(self._queue)
        self._untaken.difference_update(pieces)
        return pieces

    def _deal_lost(self) -> bool:
        """When all have answered: deal what somebody took who then died; whether there was any."""
        if self._error is not None or not self._untaken:
            return False
        self._to_do.extend(self._empty_queue())
        self._to_do.extend(Piece(row, row + 1) for piece in self._untaken for row in range(*piece))
        self._untaken.clear()
        self._queue = None
        for worker in range(len(self._workers)):
            self._hand_out(worker)
        return any(self._hands)

    def _hand_out(self, worker: int, limit: int = IN_HAND) -> None:
        while self._error is None and len(self._hands[worker]) < limit and self._has_next():
            if (self._blocking and any(self._hands)) or self._must_wait(worker):
                return
            piece = self._to_do.popleft()
            left_over = self._block.columns.fill(*piece, self._rows)
            to_run = self._block, piece, left_over, self._queue
            try:
                promise = self._workers[worker].run_rows(*to_run)
            except WorkerDiedError as error:
                self._to_do.appendleft(piece)
                if not self._hands[worker]:  # else _gather will see to it
                    self._bury_idle(worker, error, limit)
                return
            self._block.outstanding.append(promise)
            self._hands[worker].append((piece, promise))

    def _has_next(self) -> bool:
        """Whether there is a piece to deal: one to do, or else one of the queue."""
        if not self._to_do and self._untaken and self._queue is not None:
            piece = self._queue.take()
            if piece is not None:
                self._untaken.discard(piece)
                self._to_do.append(piece)
        return bool(self._to_do)

    def _must_wait(self, worker: int) -> bool:
        """Whether the worker must have answered before it is given more.

        Rows that a worker died over run alone, so that the next death is surely theirs: an actor
        takes answers with it that were on their way.
        """
        if not self._attempts or not (hand := self._hands[worker]):
            return False
        return any(piece.start in self._attempts for piece in (hand[-1][0], self._to_do[0]))

    def _gather(self, worker: int) -> None:
        """Take what a worker has answered and hand out more."""
        hand = self._hands[worker]
        while hand and hand[0][1].done():
            piece, promise = hand[0]
            try:
                reply = RowsReply(*promise.result())
            except WorkerDiedError as error:
                self._bury(worker, error)
                break
            except Exception as error:
                hand.popleft()
                self._fail(piece, error)
            else:
                hand.popleft()
                self._hand_out((worker + self._blocking) % len(self._workers))
                self._take_in(piece, reply)
        if not hand and self._to_do:
            for other in range(len(self._workers)):
                self._hand_out(other)

    def _take_in(self, piece: Piece, reply: RowsReply) -> None:
        """Collect a piece that was dealt, and those that its worker took after it."""
        done = 0
        for start, stop in (piece, *reply.taken):
            first, done = done, done + stop - start
            self._collect(start, stop, reply.infos[first:done], reply.odd)
        self._untaken.difference_update(reply.taken)
        if reply.failure is not None:
            start, error = reply.failure
            self._fail(Piece(start, start + 1), load_error(error))

    def _wait(self, deadline: float | None) -> list[int]:
        """The workers that have something to say."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise LateError("rows are left to run")
        busy = [worker for worker, hand in enumerate(self._hands) if hand]
        ready = [worker for worker in busy if self._workers[worker].is_ready()]
        spin_until = time.perf_counter() + self._spin
        while not ready and time.perf_counter() < spin_until:
            ready = [worker for worker in busy if self._hands[worker][0][1].done()]
        if ready:
            return ready
        poll, at = select.poll(), {}
        for worker in busy:
            at[self._workers[worker].fileno()] = worker
            poll.register(self._workers[worker].fileno(), select.POLLIN)
        return [at[fd] for fd, _ in poll.poll(milliseconds(left))]

    def _fail(self, piece: Piece, error: BaseException) -> None:
        self._to_do.clear()
        self._empty_queue()
        if self._error is None or piece.start < self._error[0]:
            self._error = piece.start, error

    def _bury(self, worker: int, error: WorkerDiedError) -> None:
        """A worker died: deal its rows again, one by one, and put another in its place."""
        hand = self._hands[worker]
        at_work, lost = hand[0][0], [piece for piece, _ in hand]
        hand.clear()
        self._replace(worker)
        if self._error is not None:
            return
        self._to_do.extend(self._empty_queue())  # from now on it is known who has what
        self._queue = None
        for row in range(*at_work):
            self._attempts[row] = self._attempts.get(row, 0) + 1
        if at_work.stop - at_work.start == 1 and self._attempts[at_work.start] >= ATTEMPTS:
            again = WorkerDiedError(
                f"row {at_work.start} ended its worker {ATTEMPTS} times; the last time {error}"
            )
            self._fail(at_work, again)
            return
        singles = [Piece(row, row + 1) for piece in lost for row in range(*piece)]
        self._to_do.extendleft(reversed(singles))
        self._hand_out(worker)

    def _bury_idle(self, worker: int, error: WorkerDiedError, limit: int) -> None:
        """A worker died before it was given a piece."""
        self._idle_deaths += 1
        if self._idle_deaths > ATTEMPTS * len(self._workers):
            raise error
        self._replace(worker)
        self._hand_out(worker, limit)

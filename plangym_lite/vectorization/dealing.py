"""One batch on its way through the workers: dealt in pieces, gathered in order, nothing lost.

Because every row carries its state, a row that was lost with its worker is simply dealt again.
Each worker has its next piece before it has finished the one before. The first pieces are large;
the second ones, dealt as early as these, are small; and what is left is dealt in ever smaller
pieces to whoever comes for more. So neither a slow row nor a slow core holds up the rest.
"""

from __future__ import annotations

import math
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, NamedTuple

from plangym_lite.errors import WorkerDiedError
from plangym_lite.transitions import Rows
from plangym_lite.vectorization.channel import LateError, milliseconds
from plangym_lite.vectorization.shared import Block
from plangym_lite.vectorization.worker import Promise, Worker

__all__ = ["LARGE_PIECES", "PIECES", "Deal", "PieceSizes", "pieces_of"]

LATER_SHARE = 0.5  # of the rows left, dealt evenly
IN_HAND = 2  # pieces a worker holds: one at work, one to go on with
ATTEMPTS = 3


class PieceSizes(NamedTuple):
    """How batches are cut into pieces."""

    largest: int | None = None  # rows of a piece; None: any number
    smallest: int = 8  # frames: with no more for each worker, rows are not cut any further
    fewest: int = 1  # rows: the same, whatever they take
    share: float = 0.75  # of the rows, dealt evenly as first pieces; 1.0: no others are needed


PIECES = PieceSizes()
LARGE_PIECES = PieceSizes(fewest=64)
"""For environments that step their rows together: to begin costs them as much as many rows do."""


class Piece(NamedTuple):
    """Rows ``start`` to ``stop`` of a batch."""

    start: int
    stop: int


@lru_cache
def pieces_of(size: int, n_workers: int, sizes: PieceSizes, n_frames: int = 1) -> tuple[Piece, ...]:
    """Cut a batch into pieces, a round for all workers at a time; a row takes ``n_frames``."""
    pieces: list[Piece] = []
    start = 0
    smallest = max(sizes.fewest, sizes.smallest // n_frames)
    first, second, later = (sizes.share, 0.0, LATER_SHARE) if sizes.share < 1 else (1.0, 1.0, 1.0)
    shares = chain((first, second), repeat(later))
    while start < size:
        left = size - start
        even = -(-left // n_workers)  # in the last round nobody shall wait for one that has more
        rows = min(even, max(smallest, math.ceil(left * next(shares) / n_workers)))
        rows = min(rows, sizes.largest or rows)
        for _ in range(n_workers):
            if start < size:
                pieces.append(Piece(start, min(size, start + rows)))
                start = pieces[-1].stop
    return tuple(pieces)


class Deal:
    """Runs one batch.

    Args:
        workers: who runs it.
        block: where inputs and results lie.
        rows: the batch.
        replace: called with the index of a worker that must be replaced.
        collect: called with ``(start, stop, reply)`` for each piece, while others still run.
        blocking: one worker after another.
        piece_sizes: how the batch is cut.
        spin: seconds to look for answers again and again before blocking.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        block: Block,
        rows: Rows,
        *,
        replace: Callable[[int], None],
        collect: Callable[[int, int, Any], None],
        blocking: bool = False,
        piece_sizes: PieceSizes = PIECES,
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
        self._to_do = deque(pieces_of(len(rows.dts), len(workers), piece_sizes, n_frames))
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
        for limit in range(1, IN_HAND + 1):  # everyone gets a first piece, then a second
            for worker in range(len(self._workers) if self._to_do else 0):
                self._hand_out(worker, limit)
        while any(self._hands):
            for worker in self._wait(deadline):
                self._gather(worker)
        if self._error is not None:
            raise self._error[1]

    def unfinished(self) -> dict[int, Promise]:
        """The workers that are still at it, each with the last promise it gave."""
        return {worker: hand[-1][1] for worker, hand in enumerate(self._hands) if hand}

    def _hand_out(self, worker: int, limit: int = IN_HAND) -> None:
        while self._to_do and self._error is None and len(self._hands[worker]) < limit:
            if (self._blocking and any(self._hands)) or self._must_wait(worker):
                return
            piece = self._to_do.popleft()
            left_over = self._block.columns.fill(*piece, self._rows)
            try:
                promise = self._workers[worker].run_rows(self._block, *piece, left_over)
            except WorkerDiedError as error:
                self._to_do.appendleft(piece)
                if not self._hands[worker]:  # else _gather will see to it
                    self._bury_idle(worker, error, limit)
                return
            self._block.outstanding.append(promise)
            self._hands[worker].append((piece, promise))

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
                reply = promise.result()
            except WorkerDiedError as error:
                self._bury(worker, error)
                break
            except Exception as error:
                hand.popleft()
                self._fail(piece, error)
            else:
                hand.popleft()
                self._hand_out((worker + self._blocking) % len(self._workers))
                self._collect(*piece, reply)
        if not hand and self._to_do:
            for other in range(len(self._workers)):
                self._hand_out(other)

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

"""Helpers: workers that do as a script says, and scripts run from outside."""

import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import psutil

from plangym_lite import WorkerDiedError
from plangym_lite.vectorization import Promise, Worker
from plangym_lite.vectorization.worker.messages import dump_error

ROOT = Path(__file__).parents[2]


class ScriptedPromise(Promise):
    """Is done after it was asked ``delay`` times, unless its worker dies before."""

    def __init__(self, worker, life, delay, work):
        self.worker, self.life, self.delay, self.work = worker, life, delay, work

    def done(self):
        self.delay -= 1
        return self.delay < 0 or self.is_lost

    @property
    def is_lost(self):
        return self.worker.life != self.life or self.worker.dead

    def result(self, timeout=None):
        if self.is_lost:
            raise WorkerDiedError("the scripted worker died")
        return self.work(self)


class ScriptedWorker(Worker):
    """Adds one to each row's state; fails, dies or dawdles as its scripts say.

    Args:
        delays: after how many questions the pieces are done, over and over.
        deaths: numbers of the pieces, counted over all lives, over which it dies.
        bad_rows: rows that raise.
        deadly_rows: rows that kill.
        forgetful: with a deadly row goes what was answered before it and not yet taken.
        appetite: pieces that it takes from the queue for each that it is dealt.
    """

    def __init__(
        self,
        *,
        delays=(0,),
        deaths=(),
        bad_rows=(),
        deadly_rows=(),
        forgetful=False,
        appetite=0,
    ):
        self.takes_pieces, self.appetite = appetite > 0, appetite
        self.delays, self.deaths = delays, set(deaths)
        self.bad_rows, self.deadly_rows = set(bad_rows), set(deadly_rows)
        self.forgetful, self.in_hand = forgetful, set()
        self.life = self.given = self.under_way = self.most_under_way = 0
        self.dead = False
        self.ran = []
        self._always_readable = os.memfd_create("scripted")

    def run_rows(self, block, piece, left_over, queue=None):
        if self.dead:
            raise WorkerDiedError("the scripted worker was dead already")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        number, self.given = self.given, self.given + 1
        rows = block.columns.rows_of(*piece, left_over)
        inputs = rows.actions.copy(), rows.states.copy(), rows.dts.copy()
        self.in_hand |= set(range(*piece))

        def work(promise):
            self.under_way -= 1
            infos, taken = self._run(block, piece, inputs), []
            for more in islice(queue or (), self.appetite):
                self.in_hand |= set(range(*more))
                rows = block.columns.rows_of(*more, (None, None))
                try:
                    infos += self._run(block, more, (rows.actions, rows.states, rows.dts))
                except ValueError as error:
                    return infos, [], taken, (more.start, dump_error(error))
                taken.append(tuple(more))
            if number in self.deaths:
                self._die()
            return infos, [], taken

        delay = self.delays[number % len(self.delays)]
        return ScriptedPromise(self, self.life, delay, work)

    def _run(self, block, piece, inputs):
        rows = set(range(*piece))
        if self.deadly_rows & (self.in_hand if self.forgetful else rows):
            self._die()
        if bad := sorted(self.bad_rows & rows):
            raise ValueError(f"row {bad[0]}")
        actions, states, dts = inputs
        out = block.columns.out_of(*piece)
        out.states[:] = states + 1
        out.rewards[:] = actions * 100 + dts
        self.ran.append(tuple(piece))
        self.in_hand -= rows
        return [{"row": row} for row in range(*piece)]

    def _die(self):
        self.dead = True
        raise WorkerDiedError("the scripted worker died")

    def restart(self):
        self.life, self.dead, self.under_way = self.life + 1, False, 0
        self.in_hand = set()

    def fileno(self):
        return self._always_readable

    def close(self, timeout=0.0):
        if self._always_readable >= 0:
            os.close(self._always_readable)
            self._always_readable = -1

    def call(self, name, /, *args, **kwargs):
        raise NotImplementedError

    access = call

    def detach(self, number):
        pass


def run_python(*arguments, timeout=50, **options):
    """Run a Python of its own; return what it printed. It must succeed and print no error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        timeout=timeout,
        capture_output=True,
        text=True,
        **options,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def is_running(pid):
    """Whether the process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, timeout=10.0):
    """Wait for a condition; whether it came true."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()

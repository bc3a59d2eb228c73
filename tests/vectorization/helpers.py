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
from plangym_lite.vectorization.memory.arenas import make_arena
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.worker.messages import dump_error

ROOT = Path(__file__).parents[2]


def block_of(layout):
    """A block in an arena of its own."""
    return Block(layout, *make_arena(layout.nbytes, [layout.nbytes]))


class ScriptedPromise(Promise):
    """Is done after it was asked ``delay`` times, unless its worker dies before."""

    def __init__(self, worker, life, delay, work):
        self.worker, self.life, self.delay, self.work = worker, life, delay, work
        self.answer = None

    def done(self):
        self.delay -= 1
        if self.delay < 0 and self.answer is None and not self.is_lost:
            self.answer = self.work()
            if self.answer == "none":
                self.delay, self.answer = 10**9, None
        return self.answer is not None or self.is_lost

    @property
    def is_lost(self):
        return self.worker.life != self.life or self.worker.dead

    def result(self, timeout=None):
        if self.answer is None:
            raise WorkerDiedError("the scripted worker died")
        return self.answer


class ScriptedWorker(Worker):
    """Adds one to each row's state; fails, dies or dawdles as its scripts say.

    Args:
        delays: after how many questions its answers come, over and over.
        deaths: numbers of the chunks, counted over all lives, over which it dies.
        bad_rows: rows that raise.
        deadly_rows: rows that kill.
        takes: whether it takes chunks by itself.
        appetite: chunks that it takes before it answers, as if the queue were empty.
        refuses: numbers of the chunks that it says it does not know the block of.
        hangs: numbers of the chunks that it takes, never to be heard of again.
    """

    def __init__(
        self,
        *,
        delays=(0,),
        deaths=(),
        bad_rows=(),
        deadly_rows=(),
        takes=True,
        appetite=10**9,
        refuses=(),
        hangs=(),
    ):
        self.takes_chunks, self.appetite, self.refuses = takes, appetite, set(refuses)
        self.delays, self.deaths = delays, set(deaths)
        self.bad_rows, self.deadly_rows = set(bad_rows), set(deadly_rows)
        self.life = self.asked = self.begun = self.under_way = self.most_under_way = 0
        self.dead, self.hangs, self.blocks = False, set(hangs), {}
        self.ran = []
        self._always_readable = os.open(__file__, os.O_RDONLY)

    def run_rows(self, block, start, stop):
        return self._promise(lambda: self._answer([(block, start, stop)]))

    def take_chunks(self, block, queue, taker):
        def chunks():
            for number, *chunk in islice(iter(queue.take, None), self.appetite):
                block = self.blocks.get(number)
                if block is not None:
                    block.columns.at_work[taker] = chunk
                yield block, *chunk
                block.columns.at_work[taker] = 0

        self.blocks = {block.number: block}
        return self._promise(lambda: self._answer(chunks()))

    def _promise(self, work):
        if self.dead:
            raise WorkerDiedError("the scripted worker was dead already")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        number, self.asked = self.asked, self.asked + 1
        return ScriptedPromise(self, self.life, self.delays[number % len(self.delays)], work)

    def _answer(self, chunks):
        self.under_way -= 1
        ran, infos = [], []
        for block, start, stop in chunks:
            number, self.begun = self.begun, self.begun + 1
            if number in self.refuses or block is None:
                return ran, infos, [], 0.0, None, (start, stop)
            rows = set(range(start, stop))
            if number in self.hangs:
                return "none"
            if number in self.deaths or self.deadly_rows & rows:
                self.dead = True
                return None
            if bad := sorted(self.bad_rows & rows):
                failure = start, stop, dump_error(ValueError(f"row {bad[0]}"))
                return ran, infos, [], 0.0, failure, None
            given, out = block.columns.rows_of(start, stop), block.columns.out_of(start, stop)
            out.states[:] = given.states + 1
            out.rewards[:] = given.actions * 100 + given.dts
            self.ran.append((start, stop))
            ran.append((start, stop))
            infos += [{"row": row} for row in range(start, stop)]
        return ran, infos, []

    def restart(self):
        self.life, self.dead, self.under_way = self.life + 1, False, 0

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

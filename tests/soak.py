"""Soak: batches at full speed under random faults, compared with a serial twin; see ``make soak``.

Two threads share the environment; only the main one is interrupted.

Faults come at random moments, from a thread (kill, stall, interrupt) or from rows of the batches
themselves (raise, crash). A batch that a fault takes from its caller (an error of the environment,
a timeout, Ctrl-C) is asked for once more, as any caller would. Every answer is compared with what a
plain environment gave for the same row.

A row is wrong if any field of its answer differs, and lost if it is never answered. A leak is what
is left when all is closed: processes, descriptors, names in shared memory; and memory that grew.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import psutil

from plangym_lite import WorkerDiedError, make
from plangym_lite.nested import differences
from plangym_lite.vectorization import ParallelEnv
from plangym_lite.vectorization.process.start import forkserver_pid
from tests.same import rows_of

GAME = "ALE/MsPacman-v5"
TABLE = 800  # rows that the twin has run; a batch is drawn from them
TURNOVER = 60.0  # seconds after which the twin runs new ones
LARGEST = 300  # rows of a batch
PATIENCE = 10  # how much longer than in calm a batch or a start may take; a stall costs as much
SHORTEST = 1.0  # seconds, however fast they are
RAISES, CRASHES = 1001, 1002  # frames that no ordinary row asks for
WARM = 200  # batches after which memory should grow no more
GROWTH = 48 << 20  # bytes of memory beyond which growth is called a leak
EVERY = {"kill": 1.0, "stall": 6.0, "interrupt": 0.7}  # seconds between faults, on average
SHARES = {"raise": 0.02, "crash": 0.004}  # of the batches, those with a row that does so
THREADS = 2  # that ask for batches


class SoakError(Exception):
    """Raised by a row that was told to."""


def make_env() -> Any:
    """The game, except that two lengths of a row mean an error and a crash."""
    env = make(GAME, obs_type="rgb", frameskip=1)
    advance = env.advance

    def troubled(action: Any, n_frames: int) -> Any:
        if n_frames == RAISES:
            raise SoakError("it was told to")
        is_worker = multiprocessing.parent_process() is not None
        if n_frames == CRASHES and is_worker and crash_is_due():
            os.abort()
        return advance(action, min(n_frames, 4) if n_frames >= RAISES else n_frames)

    env.advance = troubled
    return env


def crash_is_due() -> bool:
    """Whether this process is the one to crash: the first that takes the order away."""
    try:
        os.unlink(order())
    except FileNotFoundError:
        return False
    return True


def order() -> str:
    """Path of the order to crash."""
    return os.environ["PLANGYM_LITE_SOAK_ORDER"]


class Table:
    """Rows that the serial twin has run: what goes in, and what must come out."""

    def __init__(self, twin: Any, draw: random.Random) -> None:
        self.states, self.actions, self.dts = [], [], []
        twin.reset()
        for _ in range(TABLE):
            self.states.append(twin.get_state())
            self.actions.append(twin.sample_action())
            self.dts.append(draw.choice([1, 2, 4, 8, CRASHES]))
            step = twin.step(twin.sample_action(), dt=draw.randint(1, 8))
            if step.terminated or step.truncated:
                twin.reset()
        batch = twin.step_batch(self.actions, self.states, self.dts)
        self.observs, self.fields = batch.observs, batch._replace(observs=None)
        self.rows = rows_of(twin, batch)

    def wrong(self, env: Any, picks: list[int], batch: Any) -> int:
        """How many rows of an answer differ from what they must be."""
        same = np.ones(len(picks), bool)
        for name in ("states", "observs", "rewards", "terminateds", "truncateds"):
            got = getattr(batch, name)
            expected = (self.observs if name == "observs" else getattr(self.fields, name))[picks]
            if got.shape != expected.shape or got.dtype != expected.dtype:
                return len(picks)
            same &= (got == expected).reshape(len(picks), -1).all(1)
        infos = [
            next(iter(differences(self.rows[pick][-1], info, "info")), None)
            for pick, info in zip(picks, batch.infos, strict=True)
        ]
        return int((~same | np.array([found is not None for found in infos])).sum())


class Faults(threading.Thread):
    """Kills and stops workers, and interrupts the main thread, at random moments."""

    def __init__(self, soak: Soak, kind: str) -> None:
        super().__init__(daemon=True)
        self._soak, self._kind, self._draw = soak, kind, random.Random(f"{soak.seed} {kind}")

    def run(self) -> None:
        answered = -1
        while not self._soak.over.wait(self._draw.expovariate(1 / EVERY[self._kind])):
            if answered == self._soak.counts["batches"]:
                continue  # on a busy machine nothing would ever be answered
            answered = self._soak.counts["batches"]
            if self._kind == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                continue
            pid = self._draw.choice(list(self._soak.env.batch_env)).pid
            with suppress(ProcessLookupError, TypeError):  # none just now
                os.kill(pid, signal.SIGKILL if self._kind == "kill" else signal.SIGSTOP)
                self._soak.faults[self._kind] += 1


class Soak:
    """One run; ``report`` says how it went."""

    def __init__(self, minutes: float, workers: int, seed: int) -> None:
        self.seconds, self.seed = 60 * minutes, seed
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.counting = threading.Lock()
        self.failures: list[BaseException] = []
        self.over = threading.Event()
        self.interruptible = False
        signal.signal(signal.SIGINT, self.interrupt)
        start_timeout = self.measure_calm(workers)
        self.before = left_open()
        self.env = ParallelEnv(make_env, n_workers=workers, start_timeout=start_timeout)
        self.memory = 0

    def measure_calm(self, workers: int) -> float:
        """How long a start may take; and set how long a batch may."""
        start = time.monotonic()
        with ParallelEnv(make_env, n_workers=workers) as env:
            middle = time.monotonic()
            for _ in range(3):
                env.step_batch([env.sample_action()] * LARGEST, dt=8)
            self.timeout = max(SHORTEST, PATIENCE * (time.monotonic() - middle) / 3)
        return max(SHORTEST, PATIENCE * (middle - start))

    def interrupt(self, *args: Any) -> None:
        if self.interruptible:  # only inside of a batch
            self.interruptible = False
            self.faults["interrupt"] += 1
            raise KeyboardInterrupt

    def allow_interrupts(self, allowed: bool) -> None:
        """In the main thread, let faults interrupt it from now on, or not."""
        if threading.current_thread() is threading.main_thread():
            self.interruptible = allowed

    def run(self) -> None:
        """Run batches until the time is over."""
        self.started = time.monotonic()
        others = [threading.Thread(target=self.ask_all, args=(n,)) for n in range(1, THREADS)]
        threads = [*others, *(Faults(self, kind) for kind in EVERY)]
        for thread in threads:
            thread.start()
        self.ask_all(0)
        self.took = time.monotonic() - self.started
        for thread in others:
            thread.join()
        self.over.set()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]
        gc.collect()
        self.growth = memory_in_use() - self.memory if self.memory else 0
        self.env.close()

    def ask_all(self, number: int) -> None:
        """What one thread does."""
        draw, end = random.Random(self.seed + number), self.started + self.seconds
        renewed = -TURNOVER
        try:
            with make_env() as twin:
                while time.monotonic() < end:
                    if time.monotonic() - renewed > TURNOVER:
                        table, renewed = Table(twin, draw), time.monotonic()
                    self.batch(table, draw)
                    if number == 0:
                        self.measure_memory()
        except BaseException as error:
            self.failures.append(error)

    def measure_memory(self) -> None:
        """Once, when it should grow no more."""
        is_warm = time.monotonic() > self.started + self.seconds / 4
        if is_warm and self.counts["batches"] > WARM and not self.memory:
            gc.collect()
            self.memory = memory_in_use()

    def count(self, **numbers: int) -> None:
        """Add to ``counts``."""
        with self.counting:
            self.counts.update(numbers)

    def batch(self, table: Table, draw: random.Random) -> None:
        """One batch: asked for until it is answered, and compared."""
        picks = [draw.randrange(TABLE) for _ in range(draw.randint(1, LARGEST))]
        self.count(asked=len(picks))
        dts = [table.dts[pick] for pick in picks]
        if draw.random() < SHARES["crash"] and CRASHES in dts:
            with suppress(FileExistsError), open(order(), "x"):
                self.faults["crash"] += 1
        if draw.random() < SHARES["raise"]:
            self.ask_with_an_error(table, picks, dts, draw.randrange(len(dts)))
        for _ in range(20):
            batch = self.ask(table, picks, dts)
            if batch is not None:
                wrong = table.wrong(self.env, picks, batch)
                return self.count(batches=1, answered=len(picks), wrong=wrong)
            self.count(repeats=1)
        print(f"lost: a batch of {len(picks)} rows, asked for 20 times", file=sys.stderr)

    def ask(self, table: Table, picks: list[int], dts: list[int]) -> Any:
        """The answer to a batch; ``None`` if it was interrupted or took too long."""
        states = [table.states[pick] for pick in picks]
        actions = [table.actions[pick] for pick in picks]
        try:
            self.allow_interrupts(True)
            batch = self.env.step_batch(actions, states, dts, timeout=self.timeout)
            self.allow_interrupts(False)
            return batch
        except (KeyboardInterrupt, TimeoutError):
            return None
        except WorkerDiedError as error:  # the killer hit one row, or one start, three times
            print(f"given up: {error}", file=sys.stderr)
            return None
        finally:
            self.allow_interrupts(False)

    def ask_with_an_error(self, table: Table, picks: list[int], dts: list[int], row: int) -> None:
        """That row of the batch raises: that error, and no other, must come."""
        bad = [*dts[:row], RAISES, *dts[row + 1 :]]
        try:
            answer = self.ask(table, picks, bad)
        except SoakError as error:
            self.faults["raise"] += 1
            answer = None
            if not any(
                f"row {row} " in note for note in getattr(error, "__notes__", [f"row {row} "])
            ):
                self.count(wrong=1)
        if answer is not None:
            self.count(wrong=1)

    def report(self) -> bool:
        """Print how it went; whether all was well."""
        counts, wrong = self.counts, self.counts["wrong"]
        lost = counts["asked"] - counts["answered"]
        left = {name: max(0, now - self.before[name]) for name, now in left_open().items()}
        leaks = sum(left.values()) + (self.growth > GROWTH)
        faults = ", ".join(f"{kind} {self.faults[kind]:,}" for kind in (*EVERY, *SHARES))
        found = ", ".join(f"{name} {count}" for name, count in left.items())
        grown = (
            f"{self.growth / 2**20:+.1f} MB" if self.memory else "not measured in so short a time"
        )
        workers = self.env.n_workers
        print(
            f"soak     {self.took / 60:.1f} minutes, {workers} workers, {THREADS} threads, "
            f"{GAME} in rgb, seed {self.seed}, a timeout of {self.timeout:.1f} s\n"
            f"batches  {counts['batches']:,}, asked for again {counts['repeats']:,}\n"
            f"rows     {counts['answered']:,}, {counts['answered'] / self.took:,.0f} a second\n"
            f"faults   {faults}\n"
            f"rows     wrong {wrong}, lost {lost}\n"
            f"leaks    {leaks}: {found}, memory {grown}"
        )
        return not (wrong or lost or leaks)


def left_open() -> dict[str, int]:
    """What is open now."""
    gc.collect()
    below = [
        child
        for child in psutil.Process().children(recursive=True)
        if child.pid != forkserver_pid()
    ]
    shared = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    return {
        "processes": len(below),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "names in shared memory": len(shared),
    }


def memory_in_use() -> int:
    """Bytes of memory that this process alone holds."""
    return psutil.Process().memory_full_info().uss


def main() -> int:
    """Run it; 0 if all was well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PLANGYM_LITE_SOAK_ORDER"] = os.path.join(folder, "order")
        soak = Soak(options.minutes, options.workers, options.seed)
        soak.run()
        return 0 if soak.report() else 1


if __name__ == "__main__":
    sys.exit(main())

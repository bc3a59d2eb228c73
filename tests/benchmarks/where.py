"""Where the time of a batch goes: ``python -m tests.benchmarks.where [--obs ram] [--batch 128]``.

Puts stopwatches around functions of the parent and of one worker, and prints percentages of the
time of a batch. A function's time is without that of the watched ones inside of it. A watch costs
about a microsecond, which is the caller's.
"""

import argparse
import functools
import time

import numpy as np

import plangym_lite
from plangym_lite import core
from plangym_lite.envs.atari.env import AtariEnv
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.vectorization.dispatch.dispatcher import Dispatcher, RunningBatch
from plangym_lite.vectorization.memory.blocks import BlockPool
from plangym_lite.vectorization.memory.layout import BatchColumns
from plangym_lite.vectorization.parallel import ParallelEnv
from plangym_lite.vectorization.process import server
from plangym_lite.vectorization.process.process import ExternalProcess, ProcessPromise
from plangym_lite.vectorization.worker.channel import Channel
from plangym_lite.vectorization.worker.handler import RequestHandler

GAME = "ALE/MsPacman-v5"
PARENT = {
    "wait for the workers": [(Dispatcher, "_wait")],
    "check the arguments": [(core, "prepare_call")],
    "copy states and actions in": [(BatchColumns, "fill")],
    "write requests": [(ExternalProcess, "take_chunks"), (Channel, "send")],
    "read answers": [(ExternalProcess, "take_in"), (ProcessPromise, "result")],
    "find a block": [(BlockPool, "acquire")],
    "copy states and small observations out, hand out the result": [(RunningBatch, "finish")],
}
WORKER = {
    "run frames": [(AtariEnv, "advance")],
    "restore states": [(AtariEnv, "load_state")],
    "save states": [(AtariEnv, "save_state")],
    "read observations": [(AtariEnv, "write_obs")],
    "loop over rows": [(SimulatorEnv, "make_transitions")],
    "read requests, wait for them": [(Channel, "receive")],
    "find the rows": [(RequestHandler, "take_chunks")],
    "write answers": [(server, "dump"), (Channel, "send")],
}


class Watches:
    """Stopwatches around functions, of which only the innermost runs."""

    def __init__(self, what, clock=time.perf_counter):
        self.seconds, self._clock = dict.fromkeys(what, 0.0), clock
        self._running, self._since = [], clock()
        for name, functions in what.items():
            for owner, function in functions:
                setattr(owner, function, self._watched(name, getattr(owner, function)))

    def _watched(self, name, function):
        @functools.wraps(function)
        def watched(*args, **kwargs):
            self._turn()
            self._running.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn()
                self._running.pop()

        return watched

    def _turn(self):
        now = self._clock()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def read(self):
        """What they show; they start anew."""
        shown = dict(self.seconds)
        self.seconds.update(dict.fromkeys(shown, 0.0))
        return shown


def in_a_worker(obs_type):
    """Made in the worker's process: an environment that can be asked for the watches there."""
    watches = Watches(WORKER)
    env = plangym_lite.make(GAME, obs_type=obs_type, frameskip=1)
    env.read_watches = watches.read
    return env


def show(title, total, seconds):
    print(f"\n{title}")
    seconds["everything else"] = total - sum(seconds.values())
    for name, part in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {100 * part / total:5.1f} %  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--obs", default="ram")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with plangym_lite.make(GAME, obs_type=options.obs, frameskip=1) as env:
        env.reset(seed=0)
        walk = [env.step(env.sample_action(), return_state=True) for _ in range(300)]
        states = np.stack([step.state for step in walk])[np.arange(options.batch) % 300]
        actions = np.random.default_rng(0).integers(env.n_actions, size=options.batch)
    here = functools.partial(in_a_worker, options.obs)
    with ParallelEnv(here, n_workers=options.workers, use_caller=False) as env:
        for _ in range(20):
            env.step_batch(actions, states)
        watches = Watches(PARENT)
        env.batch_env[0].call("read_watches").result()
        watches.read()
        start = time.perf_counter()
        for _ in range(options.batches):
            held = env.step_batch(actions, states)
        total = time.perf_counter() - start
        shown, theirs = watches.read(), env.batch_env[0].call("read_watches").result()
    assert len(held.rewards) == options.batch
    row = total / options.batches / options.batch * 1e6
    print(f"{options.obs}, batch {options.batch}, {options.workers} workers: {row:.1f} us a row")
    show("the parent", total, shown)
    show("one worker", total, theirs)


if __name__ == "__main__":
    main()

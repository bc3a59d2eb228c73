"""Where the CPU time of a decision goes: ``python -m tests.benchmarks.decision``.

``cem`` and ``mppi`` with 12,000 simulator calls on cartpole-swingup, in one thread, with
stopwatches around functions: see ``where.py``.
"""

import argparse
import time

import mujoco.batch
import numpy as np

import plangym_lite
from plangym_lite import core
from plangym_lite.envs.mujoco.batch import Simulations
from plangym_lite.envs.mujoco.dm_control import DMControlEnv
from plangym_lite.envs.mujoco.dm_control.kernels import Cartpole
from plangym_lite.planners import cem, mppi
from tests.benchmarks.where import Watches, show

TASK, CALLS = "cartpole-swingup", 12_000
WATCHED = {
    "physics": [(mujoco.batch.Batch, "step")],
    "states in and out of the physics, changes of the model": [(Simulations, "step")],
    "rewards": [(Cartpole, "rewards")],
    "observations": [(Cartpole, "observe")],
    "check the arguments": [(core, "prepare_call")],
    "the rest of a batch: states taken apart and put together, infos": [(DMControlEnv, "run_rows")],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=20)
    options = parser.parse_args()
    with plangym_lite.make(TASK, render_mode=None) as env:
        state, *_ = env.reset(seed=0)
        watches = Watches(WATCHED, time.process_time)
        for planner in (cem, mppi):
            shown, total = [], []
            for _ in range(options.decisions):
                start = time.process_time()
                planner(env, state, budget=CALLS, rng=np.random.default_rng(0))
                total.append(time.process_time() - start)
                shown.append(watches.read())
            middle = {name: float(np.median([one[name] for one in shown])) for name in WATCHED}
            took = float(np.median(total))
            show(f"{planner.__name__}, {CALLS:,} calls: {took * 1e3:.0f} ms", took, middle)


if __name__ == "__main__":
    main()

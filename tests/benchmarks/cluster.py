"""RayEnv against ParallelEnv, same number of workers: ``python tests/benchmarks/cluster.py``.

All rows travel through Ray, as they do to other nodes. Atari, RAM and RGB, 4 frames, batches of 256
rows with states in and out, in alternating rounds on this machine. Prints microseconds for each
row, the share of ParallelEnv's speed that RayEnv keeps, and the CPU time of the driver's process
for each row, from which ``docs/cluster.md`` computes how many workers one driver can feed.

(Not called ``ray.py``: a script's folder comes first when Python looks for the package ``ray``.)
"""

import argparse
import statistics
import time

import numpy as np

from plangym_lite.envs.atari.env import AtariEnv
from plangym_lite.vectorization import ParallelEnv
from plangym_lite.vectorization.ray.cluster import Connection
from plangym_lite.vectorization.ray.env import CHUNK_SIZE, RayEnv

GAME = "ALE/MsPacman-v5"


def time_round(env, states, actions, batches):
    """Seconds, and seconds of this process's CPU, for ``batches`` batches in a row."""
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        states = env.step_batch(actions, states).states
    return time.perf_counter() - started, time.process_time() - cpu


def compare(obs_type, chunk_size, use_caller, options):
    """Print one line of the table."""
    options = {"obs_type": obs_type, "frameskip": 4, "use_caller": use_caller}
    count = options.workers
    envs = {
        "processes": ParallelEnv(AtariEnv, GAME, n_workers=count, **options),
        "ray": RayEnv(AtariEnv, GAME, n_workers=count, chunk_size=chunk_size, **options),
    }
    rng = np.random.default_rng(0)
    actions = rng.integers(envs["ray"].action_space.n, size=options.batch)
    times = {name: [] for name in envs}
    try:
        states = np.stack([envs["ray"].reset(seed=0)[0]] * options.batch)
        for env in envs.values():
            time_round(env, states, actions, 12)
        for _ in range(options.rounds):
            for name, env in envs.items():
                times[name].append(time_round(env, states, actions, options.batches))
    finally:
        for env in envs.values():
            env.close()
    rows = options.batch * options.batches
    share = statistics.median(
        ours / theirs
        for (ours, _), (theirs, _) in zip(times["processes"], times["ray"], strict=True)
    )
    ours, theirs = (
        statistics.median(wall for wall, _ in times[name]) / rows * 1e6 for name in envs
    )
    cpu = statistics.median(cpu for _, cpu in times["ray"]) / rows * 1e6
    crew = "workers only" if use_caller is False else "with caller"
    cells = f"{obs_type:4s} {chunk_size:6d} {crew:13s} {ours:10.1f} {theirs:8.1f}"
    print(f"{cells} {share:6.2f} {cpu:12.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=5, help="of a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--observs", nargs="+", default=["ram", "rgb"])
    parser.add_argument("--chunks", type=int, nargs="+", default=[CHUNK_SIZE])
    options = parser.parse_args()
    connection = Connection({"address": "local", "object_store_memory": 1 << 30})
    print("obs   chunk crew          processes      ray  share  driver's CPU   (us a row)")
    for obs_type in options.observs:
        for chunk_size in options.chunks:
            for use_caller in (False, None):
                compare(obs_type, chunk_size, use_caller, options)
    connection.close()


if __name__ == "__main__":
    main()

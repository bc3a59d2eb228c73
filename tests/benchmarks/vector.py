"""SubprocVectorEnv against Gymnasium's AsyncVectorEnv: ``python tests/benchmarks/vector.py``.

The same environments, Atari with RGB observations, the same actions, in alternating rounds. Prints
microseconds for each step of one environment, and the ratio theirs / ours: more than 1 means that
ours is faster. The last column is ours with the environments of ``plangym_lite.make``.
"""

import argparse
import statistics
import time
from functools import partial

import ale_py
import gymnasium as gym

import plangym_lite
from plangym_lite.vector.gymnasium import SubprocVectorEnv

GAME = "ALE/MsPacman-v5"


def make_game(frameskip):
    """The game as Gymnasium makes it."""
    gym.register_envs(ale_py)
    return gym.make(GAME, frameskip=frameskip, repeat_action_probability=0.0)


def time_round(env, actions):
    """Seconds for stepping through ``actions``; the observations are held as a learner would."""
    env.reset(seed=0)
    for action in actions[:10]:
        env.step(action)
    started = time.perf_counter()
    for action in actions:
        held = env.step(action)[0]
    elapsed = time.perf_counter() - started
    assert held.shape == (env.num_envs, 210, 160, 3)
    return elapsed


def compare(num_envs, frameskip, rounds, steps):
    """Print one line of the table."""
    plain = partial(make_game, frameskip)
    ours = partial(plangym_lite.make, GAME, frameskip=frameskip)
    kinds = {
        "AsyncVectorEnv": gym.vector.AsyncVectorEnv([plain] * num_envs),
        "SubprocVectorEnv": SubprocVectorEnv([plain] * num_envs),
        "SubprocVectorEnv, make": SubprocVectorEnv([ours] * num_envs),
    }
    space = kinds["AsyncVectorEnv"].action_space
    space.seed(0)
    actions = [space.sample() for _ in range(steps)]
    times = {name: [] for name in kinds}
    try:
        for _ in range(rounds):
            for name, env in kinds.items():
                times[name].append(time_round(env, actions) / steps / num_envs * 1e6)
    finally:
        for env in kinds.values():
            env.close()
    theirs = times["AsyncVectorEnv"]
    cells = [f"{num_envs:4d} {frameskip:6d}  {statistics.median(theirs):8.1f}"]
    for name in list(kinds)[1:]:
        ratio = statistics.median(a / b for a, b in zip(theirs, times[name], strict=True))
        cells.append(f"{statistics.median(times[name]):8.1f} x{ratio:.2f}")
    print("   ".join(cells), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--frameskips", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    print("envs frames  Async us   Subproc us, ratio   with make us, ratio")
    for frameskip in options.frameskips:
        for num_envs in options.envs:
            compare(num_envs, frameskip, options.rounds, options.steps)


if __name__ == "__main__":
    main()

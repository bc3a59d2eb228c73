"""What a walk of mcts and a call of rollout_iw cost, in microseconds of CPU time, with the goals.

``python tests/tools/planners.py [--rounds N] [--only TEXT]``. "Own" is all that is not stepping or
random play. Every line is measured once in each round; each figure is the least of all rounds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from plangym_lite import make, planners
from plangym_lite.planners import Simulator

ROUNDS = 15
WIDTH = 48  # of a label
CARTPOLE, LAKE = "CartPole-v1", "FrozenLake-v1"
ATARI = {"obs_type": "ram"}


def nothing(observs, states):
    return np.zeros(len(states))


def uniform(observs, states):
    return np.ones((len(states), 2))


def all_legal(observs, states, infos):
    return np.ones((len(states), 2), bool)


class Line(NamedTuple):
    """A search that is measured, with its goals."""

    label: str
    prepare: Callable[[], Callable[[], int]]  # the search; it returns the number it is divided by
    own: float | None = None  # goals
    whole: float | None = None


class Clock:
    """CPU time spent in some methods of :class:`Simulator`, also where one calls another."""

    def __init__(self, *names):
        self.spent, self.depth = 0.0, 0
        for name in names:
            setattr(Simulator, name, self._timed(getattr(Simulator, name)))

    def _timed(self, method):
        def timed(*args, **kwargs):
            start, self.depth = time.process_time(), self.depth + 1
            try:
                return method(*args, **kwargs)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.spent += time.process_time() - start

        return timed

    def measure(self, search: Callable[[], int]) -> tuple[float, float]:
        """Microseconds per unit: own and whole."""
        self.spent, start = 0.0, time.process_time()
        units = search()
        whole = time.process_time() - start
        return (whole - self.spent) / units * 1e6, whole / units * 1e6


def walks(name, n_walks=2000, env_options=(), **options):
    """A search of mcts; a unit is a walk."""

    def prepare():
        env = make(name, **dict(env_options))
        state = env.reset(seed=0)[0]

        def search():
            rng = np.random.default_rng(0)
            planners.mcts(env, state, num_simulations=n_walks, rng=rng, **options)
            return n_walks

        return search

    return prepare


def many_roots(n_roots, n_walks):
    """A tree from each of many states; a unit is a walk."""

    def prepare():
        env, rng = make(CARTPOLE), np.random.default_rng(0)
        states = [env.reset(seed=0)[0]]
        while len(states) < n_roots:
            step = env.step(int(rng.integers(2)), states[-1])
            states.append(states[0] if step.terminated else step.state)

        def search():
            options = {"num_simulations": n_walks, "value_fn": nothing}
            planners.mcts(env, np.array(states), rng=np.random.default_rng(0), **options)
            return n_roots * n_walks

        return search

    return prepare


def calls(name, batch_size, **env_options):
    """A search of rollout_iw; a unit is a simulator call."""

    def prepare():
        env = make(name, **env_options)
        state = env.reset(seed=0)[0]

        def search():
            options = {"budget": 500, "batch_size": batch_size, "subtables": False}
            output = planners.rollout_iw(env, state, rng=np.random.default_rng(0), **options)
            return output.search.simulator_calls

        return search

    return prepare


def lines() -> Iterator[Line]:
    """All lines; goals of issue 18."""
    yield Line("CartPole, random play", walks(CARTPOLE), 40, 200)
    value = {"value_fn": nothing}
    yield Line("CartPole, value_fn", walks(CARTPOLE, **value), 30, 35)
    yield Line("CartPole, value_fn, batches of 1", walks(CARTPOLE, batch_size=1, **value), 80)
    yield Line("CartPole, value_fn, depth 100", walks(CARTPOLE, max_depth=100, **value), 80)
    yield Line("CartPole, PUCT", walks(CARTPOLE, policy_fn=uniform, **value), 30)
    yield Line("CartPole, legal_actions", walks(CARTPOLE, legal_actions=all_legal, **value), 30)
    yield Line("CartPole, 64 roots of 200 walks", many_roots(64, 200), None, 20)
    yield Line("FrozenLake, random play", walks(LAKE), 25)
    yield Line("FrozenLake, resample, 300 walks", walks(LAKE, 300, resample=True, **value))
    boxing = {**ATARI, "full_action_space": True}
    yield Line("Boxing, 18 actions", walks("ALE/Boxing-v5", 500, boxing, **value), 60)
    for size in (1, 8):
        yield Line(f"rollout_iw, CartPole, batches of {size}", calls(CARTPOLE, size), 60)
    for size in (1, 8):
        search = calls("ALE/MsPacman-v5", size, **ATARI)
        yield Line(f"rollout_iw, Ms. Pac-Man, batches of {size}", search, 60)


def cell(microseconds: float, goal: float | None) -> str:
    return f"{microseconds:8.1f} {'' if goal is None else f'({goal:g})':>6s}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", metavar="TEXT", help="lines with TEXT in their label")
    args = parser.parse_args()
    clock = Clock("step", "play", "roll_out")
    chosen = [line for line in lines() if args.only.lower() in line.label.lower()]
    searches = [line.prepare() for line in chosen]
    least = np.full((len(chosen), 2), np.inf)
    for _ in range(args.rounds):
        times = [clock.measure(search) for search in searches]
        least = np.minimum(least, times)
    print(f"{args.rounds} rounds, load {os.getloadavg()[0]:.1f}; microseconds (goal)")
    print(f"{'':{WIDTH}s}{'own':>8s}        {'whole':>8s}")
    for line, (own, whole) in zip(chosen, least.tolist(), strict=True):
        print(f"{line.label:{WIDTH}s}{cell(own, line.own)} {cell(whole, line.whole)}")


if __name__ == "__main__":
    main()

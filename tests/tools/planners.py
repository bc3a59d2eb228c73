"""What a walk of mcts costs, in microseconds of CPU time: ``python tests/.../planners.py``.

"Tree" is all that is not stepping or random play. Each figure is the least of four runs.
"""

from __future__ import annotations

import time

import numpy as np

from plangym_lite import make, planners
from plangym_lite.planners import Simulator

RUNS = 4


def nothing(observs, states):
    return np.zeros(len(states))


def uniform(observs, states):
    return np.ones((len(states), 2))


def all_legal(observs, states, infos):
    return np.ones((len(states), 2), bool)


SEARCHES = [
    ("CartPole, random play", "CartPole-v1", {}),
    ("CartPole, value_fn", "CartPole-v1", {"value_fn": nothing}),
    ("CartPole, value_fn, batches of 1", "CartPole-v1", {"value_fn": nothing, "batch_size": 1}),
    ("CartPole, value_fn, depth 100", "CartPole-v1", {"value_fn": nothing, "max_depth": 100}),
    ("CartPole, PUCT", "CartPole-v1", {"value_fn": nothing, "policy_fn": uniform}),
    ("CartPole, legal", "CartPole-v1", {"value_fn": nothing, "legal_actions": all_legal}),
    ("FrozenLake, random play", "FrozenLake-v1", {}),
    ("Boxing, 18 actions, value_fn", "ALE/Boxing-v5", {"value_fn": nothing}),
]


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


def measure(clock, name, options, walks):
    """The least time of a walk: of the tree, and of all."""
    atari = {"obs_type": "ram", "full_action_space": True} if "ALE" in name else {}
    least = np.inf, np.inf
    with make(name, **atari) as env:
        state = env.reset(seed=0)[0]
        for _ in range(RUNS):
            clock.spent, start = 0.0, time.process_time()
            rng = np.random.default_rng(0)
            planners.mcts(env, state, num_simulations=walks, rng=rng, **options)
            whole = time.process_time() - start
            times = (whole - clock.spent) / walks * 1e6, whole / walks * 1e6
            least = tuple(map(min, least, times))
    return least


def measure_roots(roots, walks):
    """The least time of a walk with many roots."""
    with make("CartPole-v1") as env:
        states, rng = [env.reset(seed=0)[0]], np.random.default_rng(0)
        while len(states) < roots:
            step = env.step(int(rng.integers(2)), states[-1])
            states.append(states[0] if step.terminated else step.state)
        least = np.inf
        for _ in range(RUNS):
            start = time.process_time()
            options = {"num_simulations": walks, "value_fn": nothing}
            planners.mcts(env, np.array(states), rng=np.random.default_rng(0), **options)
            least = min(least, (time.process_time() - start) / roots / walks * 1e6)
    return least


def measure_rollout_iw(clock, name, batch_size):
    """The time of rollout_iw's own for a call."""
    atari = {"obs_type": "ram"} if "ALE" in name else {}
    with make(name, **atari) as env:
        state, least = env.reset(seed=0)[0], np.inf
        for _ in range(RUNS):
            clock.spent, start = 0.0, time.process_time()
            options = {"budget": 500, "batch_size": batch_size, "subtables": False}
            output = planners.rollout_iw(env, state, rng=np.random.default_rng(0), **options)
            own = time.process_time() - start - clock.spent
            least = min(least, own / output.search.simulator_calls * 1e6)
    return least


def main() -> None:
    clock = Clock("step", "play", "roll_out")
    for label, name, options in SEARCHES:
        tree, whole = measure(clock, name, options, 500 if "ALE" in name else 2000)
        print(f"{label:36s} tree {tree:6.1f}  whole {whole:6.1f}", flush=True)
    print(f"CartPole, 64 roots of 200 walks: {measure_roots(64, 200):.1f}", flush=True)
    for name in ("CartPole-v1", "ALE/MsPacman-v5"):
        for size in (1, 8):
            own = measure_rollout_iw(clock, name, size)
            print(f"rollout_iw, {name}, batches of {size}: {own:.1f} a call of its own", flush=True)


if __name__ == "__main__":
    main()

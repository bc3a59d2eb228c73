"""What must be the same on every system: batches, rollouts, plans, vector environments."""

import zlib

import numpy as np

from plangym_lite import SequentialVectorEnv, make, planners

GAMES = ("ALE/Pong-v5", "CartPole-v1")


def play():
    """Types, shapes and checksums of results, by what they are of; workers where there are any."""
    found = {}
    for name in GAMES:
        with make(name, n_workers="auto") as env:
            found[name] = batches(env)
    with make("CartPole-v1", n_workers="auto") as env:
        state, _, _ = env.reset(seed=0)
        for name in ("mcts", "random_shooting", "rollout_iw", "fractal", "go_explore"):
            plan = getattr(planners, name)
            found[name] = _sum(*plan(env, state, budget=80, rng=np.random.default_rng(0)).actions)
    vector = SequentialVectorEnv(["CartPole-v1"] * 3)
    found["vector"] = _sum(vector.reset(seed=0)[0], *vector.step([0, 1, 0])[:4])
    vector.close()
    return found


def batches(env):
    """A batch and the rollouts from its states."""
    state, obs, _ = env.reset(seed=0)
    actions = np.arange(60) % env.action_space.n
    batch = env.step_batch(actions, [state] * 60, dt=2)
    rollout = env.rollout_batch(actions.reshape(12, 5), batch.states[:12])
    return _sum(obs, *batch[:5], *rollout[:6])


def _sum(*values):
    arrays = [np.ascontiguousarray(value) for value in values]
    return [(str(array.dtype), array.shape, zlib.crc32(array)) for array in arrays]

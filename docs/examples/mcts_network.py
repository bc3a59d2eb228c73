"""MCTS with a network: its values replace random play, its priors guide the search.

The network is one layer from one-hot cells to values, trained here by value iteration. With torch
or jax only the hooks change: they get `observs [B, ...]` and `states`, return `[B]` and `[B, A]`.
"""

import numpy as np

import plangym_lite
from plangym_lite.planners import mcts

N_CELLS, N_ACTIONS, DISCOUNT = 64, 4, 0.95
env = plangym_lite.make("FrozenLake8x8-v1", is_slippery=False)
start, _, _ = env.reset(seed=0)


def step_all(states):
    """Every action from every state."""
    actions = np.tile(np.arange(N_ACTIONS), len(states))
    return env.step_batch(actions, np.repeat(states, N_ACTIONS, axis=0))


# Data: a state of every cell that can be reached, and where each action leads.
known = {0: start}
for _ in range(20):
    batch = step_all(np.stack(list(known.values())))
    known = dict(zip(batch.observs.tolist(), batch.states, strict=True)) | known
cells, batch = np.array(list(known)), step_all(np.stack(list(known.values())))

# Training: the value of a cell is that of its best action; a terminal state leads nowhere.
layer = np.zeros(N_CELLS)
for _ in range(30):
    targets = batch.rewards + DISCOUNT * layer[batch.observs] * ~batch.terminateds
    layer[cells] = targets.reshape(-1, N_ACTIONS).max(axis=1)


def value_fn(observs, states):
    return np.eye(N_CELLS)[observs] @ layer


def policy_fn(observs, states):
    """Prefer actions after which the network expects more."""
    steps = step_all(states)
    odds = np.exp(10 * (steps.rewards + value_fn(steps.observs, steps.states)))
    return odds.reshape(-1, N_ACTIONS) / odds.reshape(-1, N_ACTIONS).sum(axis=1, keepdims=True)


def play(**hooks):
    state, rng = start, np.random.default_rng(0)
    for n_steps in range(1, 61):
        plan = mcts(env, state, num_simulations=20, discount=DISCOUNT, rng=rng, **hooks)
        step = env.step(plan.action, state)
        if step.terminated:
            return f"{'goal' if step.reward else 'hole'} after {n_steps} steps"
        state = step.state
    return "neither goal nor hole in 60 steps"


print("random play at the leaves:", play())
print("the network's values:", play(value_fn=value_fn))
print("its values and its priors:", play(value_fn=value_fn, policy_fn=policy_fn))

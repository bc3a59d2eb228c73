"""A branching data set: what every action does in every state of a game.

A recorded game holds one action for each state. With saved states the others are a batch: 200
states with 9 actions each give 1,800 transitions, on all cores, and the game itself is not moved.
"""

import tempfile
from pathlib import Path

import numpy as np

import plangym_lite

env = plangym_lite.make("ALE/MsPacman-v5", obs_type="ram", n_workers=2)
n_actions, rng = env.action_space.n, np.random.default_rng(0)
state, obs, _ = env.reset(seed=0)
states, observs = [], []
while len(states) < 200:
    states.append(state)
    observs.append(obs)
    step = env.step(rng.integers(n_actions), state, dt=2)
    state, obs = step.state, step.obs

actions = np.tile(np.arange(n_actions), len(states))
batch = env.step_batch(actions, np.repeat(states, n_actions, axis=0), dt=2)
env.close()

path = Path(tempfile.mkdtemp()) / "branches.npz"
np.savez_compressed(
    path,
    observs=np.stack(observs),  # [200, 128]
    next_observs=batch.observs.reshape(200, n_actions, -1),  # [200, 9, 128]
    rewards=batch.rewards.reshape(200, n_actions),
    terminateds=batch.terminateds.reshape(200, n_actions),
)
rewards = np.load(path)["rewards"]
print(f"{rewards.size:,} transitions of {len(rewards)} states")
print("the action matters for the reward of", int((np.ptp(rewards, axis=1) > 0).sum()), "states")

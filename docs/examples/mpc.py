"""Model-predictive control: plan with CEM, play one action, plan again from where it led.

The plan of the last decision, shifted by one step, is where the next one begins (`before=`).
"""

import numpy as np

import plangym_lite
from plangym_lite.planners import cem

env = plangym_lite.make("Pendulum-v1")


def control(seed, steps=100):
    rng, before, total = np.random.default_rng(seed), None, 0.0
    state, obs, _ = env.reset(seed=seed)
    for _ in range(steps):
        plan = cem(env, state, budget=1500, horizon=15, before=before, rng=rng)
        step = env.step(plan.action, state)
        state, obs, before = step.state, step.obs, plan.search
        total += step.reward
    return total, np.degrees(np.arctan2(obs[1], obs[0]))


def at_random(seed, steps=100):
    actions = np.random.default_rng(seed).uniform(-2, 2, (1, steps, 1)).astype(np.float32)
    return env.rollout_batch(actions, [env.reset(seed=seed)[0]]).rewards.sum()


for seed in (0, 1):
    total, angle = control(seed)
    print(f"seed {seed}: {total:.0f}, in the end {abs(angle):.0f} degrees from upright;", end=" ")
    print(f"at random {at_random(seed):.0f}")

"""Rewinding a policy: where it fails, go back to a state before and look for another way.

The policy is a simple rule that lets the pole fall. Every state of the game is kept. After a fall
random shooting starts again some steps earlier, and its plan is played instead of the rule.
"""

import numpy as np

import plangym_lite
from plangym_lite.planners import random_shooting

GOAL, BACK = 300, 15  # steps to survive, and to go back after a fall
env = plangym_lite.make("CartPole-v1")
rng = np.random.default_rng(0)


def rule(obs):
    """Push to the side to which the pole leans."""
    return int(obs[2] > 0)


state, obs, _ = env.reset(seed=0)
states, observs, planned, falls = [state], [obs], [], 0
while len(states) <= GOAL:
    action = planned.pop(0) if planned else rule(observs[-1])
    step = env.step(action, states[-1])
    states.append(step.state)
    observs.append(step.obs)
    if step.terminated:
        falls += 1
        if falls == 1:
            print("the rule alone:", len(states) - 1, "steps")
        kept = max(1, len(states) - BACK * (1 + falls % 3))  # further back, if that fails, too
        del states[kept:], observs[kept:]
        plan = random_shooting(env, states[-1], num_simulations=100, max_depth=60, rng=rng)
        planned = plan.actions[:50]
print(f"rewound {falls} times:", len(states) - 1, "steps")

"""An exact checkpoint: a game goes on in another process as if nothing had happened.

A file of states holds the fingerprint of its environment: another game, or other options, are
refused. It holds no pickles here, so reading it runs no code.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import plangym_lite
from plangym_lite.states.files import load_states, save_states


def make():
    return plangym_lite.make("ALE/Breakout-v5", repeat_action_probability=0.25)  # sticky actions


def play(env, state, n_steps):
    for action in np.random.default_rng(7).integers(4, size=n_steps):
        step = env.step(action, state)
        state = step.state
    return state, step.obs


if len(sys.argv) == 2:  # the other process
    with make() as env:
        [state] = load_states(Path(sys.argv[1]), env)
        state, obs = play(env, state, 500)
        save_states(Path(sys.argv[1]), env, [state])
else:
    with make() as env:
        state, _ = play(env, env.reset(seed=3)[0], 100)
        path = Path(tempfile.mkdtemp()) / "checkpoint.npz"
        save_states(path, env, [state])
        print("saved", state.nbytes, "bytes")
        subprocess.run([sys.executable, __file__, str(path)], check=True)
        here, _ = play(env, state, 500)
        [there] = load_states(path, env)
        print("500 steps later, here and there:", "the same" if (here == there).all() else "other")

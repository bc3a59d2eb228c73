"""What type checkers say of the public interface: README's code, and what snippets must reveal."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

RIGHT = """
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics as Wrapper
from typing_extensions import assert_type

import plangym_lite
from plangym_lite import PlanEnv, PlangymEnv, Step, StepBatch, Transition, TransitionBatch
from plangym_lite.planners import PlanOutput, Shots, Swarm, Tree, fractal, mcts, random_shooting

env = plangym_lite.make("CartPole-v1", n_workers="auto")
assert_type(env, PlanEnv)
assert_type(plangym_lite.make(PlangymEnv, frameskip=2), PlangymEnv)
assert_type(plangym_lite.make(PlangymEnv, 2), PlanEnv)
assert_type(plangym_lite.make("ALE/Pong-v5", full_action_space=True, obs_type="ram"), PlanEnv)
assert_type(plangym_lite.make("CartPole-v1", 2, wrappers=[Wrapper], start_method="spawn"), PlanEnv)
assert_type(plangym_lite.make("FrozenLake-v1", is_slippery=False, frameskip=2), PlanEnv)
options: dict[str, Any] = {"frameskip": 2}
assert_type(plangym_lite.make("CartPole-v1", **options), PlanEnv)
assert_type(plangym_lite.make(gym.spec("Mine-v0"), colour="red"), PlanEnv)  # of any package
assert_type(plangym_lite.make("MiniGrid-Empty-5x5-v0", agent_start_pos=None), PlanEnv)
assert_type(plangym_lite.make("cartpole", task_name="balance", task_kwargs={"random": 1}), PlanEnv)
assert_type(plangym_lite.make(domain_name="cartpole", task_name="balance"), PlanEnv)
assert_type(plangym_lite.make(lambda colour: gym.make("CartPole-v1"), colour="red"), PlanEnv)
with env as same:
    assert_type(same, PlanEnv)
assert_type(env.clone(), PlanEnv)
assert_type(env.n_workers, int)
assert_type(env.n_actions, int)
assert_type(env.reset(seed=0), tuple[Any, Any, dict[str, Any]])
assert_type(env.reset(False), tuple[Any, dict[str, Any]])

state, states, actions = np.zeros(9), np.zeros((4, 9)), np.zeros(4, int)
assert_type(env.step(0), Step)
assert_type(env.step(0, dt=3, seed=1), Step)
assert_type(env.step(0, state), Transition)
assert_type(env.step(0, return_state=True), Transition)
assert_type(env.step(0, state, return_state=False), Step)
assert_type(env.step_batch(actions), StepBatch)
assert_type(env.step_batch(actions, seeds=7, timeout=9.0), StepBatch)
assert_type(env.step_batch([0, 1], list(states), [1, 2]), TransitionBatch)
assert_type(env.step_batch(actions, states, seeds=[1, 2, 3, 4]), TransitionBatch)
assert_type(env.step_batch(actions, return_state=True), TransitionBatch)
assert_type(env.step_batch(actions, states, return_state=False), StepBatch)

rng = np.random.default_rng(0)
assert_type(random_shooting(env, state, rng=rng), PlanOutput[Shots])
assert_type(fractal(env, state, rng=rng).search, Swarm)
assert_type(mcts(env, state, rng=rng), PlanOutput[Tree])
assert_type(mcts(env, env.reset(seed=0)[0], num_simulations=9, rng=rng).search, Tree)
assert_type(mcts.many(env, states, value_fn=None, rng=rng), list[PlanOutput[Tree]])
local = PlangymEnv("CartPole-v1")
assert_type(local.step(0), Step)
assert_type(local.step_batch(actions, states), TransitionBatch)
"""

WRONG = """
import plangym_lite; from plangym_lite.planners import mcts

env = plangym_lite.make("CartPole-v1")
plangym_lite.make("CartPole-v1", n_workers="atuo")
plangym_lite.make("CartPole-v1", n_worker=2)
plangym_lite.make("ALE/Pong-v5", frameskips=2)
plangym_lite.make("FrozenLake-v1", frameskip="2")
env.step(0, sed=1)
env.step_batch([0], seed=1)
env.step_batch([0], timeout="soon")
env.step_batch([0]).states
env.step(0).state
env.reset(sed=1)
mcts(env, 0, num_simulation=9)
state, obs, info = env.reset(False)
env.n_worker
plangym_lite.ParallelEnv(plangym_lite.PlangymEnv, n_workers="auto")
"""
"""Every line after the first two statements is an error."""


@pytest.fixture(name="files")
def _files(tmp_path):
    files = {f"readme_{number}.py": block for number, block in enumerate(BLOCKS)}
    for name, text in {**files, "right.py": RIGHT, "wrong.py": WRONG}.items():
        (tmp_path / name).write_text(text)
    return [str(tmp_path / name) for name in [*files, "right.py", "wrong.py"]]


def run(*command):
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    found = re.findall(r"(\w+)\.py:(\d+)(?::\d+)?(?::| -) error", done.stdout)
    assert found, done.stdout + done.stderr
    return done.stdout, sorted({(name, int(line)) for name, line in found})


def errors_wanted():
    lines = WRONG.splitlines()
    return [("wrong", number) for number in range(5, len(lines) + 1)]


@pytest.mark.timeout(280)
def test_mypy_strict(files):
    assert BLOCKS
    options = ["--strict", "--follow-imports=silent", "--python-version", "3.10"]
    output, found = run(sys.executable, "-m", "mypy", "--config-file=", *options, *files)
    assert found == errors_wanted(), output


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_pyright(files):
    """With the pyright of the path, or that of the environment variable PYRIGHT."""
    from shutil import which

    pyright = os.environ.get("PYRIGHT") or which("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed")
    output, found = run(pyright, "--pythonpath", sys.executable, *files)
    assert sorted(set(found)) == errors_wanted(), output

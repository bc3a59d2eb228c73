"""Kernels of dm_control's tasks: bit for bit what dm_control does, for any number of threads."""

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("dm_control") is None:
    pytest.skip("no dm_control", allow_module_level=True)

from plangym_lite import make
from plangym_lite.envs.batched.env import HasKernel
from plangym_lite.envs.mujoco import batch
from plangym_lite.envs.mujoco.dm_control import kernels
from plangym_lite.envs.mujoco.dm_control.env import DMControlEnv
from plangym_lite.envs.mujoco.dm_control.tasks import TASKS, suite
from tests.same import assert_same, collect_states

NAMES = [name for name, (domain, _) in TASKS.items() if domain in kernels.KERNELS]
QUICK = ["cartpole-swingup", "finger-turn_easy", "hopper-hop", "point_mass-easy", "walker-walk"]
BLIND = {"render_mode": None}


def one_by_one(env, call):
    """What ``call()`` returns without the kernel."""
    env.run_batched = lambda rows, out: None
    try:
        return call()
    finally:
        del env.run_batched


def assert_kernel_is_right(env, call, used=True):
    loaded = []
    found = call()
    env.load_state = lambda state: loaded.append(0) or type(env).load_state(env, state)
    try:
        assert_same(found, call())
    finally:
        del env.load_state
    assert (len(loaded) < len(found.rewards)) == used
    expected = one_by_one(env, call)
    assert_same(expected, found)
    assert repr(expected.infos) == repr(found.infos)


def raw_rollouts(name, actions, seed):
    """Observations and rewards of dm_control itself: ``[B, T, ...]`` and ``[B, T]``."""
    domain, task = TASKS[name]
    raw = suite.load(domain, task, task_kwargs={"random": 0})
    raw.physics._make_rendering_contexts = lambda: None
    observs, rewards = [], []
    for row in actions:
        raw.task.random.seed(seed)
        raw.reset()
        steps = [raw.step(action) for action in row]
        observs.append([np.concatenate([*map(np.ravel, s.observation.values())]) for s in steps])
        rewards.append([step.reward for step in steps])
    return np.array(observs, float), np.array(rewards)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
)
def test_rollouts_are_dm_controls(name):
    with make(name, **BLIND) as env:
        state = env.reset(seed=5)[0]
        env.action_space.seed(0)
        actions = np.array([[env.sample_action() for _ in range(12)] for _ in range(10)])
        if name in QUICK[:2]:
            actions = actions.astype(np.float32)
        batch = env.rollout_batch(actions, [state] * 10, return_observs="all")
        assert env.is_batched
        observs, rewards = raw_rollouts(name, actions, 5)
        assert_same(observs, batch.observs)
        assert_same(rewards, batch.rewards)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
)
def test_batches_are_those_of_single_rows(name):
    with make(name, **BLIND) as env:
        states, actions = (np.stack(some) for some in collect_states(env, 24))
        dts = np.arange(24) % 3 + 1
        for _ in range(2):
            assert_kernel_is_right(env, lambda s=states: env.step_batch(actions, s, dts))
            states = env.step_batch(actions, states, dts).states


def test_ends_other_episodes_and_seeds():
    """Rows of several episodes have other targets in their models; some have ended."""
    limits = {"remove_time_limit": False, "task_kwargs": {"time_limit": 0.3}}
    with make("finger-turn_easy", clone_seeds=False, **limits, **BLIND) as env:
        states = []
        for seed in range(3):
            states += [env.reset(seed=seed)[0]]
            states += [env.step(env.sample_action()).info and env.get_state() for _ in range(9)]
        states = np.stack(states)
        actions = np.stack([env.sample_action() for _ in states])
        assert_kernel_is_right(env, lambda: env.step_batch(actions, states, 7))
        states = env.step_batch(actions, states, 7).states
        assert 0 < env.step_batch(actions, states).truncateds.sum() < len(states)
        assert_kernel_is_right(env, lambda: env.step_batch(actions, states, 2))
        paths = np.repeat(actions[:, None], 12, 1)
        assert_kernel_is_right(env, lambda: env.rollout_batch(paths, states, return_observs="all"))
        many = np.stack([env.reset(seed=seed)[0] for seed in range(30)])  # too many targets
        assert_kernel_is_right(env, lambda: env.step_batch(actions, many), used=False)


def test_episodes_of_few_steps():
    limits = {"remove_time_limit": False, "task_kwargs": {"time_limit": 0.03}}
    with make("cartpole-swingup", **limits, **BLIND) as env:
        state = env.reset(seed=0)[0]
        actions = np.array([[env.sample_action() for _ in range(5)] for _ in range(8)])
        assert_kernel_is_right(env, lambda: env.rollout_batch(actions, [state] * 8))
        assert env.rollout_batch(actions, [state] * 8).lengths.tolist() == [3] * 8


def test_any_number_of_threads_and_an_older_mujoco(monkeypatch):
    results = []
    for has_batch, n_threads in ((True, 1), (True, 3), (False, 1), (False, 2)):
        monkeypatch.setattr(batch, "HAS_BATCH", has_batch and batch.HAS_BATCH)
        with make("hopper-hop", **BLIND) as env:
            env.use_threads(n_threads)
            states, actions = collect_states(env, 16)
            results.append(env.step_batch(np.stack(actions), states, 2))
    for other in results[1:]:
        assert_same(results[0], other)


@pytest.mark.parametrize("how", ["object", "class"])
def test_a_task_with_a_reward_of_its_own(monkeypatch, how):
    with make("cartpole-swingup", **BLIND) as env:
        states, actions = collect_states(env, 12)
        call = lambda: env.step_batch(np.stack(actions), states)  # noqa: E731
        assert_kernel_is_right(env, call)
        task = type(env.task)
        if how == "object":
            monkeypatch.setattr(env.task, "get_reward", one, raising=False)
        else:
            monkeypatch.setattr(task, "get_reward", lambda self, physics: 1.0)
        assert not env.is_batched
        if how == "class":
            assert (call().rewards == 1.0).all()


def one(physics):
    return 1.0


def test_other_settings_of_a_task():
    """They travel with the state: the kernel reads them there."""
    with make("walker-walk", **BLIND) as env:
        states, actions = collect_states(env, 16)
        env.set_state(states[0])
        env.task._move_speed = 5
        faster = env.get_state()
        both = [*states[:8], *[faster] * 8]
        assert_kernel_is_right(env, lambda: env.step_batch(np.stack(actions), both))


def test_a_simulation_that_explodes_is_dm_controls_error():
    from dm_control.rl.control import PhysicsError

    with make("cartpole-balance", **BLIND) as env:
        states, actions = collect_states(env, 10)
        states[4] = env.state_from(states[4], qvel=[1e12, 1e12])
        with pytest.raises(PhysicsError) as caught:
            env.step_batch(np.stack(actions), states)
        if hasattr(caught.value, "__notes__"):
            assert "in row 4" in caught.value.__notes__[0]


def test_a_kernel_that_is_wrong_is_not_used(monkeypatch):
    monkeypatch.setattr(HasKernel, "_warned", set())
    monkeypatch.setattr(kernels.Cartpole, "rewards", lambda self, look: look["qpos"][:, 0])
    with make("cartpole-swingup", **BLIND) as env:
        states, actions = collect_states(env, 12)
        with pytest.warns(RuntimeWarning, match=r"dm_control\.suite\.cartpole.*rewards"):
            found = env.step_batch(np.stack(actions), states)
        assert not env.is_batched
        assert_same(found, one_by_one(env, lambda: env.step_batch(np.stack(actions), states)))


def test_subclasses_and_other_steps_have_no_kernel():
    class Own(DMControlEnv):
        pass

    with Own("cartpole-balance", **BLIND) as env:
        assert not env.is_batched
    for options in ({"visualize_reward": True}, {"environment_kwargs": {"legacy_step": False}}):
        with make("cartpole-balance", **options, **BLIND) as env:
            states, actions = collect_states(env, 10)
            env.step_batch(np.stack(actions), states)
            assert not env.is_batched


@pytest.mark.parametrize("clone_seeds", [True, False])
@pytest.mark.parametrize("name", ["cartpole-swingup", "reacher-easy"])
def test_seeds(name, clone_seeds):
    """Rows with seeds hold seeded generators; rows that had ended keep theirs."""
    options = {"remove_time_limit": False, "task_kwargs": {"time_limit": 0.3}}
    with make(name, clone_seeds=clone_seeds, **BLIND, **options) as env:
        first = env.reset(seed=1)[0]
        action = env.sample_action()
        over = env.step_batch([action], [first], 50).states[0]
        states, seeds = [first, over] * 8, [0, 1, 2, 2**40] * 4
        call = lambda: env.step_batch([action] * 16, states, seeds=seeds)  # noqa: E731
        assert_kernel_is_right(env, call)
        found = call()
        env.set_state(found.states[-2])
        assert (found.states[1::2] == over).all()
        if clone_seeds:
            wanted = np.random.MT19937(np.random.SeedSequence(2).spawn(1)[0])
            assert env.task.random.randint(2**31) == np.random.RandomState(wanted).randint(2**31)

"""Numbers of the physics in and out of states; judges: plain Gymnasium, dm_control, MuJoCo."""

import importlib.util

import gymnasium as gym
import numpy as np
import pytest

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("no mujoco", allow_module_level=True)

import mujoco

from plangym_lite import InvalidStateError, make
from tests.same import assert_same, collect_states

INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION
BLIND = {"render_mode": None}


def integration(model, data):
    row = np.empty(mujoco.mj_stateSize(model, INTEGRATION))
    mujoco.mj_getState(model, data, row, INTEGRATION)
    return row


def walked(name, steps=4):
    """Plain Gymnasium and ours, in the same state."""
    raw, env = gym.make(name, max_episode_steps=-1, disable_env_checker=True), make(name, **BLIND)
    raw.action_space.seed(0)
    raw.reset(seed=3)
    env.reset(seed=3)
    for _ in range(steps):
        action = raw.action_space.sample()
        raw.step(action)
        env.step(action)
    return raw, env


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Ant-v5", "Reacher-v5", "InvertedPendulum-v5"])
def test_measured_numbers_are_gymnasiums_set_state(name):
    raw, env = walked(name)
    base, before = raw.unwrapped, env.get_state()
    qpos, qvel = base.data.qpos + 0.003, base.data.qvel - 0.02
    state = env.state_from(qpos=qpos, qvel=qvel)
    assert_same(before, env.get_state())
    base.set_state(qpos, qvel)
    physics = env.physics_of([before, state, None])
    assert_same(physics.qpos[1], qpos)
    assert_same(physics.qvel[1], qvel)
    assert_same(physics.integration[1], integration(base.model, base.data))
    assert_same(physics.integration[0], physics.integration[2])
    env.set_state(state)
    assert_same(base._get_obs(), env.observe())
    for _ in range(5):
        action = raw.action_space.sample()
        obs, reward, terminated, *_ = raw.step(action)
        step = env.step(action)
        assert_same((obs, float(reward), bool(terminated)), step[:3])
        if terminated:
            break
    raw.close()
    env.close()


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Humanoid-v5", "cartpole-swingup"])
def test_a_whole_integration_state_goes_in_and_out(name):
    """What comes after is what MuJoCo makes of the same numbers, without us."""
    if name == "cartpole-swingup":
        pytest.importorskip("dm_control")
    with make(name, **BLIND) as env:
        states, actions = collect_states(env, 6)
        rows = env.physics_of(states).integration
        model, own = env.simulation()[0], []
        for row in rows:
            state = env.state_from(states[0], integration=row)
            own.append(env.physics_of([state]).integration[0])
        assert_same(rows, np.stack(own))
        after = env.step(actions[3], env.state_from(integration=rows[3])).state
        data = mujoco.MjData(model)
        mujoco.mj_setState(model, data, rows[3], INTEGRATION)
        data.ctrl[:] = actions[3]
        base = env.gym_env.unwrapped if hasattr(env, "gym_env") else None
        frames = base.frame_skip if base else env.dm_env._n_sub_steps
        mujoco.mj_step(model, data, nstep=frames)
        assert_same(integration(model, data), env.physics_of([after]).integration[0])


def test_measured_numbers_in_dm_control():
    suite = pytest.importorskip("dm_control.suite")
    raw = suite.load("walker", "walk", task_kwargs={"random": 0})
    with make("walker-walk", **BLIND) as env:
        raw.task.random.seed(3)
        raw.reset()
        env.reset(seed=3)
        for _ in range(10):
            action = env.sample_action()
            raw.step(action)
            env.step(action)
        qpos = raw.physics.data.qpos + 0.01
        env.set_state(env.state_from(qpos=qpos, time=7.0))
        raw.physics.data.qpos[:] = qpos
        raw.physics.data.time = 7.0
        raw.physics.forward()
        for _ in range(5):
            action = env.sample_action()
            timestep, step = raw.step(action), env.step(action)
            parts = [np.ravel(part) for part in timestep.observation.values()]
            assert_same(np.concatenate(parts).astype(float), step.obs)
            assert step.reward == timestep.reward
        assert env.physics.data.time == raw.physics.data.time


def test_the_episode_of_a_measured_state():
    with make("Reacher-v5", remove_time_limit=False, **BLIND) as env:
        state = env.reset(seed=0)[0]
        action = env.sample_action()
        late = env.step(action, state, dt=50)
        assert late.truncated
        measured = env.state_from(late.state, qvel=np.zeros(4))
        env.set_state(measured)
        assert not env.has_ended
        assert env.step(action).truncated


def test_numbers_that_do_not_fit():
    with make("HalfCheetah-v5", **BLIND) as env:
        before = env.get_state()
        for wrong in ({"qpos": np.zeros(3)}, {"qvel": [np.nan] * 9}, {"integration": [1.0]}):
            with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be finite"):
                env.state_from(**wrong)
        with pytest.raises(InvalidStateError):
            env.state_from(before[:-1])
        assert_same(before, env.get_state())
    with make("Hopper-v5", wrappers=[(gym.wrappers.FrameStackObservation, 2)], **BLIND) as env:
        state = env.reset(seed=0)[0]
        assert_same(env.physics_of([state]).qpos[0], env.gym_env.unwrapped.data.qpos)
        with pytest.raises(NotImplementedError, match="only a step"):
            env.state_from(qpos=np.zeros(6))


def test_workers_do_the_same():
    with make("Hopper-v5", **BLIND) as local, make("Hopper-v5", n_workers=2, **BLIND) as parallel:
        state = local.reset(seed=0)[0]
        qvel = np.full(6, 0.1)
        assert_same(local.state_from(state, qvel=qvel), parallel.state_from(state, qvel=qvel))
        assert_same(local.physics_of([state]), parallel.physics_of([state]))


@pytest.mark.parametrize("wrappers", [(), (gym.wrappers.RecordEpisodeStatistics,)])
def test_the_simulation_shows_the_current_state_after_a_batch(wrappers):
    with make("Hopper-v5", wrappers=wrappers, **BLIND) as env:
        states, actions = collect_states(env, 12)
        data = env.gym_env.unwrapped.data
        before = data.qpos.copy()
        env.step_batch(np.stack(actions), states)
        assert_same(before, data.qpos)
        env.rollout_batch(np.stack(actions)[:, None], states)
        assert_same(before, data.qpos)


def test_the_physics_of_dm_control_after_a_batch():
    pytest.importorskip("dm_control")
    with make("cartpole-balance", **BLIND) as env:
        states, actions = collect_states(env, 3)
        data = env.physics.data
        before = data.qpos.copy()
        env.step_batch(np.stack(actions), states)
        assert_same(before, data.qpos)


@pytest.mark.parametrize("wrappers", [(), (gym.wrappers.RecordEpisodeStatistics,)])
def test_a_state_of_another_frame_skip(wrappers):
    options = {"wrappers": wrappers, **BLIND}
    with (
        make("HalfCheetah-v5", frame_skip=3, **options) as three,
        make("HalfCheetah-v5", **options) as five,
    ):
        state = three.reset(seed=0)[0]
        action = five.sample_action()
        before = five.reset(seed=0)[0]
        with pytest.raises(InvalidStateError, match="frame_skip"):
            five.set_state(state)
        with pytest.raises(InvalidStateError, match="frame_skip"):
            five.step_batch([action] * 9, [state] * 9)
        assert_same(before, five.get_state())


def test_a_state_of_another_control_step():
    pytest.importorskip("dm_control")
    slow = {"environment_kwargs": {"control_timestep": 0.02}}
    with make("cartpole-balance", **slow, **BLIND) as two:
        state = two.get_state()
    with (
        make("cartpole-balance", **BLIND) as one,
        pytest.raises(InvalidStateError, match="2 sub-steps"),
    ):
        one.set_state(state)

"""Batches of MuJoCo environments on threads: bit for bit what plain Gymnasium does."""

import copy
import gc
import importlib.util
import os
import signal
import weakref

import numpy as np
import pytest

pytest.importorskip("mujoco")
if importlib.util.find_spec("gymnasium.envs.mujoco") is None:
    pytest.skip("no gymnasium[mujoco]", allow_module_level=True)

import gymnasium as gym
import mujoco

from plangym_lite import make
from plangym_lite.envs.batched import kernel as kernel_module
from plangym_lite.envs.mujoco import batch as batch_module
from plangym_lite.envs.mujoco.batch import INTEGRATION, Simulations, layout_of
from plangym_lite.envs.mujoco.kernels import KERNELS
from tests.same import assert_same

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*out of date"),
    pytest.mark.filterwarnings("ignore:.*settotalmass"),
]
IDS = sorted(
    name
    for name, spec in gym.registry.items()
    if str(spec.entry_point).startswith("gymnasium.envs.mujoco.")
    and f"{spec.entry_point}".replace(":", ".") in KERNELS
)
FREE = {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0}
SETTINGS = [
    *((name, {}) for name in IDS),
    ("Ant-v5", FREE),
    ("Ant-v4", {"use_contact_forces": True}),
    ("Ant-v5", {"terminate_when_unhealthy": False, "healthy_z_range": (0.5, 0.6)}),
    ("Humanoid-v5", FREE),
    ("Humanoid-v5", {"include_cinert_in_observation": False, "contact_cost_weight": 0.5}),
    ("Hopper-v5", {"terminate_when_unhealthy": False, "frame_skip": 1}),
    ("Swimmer-v5", {"exclude_current_positions_from_observation": False}),
]
LENGTH = 16


def walk(name, dtype, seed=0, scale=1.0, **options):
    """A walk of plain Gymnasium: actions, and what each step returned, over falls."""
    env = gym.make(name, max_episode_steps=-1, disable_env_checker=True, **options).unwrapped
    env.action_space.seed(seed)
    env.reset(seed=seed)
    actions, steps = [], []
    for _ in range(LENGTH):
        action = (env.action_space.sample() * dtype(scale)).astype(dtype)
        actions.append(action)
        steps.append(copy.deepcopy(env.step(action)))  # infos of Gymnasium 1.3 change later
    env.close()
    return np.array(actions), steps


def starts(env, actions, seed=0):
    """The states in which ``env`` takes each of the actions of a walk."""
    states = [env.reset(seed=seed)[0]]
    for action in actions:
        batch = env.step_batch(action[None], states[-1][None])
        states.append(batch.states[0])
    return np.array(states)


def assert_is_walk(steps, batch):
    for row, (obs, reward, terminated, _, info) in enumerate(steps):
        found = {name: batch.infos[row][name] for name in info}
        assert obs.tobytes() == batch.observs[row].tobytes()
        assert np.float64(reward) == batch.rewards[row]
        assert bool(terminated) == batch.terminateds[row]
        assert repr(list(info.items())) == repr(list(found.items()))
        assert set(batch.infos[row]) == {*info, "n_step", "dt"}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_a_batch_is_the_walk_of_gymnasium(monkeypatch, name, options, native):
    if native and not batch_module.HAS_BATCH:
        pytest.skip("this mujoco has no batches")
    monkeypatch.setattr(batch_module, "HAS_BATCH", native)
    dtype = np.float32 if native else np.float64
    actions, steps = walk(name, dtype, **options)
    ends = [terminated for _, _, terminated, *_ in steps]
    length = ends.index(True) + 1 if True in ends else LENGTH
    with make(name, **options) as env:
        env.use_threads(2)
        states = starts(env, actions[:length])
        rows = np.arange(max(length, 12)) % length
        batch = env.step_batch(actions[rows], states[rows])
        assert env.is_batched, "the kernel is not trusted"
        assert_is_walk([steps[row] for row in rows], batch)
        assert states[rows + 1].tobytes() == batch.states.tobytes()
        paths = np.repeat(actions[None, :length], 8, axis=0)
        walked = env.rollout_batch(paths, states[:1].repeat(8, 0), return_observs="all")
        assert walked.states[5].tobytes() == states[length].tobytes()
        for step in range(length):
            assert steps[step][0].tobytes() == walked.observs[3, step].tobytes()
            assert np.float64(steps[step][1]) == walked.rewards[3, step]


@pytest.mark.parametrize("name", ["Ant-v5", "HumanoidStandup-v4", "Reacher-v4", "Hopper-v5"])
def test_what_is_derived_is_that_of_the_state(name):
    """Right after a restore, in a fresh object: observation, and every array of the simulation."""
    actions, steps = walk(name, np.float32)
    raw = gym.make(name, max_episode_steps=-1, disable_env_checker=True).unwrapped
    raw.reset(seed=0)
    with make(name) as env, make(name) as fresh:
        states = starts(env, actions[:5])
        fresh.reset(seed=9)
        for state, action, step in zip(states[1:], actions, steps, strict=False):
            raw.step(action)
            fresh.set_state(state)
            assert step[0].tobytes() == fresh.observe().tobytes()
            assert state.tobytes() == fresh.get_state().tobytes()
            data = fresh.gym_env.unwrapped.data
            for array in ("qpos", "xpos", "geom_xmat", "cvel", "cinert", "cfrc_ext", "qacc"):
                assert getattr(raw.data, array).tobytes() == getattr(data, array).tobytes(), array
            assert raw.data.ncon == data.ncon
            assert state.tobytes() == fresh.get_state().tobytes()


def test_a_simulation_that_was_set_by_hand():
    with make("Ant-v5") as env, make("Ant-v5") as other:
        env.reset(seed=0)
        for _ in range(8):
            env.step(env.sample_action())
        base = env.gym_env.unwrapped
        base.set_state(base.init_qpos, base.init_qvel + 0.1)
        base.data.xfrc_applied[1] = 3
        seen, state = base._get_obs(), env.get_state()
        other.set_state(state)
        assert seen.tobytes() == other.observe().tobytes()
        assert_same(state, other.get_state())
        action = env.sample_action()
        assert_same(env.step(action)[:4], other.step(action)[:4])
        assert_same(env.get_state(), other.get_state())


def test_rows_that_had_ended_are_shown_as_they_are():
    with make("Humanoid-v5") as env:
        env.reset(seed=0)
        while not env.has_ended:
            env.step(env.sample_action())
        over, obs, info = env.get_state(), env.observe(), env.info()
        fresh = env.reset(seed=1)[0]
        actions = np.array([env.sample_action() for _ in range(10)])
        states = np.array([over, fresh] * 5)
        batch = env.step_batch(actions, states)
        batch = env.step_batch(actions, states)
        assert env.is_batched
        assert (batch.states[::2] == over).all()
        assert (batch.observs[::2] == obs).all()
        assert_same(batch.infos[0], {**info, "n_step": 0, "dt": 1})


def test_seeds_and_infos_of_rows():
    with make("HalfCheetah-v5", render_mode=None) as env:
        states = [env.reset(seed=seed)[0] for seed in range(8)]
        actions = np.array([env.sample_action() for _ in states])
        seeds = [3, 2**40] * 4
        batch = env.step_batch(actions, states, seeds=seeds)
        rolled = env.rollout_batch(actions[:, None], states, seeds=seeds)
        assert env.is_batched
        for row, state in enumerate(states):
            step = env.step(actions[row], state, seed=seeds[row])
            assert_same(batch.infos[row], {**env.info(), "n_step": 1, "dt": 1})
            env.set_state(batch.states[row])
            assert_same(step.info, {**env.info(), "n_step": 1, "dt": 1})
            for each in batch.states[row], rolled.states[row]:
                assert_same(step.state, each)
            wanted = np.random.PCG64(np.random.SeedSequence(seeds[row]).spawn(1)[0])
            assert env.gym_env.unwrapped.np_random.random() == np.random.Generator(wanted).random()


def test_the_answer_does_not_depend_on_threads():
    with make("Ant-v5") as env:
        states = np.array([env.reset(seed=seed)[0] for seed in range(20)])
        actions = np.array([env.sample_action() for _ in states])
        dts = np.arange(20) % 3 + 1
        expected = env.step_batch(actions, states, dts)
        for n_threads in (1, 3, 5):
            env.use_threads(n_threads)
            assert_same(expected, env.step_batch(actions, states, dts))


def test_a_model_that_changes_is_noticed():
    with make("HalfCheetah-v5") as env:
        states = np.array([env.reset(seed=seed)[0] for seed in range(10)])
        actions = np.array([env.sample_action() for _ in states])
        before = env.step_batch(actions, states)
        base = env.gym_env.unwrapped
        base.model.body_mass[1] *= 2
        heavy = env.step_batch(actions, states)
        base.model.opt.gravity[2] = -3
        light = env.step_batch(actions, states)
        assert not (before.observs == heavy.observs).all()
        assert not (light.observs == heavy.observs).all()
        base.model.opt.timestep *= 2
        slow = env.step_batch(actions, states)
        assert not (light.observs == slow.observs).all()
        one = env.step(actions[4], states[4])
        assert one.obs.tobytes() == slow.observs[4].tobytes()


@pytest.mark.parametrize("name", ["opt.timestep", "opt.iterations", "stat.meaninertia"])
def test_numbers_of_the_model_are_watched(name):
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    watch, (part, number) = batch_module._Watch(model), name.split(".")
    assert watch.is_same()
    setattr(getattr(model, part), number, getattr(getattr(model, part), number) * 2)
    assert not watch.is_same()


@pytest.mark.parametrize("native", [True, False])
def test_unstable_rows_go_one_by_one(monkeypatch, native, tmp_path):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log
    monkeypatch.setattr(batch_module, "HAS_BATCH", native and batch_module.HAS_BATCH)
    raw = gym.make("HalfCheetah-v5", disable_env_checker=True).unwrapped
    raw.reset(seed=0)
    with make("HalfCheetah-v5") as env:
        state = env.reset(seed=0)[0]
        actions = np.array([env.sample_action() for _ in range(10)])
        env.step_batch(actions, [state] * 10)
        base = env.gym_env.unwrapped
        for each in (raw, base):
            each.data.qvel[:] = 1e11
        states = [state] * 4 + [env.get_state()] + [state] * 5
        batch = env.step_batch(actions, states)
        loaded = []
        env.load_state = lambda state: loaded.append(state) or type(env).load_state(env, state)
        again = env.step_batch(actions, states, np.arange(10) % 2 + 1)
        rolled = env.rollout_batch(np.stack([actions, actions], 1), states)
        assert env.is_batched
        assert len(loaded) == 4, "only the unstable row, and the current state, are loaded"
        obs, reward, *_ = raw.step(actions[4])
        assert obs.tobytes() == batch.observs[4].tobytes() == again.observs[4].tobytes()
        assert batch.rewards[4] == again.rewards[4] == rolled.rewards[4, 0] == reward
        for row in (3, 5):
            env.set_state(batch.states[row])
            second = env.step(actions[row])
            assert_same(env.get_state(), again.states[row])
            assert_same(env.get_state(), rolled.states[row])
            assert [batch.rewards[row], second.reward] == rolled.rewards[row].tolist()
            assert_same(rolled.infos[row], {**second.info, "n_step": 2})


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Reacher-v5", "HumanoidStandup-v5"])
def test_rollouts_of_episodes_that_never_terminate(monkeypatch, name, native):
    """All their frames are stepped at once, up to a number of frames, except near a time limit."""
    monkeypatch.setattr(batch_module, "HAS_BATCH", native and batch_module.HAS_BATCH)
    monkeypatch.setattr(kernel_module, "PLAYED_AT_ONCE", 40)
    with make(name, max_episode_steps=9) as env:
        states = np.array([env.reset(seed=seed)[0] for seed in range(8)])
        states[3:] = env.step_batch([env.sample_action() for _ in states], states).states[3:]
        actions = np.array([[env.sample_action() for _ in range(7)] for _ in states])
        for dt in (1, 2, [1, 2] * 4):
            found = env.rollout_batch(actions, states, dt, return_observs="all")
            env.run_batched = lambda rows, out: None
            assert_same(env.rollout_batch(actions, states, dt, return_observs="all"), found)
            del env.run_batched


@pytest.mark.parametrize("native", [True, False])
def test_rows_that_fail(monkeypatch, native):
    """A simulation without the memory for its contacts."""
    if native and not batch_module.HAS_BATCH:
        pytest.skip("this mujoco has no batches")
    monkeypatch.setattr(batch_module, "HAS_BATCH", native)
    boxes = "".join(
        f"<body pos='{x} 0 {z}'><freejoint/><geom type='box' size='.1 .1 .1'/></body>"
        for x in range(6)
        for z in range(4)
    )
    ground = "<geom type='plane' size='9 9 1'/>"
    text = f"<mujoco><size memory='30K'/><worldbody>{ground}{boxes}</worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    states = np.empty((6, mujoco.mj_stateSize(model, INTEGRATION)))
    for state in states:
        mujoco.mj_getState(model, data, state, INTEGRATION)
    states[:, layout_of(model)["qpos"]].reshape(6, -1, 7)[:, :, 2] += 50
    none = np.empty((6, 1, 0))
    assert Simulations(model, 2).step(states, none, 2).failed == []
    states[3, layout_of(model)["qpos"]].reshape(-1, 7)[:, 2] = 0.05
    assert Simulations(model, 2).step(states, none, 2).failed == [3]


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Ant-v5"])
def test_errors_name_the_row(name):
    """Also of a row that runs longer than others."""
    with make(name) as env:
        states = np.array([env.reset(seed=0)[0]] * 12)
        actions = np.array([env.sample_action() for _ in states])
        dts = np.where(np.arange(12) % 2, 2, 1)
        env.step_batch(actions, states)

        def fail(model, data):
            if data.time > 1:
                raise ArithmeticError("it is late")

        states[7] = env.state_from(states[7], time=0.94)  # a frame takes 0.05 seconds
        mujoco.set_mjcb_passive(fail)
        try:
            with pytest.raises(ArithmeticError) as caught:
                env.step_batch(actions, states, dts)
        finally:
            mujoco.set_mjcb_passive(None)
        if hasattr(caught.value, "__notes__"):
            assert "in row 7 of the batch" in caught.value.__notes__[0]


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Ant-v5"])
def test_callbacks_in_python(name):
    with make(name) as env:
        states = np.array([env.reset(seed=0)[0]] * 8)
        actions = np.array([env.sample_action() for _ in states])
        before = env.step_batch(actions, states)

        def push(model, data):
            data.qfrc_passive[0] += 9

        mujoco.set_mjcb_passive(push)
        try:
            pushed, one = env.step_batch(actions, states), env.step(actions[5], states[5])
        finally:
            mujoco.set_mjcb_passive(None)
        assert_same(one.state, pushed.states[5])
        assert not (pushed.observs == before.observs).all()
        assert_same(before, env.step_batch(actions, states))


def test_a_method_that_the_user_replaces():
    with make("Hopper-v5") as env:
        states = np.array([env.reset(seed=0)[0]] * 8)
        actions = np.array([env.sample_action() for _ in states])
        usual, base = env.step_batch(actions, states), env.gym_env.unwrapped
        own = base._get_obs
        base._get_obs = lambda: own() * 2
        assert (env.step_batch(actions, states).observs == usual.observs * 2).all()
        del base._get_obs
        assert_same(usual, env.step_batch(actions, states))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Ant-v5"])
@pytest.mark.filterwarnings("ignore:.*fork")  # of a process with threads
def test_a_forked_child_has_threads_of_its_own(name):
    """The parent's do not run there, and whoever waits for them waits for ever."""
    with make(name) as env:
        env.use_threads(2)
        states = np.array([env.reset(seed=0)[0]] * 8)
        actions = np.array([env.sample_action() for _ in states])
        before = env.step_batch(actions, states)
        child = os.fork()
        if not child:
            signal.alarm(30)
            again = env.step_batch(actions, states)
            del env
            os._exit(0 if (again.states == before.states).all() else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_the_simulation_shows_the_current_state():
    """Whoever holds it, also after batches on threads."""
    with make("Humanoid-v5", n_workers=2) as env:
        states = np.array([env.reset(seed=seed)[0] for seed in range(8)])
        actions = np.array([env.sample_action() for _ in states])
        batch = env.step_batch(actions, states)
        while not env.has_ended:
            env.step(env.sample_action())
        states[::2] = env.get_state()
        env.set_state(batch.states[1])
        data = env.gym_env.unwrapped.data
        before = [data.qpos.tobytes(), data.cfrc_ext.tobytes(), data.xipos.tobytes()]
        env.step_batch(actions, states)
        assert before == [data.qpos.tobytes(), data.cfrc_ext.tobytes(), data.xipos.tobytes()]


@pytest.mark.parametrize(("name", "size"), [("HalfCheetah-v5", 2048), ("Humanoid-v5", 6144)])
def test_states_are_small(name, size):
    with make(name) as env:
        assert env.get_state().nbytes <= size


def test_a_closed_environment_is_freed_at_once():
    """A renderer that is freed later deletes what another one has in OpenGL."""
    with make("HalfCheetah-v5") as env:
        states = np.array([env.reset(seed=seed)[0] for seed in range(10)])
        env.step_batch(np.array([env.sample_action() for _ in states]), states)
        base = weakref.ref(env.gym_env.unwrapped)
    gc.disable()
    try:
        del env
        assert base() is None
    finally:
        gc.enable()

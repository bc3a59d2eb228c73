"""Gymnasium's MuJoCo environments: bit for bit what Gymnasium does, and exact."""

import importlib.util

import numpy as np
import pytest

from plangym_lite.envs.snapshot import mjdata

pytest.importorskip("mujoco")
if importlib.util.find_spec("gymnasium.envs.mujoco") is None:
    pytest.skip("no gymnasium[mujoco]", allow_module_level=True)

import gymnasium as gym
import mujoco
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv

from plangym_lite import InvalidStateError, make
from plangym_lite.envs.mujoco import env as env_module
from plangym_lite.envs.mujoco.env import MujocoEnv
from plangym_lite.envs.mujoco.slim import SlimMemory, examine
from plangym_lite.errors import NotCloneableError
from plangym_lite.testing import check_exact
from tests.same import assert_same, collect_states

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*out of date"),
    pytest.mark.filterwarnings("ignore:.*settotalmass"),
]
SAMPLE = ["Ant-v5", "Reacher-v5", "InvertedDoublePendulum-v5"]
BLIND = {"remove_time_limit": False, "render_mode": None}  # pictures take long: see below
SHORT = {"depths": (0, 6), "length": 12, "reach": 40}


class MoodyReacher(ReacherEnv):
    """A subclass that keeps things in attributes, draws while it steps and changes its model."""

    mood = 0.0

    def reset_model(self):
        self.model.body_mass[1] = self.np_random.uniform(0.01, 0.05)
        self.history = []
        self.simulation = [self.data]
        return super().reset_model()

    def step(self, action):
        self.mood = self.mood * 0.9 + self.np_random.uniform()
        self.history.append(float(action[0]))
        before = self.simulation[0].xquat.sum()
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward + self.mood + before, terminated, len(self.history) > 20, info


class TouchyHopper(HopperEnv):
    """A subclass that looks, before it steps, at the contacts of the last one."""

    def step(self, action):
        touching = float(self.data.contact.dist.sum()) if self.data.ncon else 1.0
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward + touching, terminated, truncated, info


@pytest.mark.parametrize("name", SAMPLE)
def test_exact(name):
    report = check_exact(lambda: make(name, **BLIND), depths=(0, 5), reach=60)
    assert report.exact, report


def test_exact_in_workers():
    report = check_exact(lambda: make("Hopper-v5", frameskip=2, **BLIND), n_workers=2, **SHORT)
    assert report.exact, report


def test_a_subclass_is_exact():
    report = check_exact(lambda: make(MoodyReacher, render_mode=None), n_workers=2, **SHORT)
    assert report.exact, report
    with make(MoodyReacher) as env:
        assert isinstance(env, MujocoEnv)
        state = env.reset(seed=1)[0]
        base = env.gym_env.unwrapped
        mass = float(base.model.body_mass[1])
        env.reset(seed=2)
        assert base.model.body_mass[1] != mass
        env.set_state(state)
        assert base.model.body_mass[1] == mass
        assert base.simulation[0] is base.data


def test_contacts_of_the_step_before():
    report = check_exact(lambda: make(TouchyHopper, render_mode=None), depths=(5, 30), reach=60)
    assert report.exact, report
    with make(TouchyHopper, render_mode=None) as env:
        states, _ = collect_states(env, 40)
        counts = []
        for state in states:
            env.set_state(state)
            counts.append(env.gym_env.unwrapped.data.ncon)
        assert len(set(counts)) > 1


def test_wrappers_are_exact():
    wrappers = [gym.wrappers.TimeAwareObservation, (gym.wrappers.FrameStackObservation, 3)]
    report = check_exact(lambda: make("Walker2d-v5", wrappers=wrappers, **BLIND), **SHORT)
    assert report.exact, report


def test_states_of_any_length():
    report = check_exact(lambda: make("Hopper-v5", array_state=False, **BLIND), **SHORT)
    assert report.exact, report


@pytest.mark.parametrize("name", SAMPLE)
def test_a_plain_walk_is_gymnasiums(name):
    raw = gym.make(name, disable_env_checker=True)
    with make(name, remove_time_limit=False) as env:
        raw.action_space.seed(3)
        assert_same(raw.reset(seed=3), env.reset(return_state=False, seed=3))
        for _ in range(120):
            action = raw.action_space.sample()
            obs, reward, terminated, truncated, info = raw.step(action)
            step = env.step(action)
            assert_same((obs, float(reward), bool(terminated), truncated), step[:4])
            assert_same({**info, "n_step": 1, "dt": 1}, step.info)
            if terminated or truncated:
                assert_same(raw.reset(), env.reset(return_state=False))
    raw.close()


def test_workers_say_the_same():
    with make("Ant-v5") as local, make("Ant-v5", n_workers=2) as parallel:
        states, actions = collect_states(local, 6)
        assert_same(
            local.step_batch(actions, states, 2)._asdict(),
            parallel.step_batch(actions, states, 2)._asdict(),
        )


def test_states_are_rows_of_float64():
    with make("Reacher-v5") as env:
        states = np.stack(collect_states(env, 4)[0])
        assert states.dtype == np.float64
        assert np.isfinite(states).all()


def test_frames_are_summed_once():
    with make("Hopper-v5", frameskip=3) as env, make("Hopper-v5") as single:
        state = env.reset(seed=0)[0]
        action = env.sample_action()
        skipped = env.step(action, state, dt=2)
        single.set_state(state)
        rewards = [single.step(action).reward for _ in range(6)]
        assert skipped.info["n_step"] == 6
        assert skipped.reward == sum(rewards)
        assert_same(single.get_state(), skipped.state)


def test_the_time_limit_is_part_of_the_state():
    with make("Reacher-v5", remove_time_limit=False) as env:
        state = env.reset(seed=0)[0]
        action = env.sample_action()
        assert env.step(action, state, 60).info["n_step"] == 50
        late = env.step(action, state, 49).state
        assert env.step(action, late).truncated
        assert not env.step(action, state).truncated


@pytest.mark.parametrize("clone_seeds", [True, False])
def test_clone_seeds(clone_seeds):
    with make("Reacher-v5", clone_seeds=clone_seeds) as env:
        state = env.reset(seed=0)[0]
        observs = set()
        for _ in range(4):
            env.set_state(state)
            observs.add(env.reset(return_state=False)[0].tobytes())
        assert len(observs) == (1 if clone_seeds else 4)


def test_a_state_of_another_environment():
    with make("HalfCheetah-v4") as env:
        state = env.get_state()
        size = len(state)
    with make("HalfCheetah-v5") as env:
        assert len(env.get_state()) == size
        with pytest.raises(InvalidStateError, match="another model"):
            env.set_state(state)
    with make("Ant-v5") as env, pytest.raises(InvalidStateError, match="another environment"):
        env.set_state(state)
    with make("Hopper-v5", array_state=False) as env:
        for wrong in (b"", b"0" * 99999):
            with pytest.raises(InvalidStateError, match="not a state of"):
                env.set_state(wrong)


def test_the_simulation_must_stay():
    with make("Reacher-v5") as env:
        base = env.gym_env.unwrapped
        base.data = mujoco.MjData(base.model)
        with pytest.raises(InvalidStateError, match="replaced its MjData"):
            env.get_state()


def test_sleeping_models_are_refused():
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>")
    bit = getattr(mujoco.mjtEnableBit, "mjENBL_SLEEP", None)
    if bit is None:
        pytest.skip("this MuJoCo has no sleep")
    model.opt.enableflags |= int(bit)
    with pytest.raises(NotCloneableError, match="sleep"):
        mjdata.SimulationMemory(model, mujoco.MjData(model))


def picture_of(env):
    """The picture, or, where there is no OpenGL, a look at how that is said."""
    if env.img_shape is None:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="MUJOCO_GL"):
                env.get_image()
        pytest.skip("no OpenGL")
    return env.get_image()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_pictures_are_of_the_state():
    with make("Reacher-v5") as env:
        state = env.reset(seed=1)[0]
        image = picture_of(env)
        env.step(env.sample_action(), dt=20)
        assert not np.array_equal(image, env.get_image())
        env.set_state(state)
        assert_same(image, env.get_image())
    with make("Reacher-v5") as other:
        other.reset(seed=5)
        other.get_image()
        other.set_state(state)
        assert_same(image, other.get_image())


class TestNegativeControls:
    """Leave something out of the state and see the contract fail."""

    def check(self, name, **options):
        return check_exact(
            lambda: make(name, render_mode=None, **options), depths=(5, 20), length=10, reach=40
        )

    @pytest.mark.parametrize("name", ["Ant-v5", "Humanoid-v5"])
    def test_what_is_read_before_a_step(self, monkeypatch, name):
        monkeypatch.setattr(env_module, "examine", lambda base: ({}, examine(base)[1]))
        assert not self.check(name).exact

    @pytest.mark.parametrize(
        ("name", "array"), [("HumanoidStandup-v5", "qacc_warmstart"), ("Hopper-v5", "qvel")]
    )
    def test_an_array(self, monkeypatch, name, array):
        load = SlimMemory.load

        def forgetful(self, row):
            load(self, row)
            getattr(self.data, array)[:] = 0

        monkeypatch.setattr(SlimMemory, "load", forgetful)
        assert not self.check(name).exact

    def test_what_is_shown(self, monkeypatch):
        monkeypatch.setattr(SlimMemory, "derive", lambda self: None)
        assert "obs" in self.check("Reacher-v5").difference

    def test_the_step_count(self, monkeypatch):
        options = {"remove_time_limit": False, "max_episode_steps": 25}
        assert self.check("Reacher-v5", **options).exact
        load = MujocoEnv.load_state

        def forgetful(self, state):
            load(self, state)
            self._limits[0]._elapsed_steps = 0

        monkeypatch.setattr(MujocoEnv, "load_state", forgetful)
        assert not self.check("Reacher-v5", **options).exact

    def test_the_generator(self):
        options = {"remove_time_limit": False, "max_episode_steps": 25}
        assert "obs" in self.check("Reacher-v5", clone_seeds=False, **options).difference


def test_forces_of_the_step_before_are_played():
    """They lie outside the buffer: whoever reads them before a step is not wronged."""
    from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

    class Feeling(HopperEnv):
        def step(self, action):
            felt = float(np.sum(self.data.efc_force))
            obs, reward, *rest = super().step(action)
            return obs, reward + felt, *rest

    with make(Feeling) as env:
        assert env.state_method == "replay"

"""Classic control: bit for bit what Gymnasium does, and exact."""

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import InvalidStateError, make
from plangym_lite.testing import ContractSuite
from tests.same import assert_same

NAMES = [
    "CartPole-v0",
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
]


class ClassicSuite(ContractSuite):
    name: str
    options: dict = {}

    def make_env(self):
        return make(self.name, **self.options)


class TestCartPole(ClassicSuite):
    name = "CartPole-v1"
    n_workers = 2


class TestPendulum(ClassicSuite):
    name = "Pendulum-v1"
    options = {"remove_time_limit": False}


class TestAcrobot(ClassicSuite):
    """With noise, so that stepping draws from the generator."""

    options = {"remove_time_limit": False, "max_episode_steps": 60, "frameskip": 2}

    def make_env(self):
        env = make("Acrobot-v1", **self.options)
        env.gym_env.unwrapped.torque_noise_max = 0.5
        return env

    def make_plain(self):
        env = gym.make("Acrobot-v1", max_episode_steps=60)
        env.unwrapped.torque_noise_max = 0.5
        return env


class TestMountainCar(ClassicSuite):
    name = "MountainCar-v0"
    options = {"remove_time_limit": False}


class TestMountainCarContinuous(ClassicSuite):
    name = "MountainCarContinuous-v0"


class TestCartPoleImages(ClassicSuite):
    name = "CartPole-v1"
    options = {"obs_type": "grayscale"}
    depths = (0, 7)
    reach, length = 40, 10


class TestCartPoleWrapped(ClassicSuite):
    name = "CartPole-v1"
    options = {
        "wrappers": [gym.wrappers.TimeAwareObservation, (gym.wrappers.FrameStackObservation, 3)],
        "remove_time_limit": False,
    }


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize("name", NAMES)
def test_a_plain_walk_is_gymnasiums(name):
    raw = gym.make(name, disable_env_checker=True)
    with make(name, remove_time_limit=False) as env:
        raw.action_space.seed(3)
        assert_same(raw.reset(seed=3), env.reset(return_state=False, seed=3))
        for _ in range(300):
            action = raw.action_space.sample()
            obs, reward, terminated, truncated, info = raw.step(action)
            step = env.step(action)
            assert_same((obs, float(reward), terminated, truncated), step[:4])
            assert step.info == {**info, "n_step": 1, "dt": 1}
            if terminated or truncated:
                assert_same(raw.reset(), env.reset(return_state=False))
    raw.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*out of date")
def test_a_state_is_a_short_row_of_float64(name):
    with make(name) as env:
        state = env.get_state()
        assert state.dtype == np.float64
        assert len(state) <= 24


@pytest.mark.parametrize("name", ["Acrobot-v1", "MountainCarContinuous-v0"])
def test_the_dtype_of_the_variables_comes_back(name):
    """Acrobot computes in float32 until its first step, continuous MountainCar after it."""
    with make(name) as env:
        env.reset(seed=0)
        for _ in range(2):
            before = env.gym_env.unwrapped.state
            env.set_state(env.get_state())
            assert np.asarray(env.gym_env.unwrapped.state).dtype == np.asarray(before).dtype
            env.step(env.sample_action())


def test_steps_beyond_the_end_are_part_of_the_state():
    """Their count decides the reward of stepping on."""
    with make("CartPole-v1") as env:
        state = env.reset(seed=0)[0]
        ended = env.step(1, state, 50)
        assert ended.terminated
        env.set_state(state)
        assert env.gym_env.unwrapped.steps_beyond_terminated is None
        env.set_state(ended.state)
        assert env.gym_env.unwrapped.steps_beyond_terminated == 0


class TestCloneSeeds:
    def make_env(self, clone_seeds):
        env = make("Acrobot-v1", clone_seeds=clone_seeds)
        env.gym_env.unwrapped.torque_noise_max = 1.0
        return env

    def test_true_gives_one_answer(self):
        with self.make_env(True) as env:
            batch = env.step_batch([1] * 6, [env.get_state()] * 6, 3)
            assert len({obs.tobytes() for obs in batch.observs}) == 1

    def test_false_samples_from_one_state(self):
        with self.make_env(False) as env:
            state = env.get_state()
            batch = env.step_batch([1] * 6, [state] * 6, 3)
            assert len({obs.tobytes() for obs in batch.observs}) == 6
            assert_same(state, env.get_state())


@pytest.mark.parametrize("number", [0, 2, 3])
def test_what_is_no_state(number):
    with make("CartPole-v1") as env:
        state = env.get_state()
        state[number] = 77
        with pytest.raises(InvalidStateError, match="not a state of"):
            env.set_state(state)


def test_a_state_of_another_game():
    with make("CartPole-v1") as env:
        state = env.get_state()
    with make("Pendulum-v1") as env, pytest.raises(InvalidStateError, match="another environment"):
        env.set_state(state)


def test_images_after_a_restore_are_of_the_restored_state():
    with make("CartPole-v1", obs_type="rgb") as env:
        state, obs, _ = env.reset(seed=1)
        moved = env.step(1, dt=9)
        assert not np.array_equal(obs, moved.obs)
        env.set_state(state)
        assert_same(obs, env.observe())
        assert_same(obs, env.get_image())


def test_two_time_limits_are_both_in_the_state():
    wrappers = [(gym.wrappers.TimeLimit, 1000)]
    with make("CartPole-v1", remove_time_limit=False, wrappers=wrappers) as env:
        state, _, _ = env.reset(seed=0)
        for number in range(600):
            step = env.step(number % 2, state=state)
            assert not step.truncated

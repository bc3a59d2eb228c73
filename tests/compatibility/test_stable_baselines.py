"""What gym_os2r and stable-baselines offer, one test for each thing."""

import copy
import os
import pickle
import signal
from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import (
    AlreadySteppingError,
    CloudpickleWrapper,
    NotSteppingError,
    SubprocVecEnv,
    VecEnvWrapper,
    WorkerDiedError,
)
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, NestedToy, ToyEnv


class Plain(gym.Env):
    """Observations in a plain dict, nested in a tuple."""

    observation_space = gym.spaces.Dict(
        pair=gym.spaces.Tuple([gym.spaces.Discrete(9), gym.spaces.Box(0, 9, (2,))])
    )
    action_space = gym.spaces.Discrete(9)

    def reset(self, *, seed=None, options=None):
        return {"pair": (0, np.zeros(2, np.float32))}, {}

    def step(self, action):
        return {"pair": (action, np.full(2, action, np.float32))}, 0.0, False, False, {}


@pytest.fixture(scope="module")
def env():
    with SubprocVecEnv([partial(ToyEnv, slip=0.3, size=9)] * 3) as env:
        yield env


@pytest.fixture(autouse=True)
def begin(env):
    env.seed(0)
    env.reset()


def test_step_async_and_step_wait(env):
    with pytest.raises(NotSteppingError):
        env.step_wait()
    env.step_async([RIGHT] * 3)
    with pytest.raises(AlreadySteppingError):
        env.step_async([RIGHT] * 3)
    observs, rewards, dones, infos = env.step_wait()
    assert (observs.shape, rewards.shape, dones.dtype, len(infos)) == ((3, 2), (3,), bool, 3)
    env.step_async([RIGHT] * 3)
    assert env.reset().shape == (3, 2)
    other = SubprocVecEnv([ToyEnv])
    other.step_async([RIGHT])
    other.close()


def test_env_method_get_attr_set_attr(env):
    for number, indices in enumerate([None, 1, np.int32(2), slice(0, 2), [2, 0]]):
        env.set_attr("mark", number, indices)
        count = 3 if indices is None else np.arange(3)[indices].size
        assert env.get_attr("mark", indices) == [number] * count
        assert len(env.env_method("observe", indices=indices)) == count
    with pytest.raises(AttributeError):
        env.env_method("missing")
    assert env.get_attr("size") == [9] * 3


def test_has_attr(env):
    assert env.has_attr("size")
    assert VecEnvWrapper(env).has_attr("size")
    assert not VecEnvWrapper(env).has_attr("missing")


def test_infos_of_the_episode_that_ended():
    with SubprocVecEnv([partial(ToyEnv, time_limit=2)] * 2) as env:
        env.reset()
        assert [info["TimeLimit.truncated"] for info in env.step([RIGHT, STAY])[3]] == [False] * 2
        infos = env.step([RIGHT, STAY])[3]
        assert [info["TimeLimit.truncated"] for info in infos] == [True] * 2
        assert [info["terminal_observation"][0] for info in infos] == [4, 2]
        assert [info["cell"] for info in env.reset_infos] == [2, 2]


def test_seed(env):
    assert env.seed(4) == [4, 5, 6]
    first = env.reset()
    env.seed(4)
    assert_same(first, env.reset())
    assert env.seed() != env.seed()


def test_get_state_info(env):
    states, actions = env.get_state(), [RIGHT, STAY, LEFT]
    rewards, dones = env.get_state_info(states, actions)
    env.get_state_info_async(states, actions)
    assert_same((rewards, dones), env.get_state_info_wait())
    assert_same(states, env.get_state())
    assert_same((rewards, dones), env.step(actions)[1:3])


def test_images_and_tiled_render(env):
    assert [image.shape for image in env.get_images()] == [(8, 72, 3)] * 3
    assert env.render(mode="rgb_array").shape == (16, 144, 3)


def test_vec_env_wrapper(env):
    class Named(VecEnvWrapper):
        label = "named"

    wrapped = VecEnvWrapper(Named(Named(env)), gym.spaces.Discrete(3), None)
    assert wrapped.observation_space == gym.spaces.Discrete(3)
    assert wrapped.action_space == env.action_space
    assert wrapped.unwrapped is env
    assert wrapped.getattr_recursive("workers") is env.workers
    assert wrapped.getattr_depth_check("label", False).endswith("Named")
    with pytest.raises(AttributeError, match="ambiguous"):
        wrapped.getattr_recursive("label")
    assert copy.copy(wrapped).venv is wrapped.venv


def test_cloudpickle_wrapper():
    assert pickle.loads(pickle.dumps(CloudpickleWrapper(lambda: 5))).var() == 5


def test_dict_and_tuple_observations():
    with SubprocVecEnv([Plain] * 2) as env:
        first, second = env.reset()["pair"]
        assert (first.tolist(), second.shape) == ([0, 0], (2, 2))
        first, second = env.step([3, 4])[0]["pair"]
        assert (first.tolist(), second.tolist()) == ([3, 4], [[3, 3], [4, 4]])
    with SubprocVecEnv([NestedToy]) as env:
        assert env.reset()["place"].tolist() == [[2]]


def test_a_worker_that_dies():
    with SubprocVecEnv([partial(ToyEnv, sleep_at=LEFT, sleep_for=60)] * 2, "forkserver") as env:
        env.step_async([STAY, LEFT])
        os.kill(env.workers[1].pid, signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match=r"environment 1: .*-9, signal SIGKILL.*'step'"):
            env.step_wait()

"""SubprocVecEnv and VecEnvWrapper: the dialect of stable-baselines and gym_os2r."""

import copy
import importlib.util
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
    InvalidBatchError,
    NotSteppingError,
    SubprocVecEnv,
    VecEnvWrapper,
    WorkerDiedError,
    make,
)
from plangym_lite.vector.stable_baselines3 import tile_images
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, NestedToy, ToyEnv
from tests.vectorization.helpers import is_running, wait_until

cart_pole = partial(gym.make, "CartPole-v1")


@pytest.fixture
def env():
    """Three toys that can be told apart by their time limits."""
    factories = [partial(ToyEnv, size=6, time_limit=limit) for limit in (2, 30, 31)]
    with SubprocVecEnv(factories) as env:
        env.reset()
        yield env


class Doubling(VecEnvWrapper):
    """Doubles rewards, and has a colour."""

    colour = "blue"

    def step_wait(self):
        observs, rewards, dones, infos = self.venv.step_wait()
        return observs, 2 * rewards, dones, infos


class Painted(VecEnvWrapper):
    """Has a colour and a size of its own."""

    colour, weight = "red", 3


# ---- steps and episodes --------------------------------------------------------------------------


def test_four_values_and_the_last_observation(env):
    observs, rewards, dones, infos = env.step([STAY, RIGHT, LEFT])
    assert observs[:, 0].tolist() == [2, 3, 1]
    assert not dones.any()
    assert isinstance(infos, list)
    observs, rewards, dones, infos = env.step([STAY, RIGHT, LEFT])
    assert dones.tolist() == [True, False, True]
    assert observs[:, 0].tolist() == [2, 4, 2], "the next episode has begun"
    assert rewards.tolist() == [-0.01, -0.01, 0.3]
    assert infos[0]["terminal_observation"].tolist() == [2, 0]
    assert infos[2]["terminal_observation"].tolist() == [0, 0]
    assert [info.get("TimeLimit.truncated") for info in infos] == [True, False, False]
    assert "terminal_observation" not in infos[1]
    assert env.reset_infos[2] == {"cell": 2}


def test_the_same_rewards_as_the_other_dialect():
    from plangym_lite import SubprocVectorEnv

    toys = [partial(NestedToy, slip=0.3)] * 2
    with SubprocVecEnv(toys) as env, SubprocVectorEnv(toys, autoreset_mode="SameStep") as other:
        env.seed(3)
        assert_same(other.reset(seed=3)[0], env.reset())
        other.action_space.seed(0)
        for _ in range(30):
            actions = other.action_space.sample()
            observs, rewards, terminations, truncations, _ = other.step(actions)
            assert_same((observs, rewards, terminations | truncations), env.step(actions)[:3])


def test_seeds_are_told_and_used():
    with SubprocVecEnv([partial(ToyEnv, slip=0.5, size=50)] * 3) as env:
        assert env.seed(7) == [7, 8, 9]
        first = env.reset()
        assert not np.array_equal(first, env.reset())
        env.seed(7)
        assert_same(first, env.reset())
        fresh = env.seed()
        assert fresh == list(range(fresh[0], fresh[0] + 3))
        assert fresh != env.seed()


def test_options_reach_the_next_reset():
    class Optional(gym.Env):
        observation_space = action_space = gym.spaces.Discrete(9)

        def reset(self, *, seed=None, options=None):
            return (options or {}).get("at", 0), {}

    with SubprocVecEnv([Optional] * 2) as env:
        env.set_options([{"at": 1}, {"at": 2}])
        assert env.reset().tolist() == [1, 2]
        assert env.reset().tolist() == [0, 0]
        env.set_options({"at": 3})
        assert env.reset().tolist() == [3, 3]
        with pytest.raises(ValueError, match="2 environments"):
            env.set_options([{}])


def test_steps_out_of_order(env):
    with pytest.raises(NotSteppingError):
        env.step_wait()
    env.step_async([STAY] * 3)
    for use in (lambda: env.step_async([STAY] * 3), lambda: env.get_attr("size")):
        with pytest.raises(AlreadySteppingError):
            use()
    assert env.reset()[:, 0].tolist() == [2, 2, 2]
    with pytest.raises(NotSteppingError):
        env.step_wait()
    env.step_async([STAY] * 3)


def test_bad_actions(env):
    for actions in ([0, 0], [0, 0, 5]):
        with pytest.raises(InvalidBatchError):
            env.step(actions)
    assert env.step([RIGHT] * 3)[0][:, 0].tolist() == [3, 3, 3]


# ---- attributes and methods ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "limits"),
    [
        (None, [2, 30, 31]),
        (1, [30]),
        (-1, [31]),
        (np.int64(2), [31]),
        (slice(1, None), [30, 31]),
        ([2, 0], [31, 2]),
        ((1,), [30]),
        (np.array([2, 1]), [31, 30]),
        (range(2), [2, 30]),
        ([], []),
    ],
    ids=repr,
)
def test_any_indices(env, indices, limits):
    env.set_attr("mark", 5, indices)
    assert env.get_attr("mark", indices) == [5] * len(limits)
    assert len(env.env_method("get_state", indices=indices)) == len(limits)
    assert env.env_is_wrapped(gym.Wrapper, indices) == [False] * len(limits)
    assert env.get_attr("time_limit", indices) == limits


def test_an_iterator_of_indices(env):
    assert env.get_attr("time_limit", iter([2, 0, 0])) == [31, 2, 2]


def test_wrong_names_and_indices_leave_the_workers_alive(env):
    pids = [worker.pid for worker in env.workers]
    for use in (
        lambda: env.get_attr("no_such_thing"),
        lambda: env.env_method("no_such_thing", indices=1),
        lambda: env.get_attr("_private", [0]),
    ):
        with pytest.raises(AttributeError):
            use()
    with pytest.raises(IndexError, match="3 environments"):
        env.get_attr("size", 3)
    with pytest.raises(TypeError):
        env.get_attr("size", "0")
    assert env.get_attr("size") == [6] * 3
    assert [worker.pid for worker in env.workers] == pids


def test_layers_are_found():
    with SubprocVecEnv([cart_pole] * 2) as env:
        assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [True, True]
        assert env.env_is_wrapped(gym.wrappers.ClipAction, 0) == [False]
    with SubprocVecEnv([partial(make, "CartPole-v1", remove_time_limit=False)]) as env:
        assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [True]


def test_methods_take_arguments(env):
    env.env_method("reset", indices=1, seed=4, return_state=False)
    assert env.env_method("step", RIGHT, dt=2, indices=[1])[0].obs[0] == 4


# ---- pictures ------------------------------------------------------------------------------------


def test_pictures(env):
    images = env.get_images()
    assert [image.shape for image in images] == [(8, 48, 3)] * 3
    whole = env.render()
    assert_same(whole, env.render("rgb_array"))
    assert whole.shape == (16, 96, 3)
    with pytest.raises(NotImplementedError, match="rgb_array"):
        env.render("human")


@pytest.mark.parametrize(
    ("count", "grid"), [(1, (1, 1)), (2, (2, 1)), (4, (2, 2)), (5, (3, 2)), (9, (3, 3))]
)
def test_tiles(count, grid):
    images = [np.full((2, 3, 3), 10 + index, np.uint8) for index in range(count)]
    whole = tile_images(images)
    assert whole.shape == (2 * grid[0], 3 * grid[1], 3)
    for index in range(count):
        row, column = divmod(index, grid[1])
        assert (whole[2 * row : 2 * row + 2, 3 * column : 3 * column + 3] == 10 + index).all()
    assert (whole >= 10).sum() == count * 18, "the rest is black"


# ---- states --------------------------------------------------------------------------------------


def test_state_info_moves_nothing():
    with SubprocVecEnv([partial(make, "CartPole-v1")] * 2) as env, make("CartPole-v1") as local:
        env.seed(0)
        env.reset()
        before = env.get_state()
        later = env.step([0, 1])
        states = env.get_state()
        rewards, dones = env.get_state_info(before, [0, 1])
        assert_same(later[1:3], (rewards, dones))
        over = local.step_batch([1] * 2, [before[0]] * 2, dt=[1, 60]).states
        assert env.get_state_info(over, [1, 1])[1].tolist() == [False, True]
        assert_same(states, env.get_state())


def test_state_info_can_be_awaited(env):
    states = env.get_state()
    with pytest.raises(NotSteppingError):
        env.get_state_info_wait()
    env.get_state_info_async(states, [RIGHT, STAY, LEFT])
    with pytest.raises(AlreadySteppingError):
        env.step_async([0, 0, 0])
    rewards, dones = env.get_state_info_wait()
    assert rewards.tolist() == [-0.01] * 3
    assert not dones.any()
    with pytest.raises(InvalidBatchError, match="2 states"):
        env.get_state_info(states[:2], [0, 0, 0])


def test_states_are_restored(env):
    states = env.get_state()
    expected = [env.step([RIGHT, LEFT, RIGHT]) for _ in range(4)]
    env.set_state(states)
    assert_same(expected, [env.step([RIGHT, LEFT, RIGHT]) for _ in range(4)])
    env.set_state(states[:1], indices=slice(0, 1))
    assert env.step([RIGHT] * 3)[0][0, 0] == 3


def test_plain_environments_have_state_info():
    with SubprocVecEnv([cart_pole] * 2) as env:
        env.seed(0)
        env.reset()
        states = env.get_state()
        rewards, dones = env.get_state_info(states, [0, 1])
        assert (rewards.tolist(), dones.tolist()) == ([1, 1], [False, False])
        assert_same(states, env.get_state())


# ---- a worker that dies --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_step_wait_names_a_dead_worker(method):
    with SubprocVecEnv([ToyEnv] * 3, start_method=method) as env:
        env.reset()
        pid = env.workers[2].pid
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: not is_running(pid))
        env.step_async([RIGHT] * 3)
        with pytest.raises(WorkerDiedError, match=r"environment 2: .* SIGKILL\) during 'step'"):
            env.step_wait()
        assert env.reset().shape == (3, 2)
        assert env.step([RIGHT] * 3)[0][:, 0].tolist() == [3] * 3


# ---- wrappers ------------------------------------------------------------------------------------


def test_a_wrapper_passes_on_and_changes(env):
    wrapped = Doubling(env, action_space=gym.spaces.Discrete(2))
    assert wrapped.action_space.n == 2
    assert wrapped.observation_space == env.observation_space
    assert wrapped.step([STAY] * 3)[1].tolist() == [-0.02] * 3
    assert wrapped.unwrapped is env
    assert wrapped.seed(1) == [1, 2, 3]
    assert wrapped.get_attr("size", 0) == [6]
    wrapped.set_attr("mark", 1)
    assert wrapped.env_method("get_state", indices=0)[0].shape == (4,)
    wrapped.set_state(wrapped.get_state())
    assert wrapped.render().shape == (16, 96, 3)
    assert wrapped.env_is_wrapped(gym.Wrapper) == [False] * 3
    with Doubling(env) as closing:
        closing.reset()
    env.close()


def test_attributes_are_searched_from_outside_in(env):
    wrapped = VecEnvWrapper(Painted(env))
    assert wrapped.weight == 3
    assert wrapped.getattr_recursive("weight") == 3
    assert wrapped.workers is env.workers
    with pytest.raises(AttributeError, match="no_such_thing"):
        getattr(wrapped, "no_such_thing")  # noqa: B009
    assert not hasattr(wrapped, "_private")


def test_an_ambiguous_name_is_refused(env):
    wrapped = VecEnvWrapper(Painted(Doubling(env)))
    with pytest.raises(AttributeError, match=r"Painted.*Doubling"):
        getattr(wrapped, "colour")  # noqa: B009
    assert wrapped.venv.colour == "red"
    assert wrapped.getattr_depth_check("colour", False).endswith("Doubling")
    assert wrapped.getattr_depth_check("weight", False) is None
    assert wrapped.getattr_depth_check("weight", True).endswith("Painted")
    assert wrapped.getattr_depth_check("workers", True).endswith("SubprocVecEnv")


def test_copying_a_wrapper_does_not_recurse(env):
    twin = copy.copy(Painted(env))
    assert twin.venv is env
    empty = Painted.__new__(Painted)
    with pytest.raises(AttributeError):
        getattr(empty, "anything")  # noqa: B009
    empty = pickle.loads(pickle.dumps(empty))
    assert not hasattr(empty, "num_envs")


def test_cloudpickle_wrapper_carries_closures():
    step = 3
    wrapped = pickle.loads(pickle.dumps(CloudpickleWrapper(lambda start: start + step)))
    assert wrapped.var(4) == 7


# ---- stable-baselines3 ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    importlib.util.find_spec("stable_baselines3") is None,
    reason="stable-baselines3 is not installed",
)
def test_stable_baselines3_trains_on_it():
    with SubprocVecEnv([cart_pole] * 2) as env:
        from stable_baselines3 import PPO
        from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

        assert isinstance(env, VecEnv)
        assert isinstance(VecEnvWrapper(env), VecEnv)
        inner = VecMonitor(VecEnvWrapper(env))
        options = {"n_steps": 64, "batch_size": 64, "n_epochs": 2, "device": "cpu", "seed": 0}
        model = PPO("MlpPolicy", VecNormalize(inner), **options)
        assert model.get_env().num_envs == 2
        before = model.policy.state_dict()["action_net.weight"].clone()
        model.learn(384)
        assert model.num_timesteps == 384
        assert not before.equal(model.policy.state_dict()["action_net.weight"])
        assert len(model.ep_info_buffer) > 3, "episodes ended and were told to VecMonitor"
        action, _ = model.predict(env.reset())
        assert action.shape == (2,)

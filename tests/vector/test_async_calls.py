"""Calls that are begun and awaited, spaces that differ, attributes, seeds: as in Gymnasium."""

import multiprocessing
import threading
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.vector.utils import batch_differing_spaces

from plangym_lite import (
    SequentialVectorEnv,
    SubprocVecEnv,
    SubprocVectorEnv,
    VecEnvWrapper,
    make,
)
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, ToyEnv

KINDS = [SubprocVectorEnv, SequentialVectorEnv]
cart_pole = partial(gym.make, "CartPole-v1")


class Bounded(gym.Env):
    """An observation space whose bound is an argument."""

    action_space = spaces.Discrete(2)

    def __init__(self, high=1.0, shape=(2,), dtype=np.float32):
        self.observation_space = spaces.Box(0, high, shape, dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.high, {
            "seed": -1 if seed is None else seed,
            **(options or {}),
        }

    def step(self, action):
        return self.observation_space.high * 0.5, 0.0, False, False, {}


class Reuses(gym.Env):
    """Gives the same objects each time: info, its list, and the observation."""

    observation_space = spaces.Box(-99, 99, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.info, self.obs = {"path": []}, np.zeros(1, np.float32)

    def reset(self, *, seed=None, options=None):
        self.time = self.info["time"] = 0
        self.info["path"].clear()
        self.obs[:] = 0
        return self.obs, self.info

    def step(self, action):
        self.time += 1
        self.obs += 1
        self.info["time"] = self.time
        self.info["path"].append(self.time)
        return self.obs, 1.0, False, self.time >= 2, self.info


@pytest.fixture(params=KINDS, ids=["subproc", "sequential"])
def kind(request):
    return request.param


# ---- begun and awaited ---------------------------------------------------------------------------


def test_reset_async_and_call_async(kind):
    theirs = SyncVectorEnv([cart_pole] * 2)
    with kind([cart_pole] * 2) as env:
        env.reset_async(seed=[4, 9])
        assert_same(theirs.reset(seed=[4, 9]), env.reset_wait(timeout=20))
        env.call_async("has_wrapper_attr", "gravity")
        assert env.call_wait() == (True, True)
        env.step_async(np.array([0, 1]))
        assert_same(theirs.step(np.array([0, 1])), env.step_wait(20))
        mask = {"reset_mask": np.array([False, True])}
        env.reset_async(seed=7, options=mask)
        assert_same(theirs.reset(seed=7, options=dict(mask)), env.reset_wait())
        for wrong in ("reset", "step", "close"):
            with pytest.raises(ValueError, match=f"Trying to call function `{wrong}`"):
                env.call(wrong)


BEGIN = {
    "step": lambda env: env.step_async(np.array([0, 1])),
    "reset": lambda env: env.reset_async(),
    "call": lambda env: env.call_async("spec"),
}
OTHERS = {
    "render": lambda env: env.render(),
    "get_state": lambda env: env.get_state(),
    "set_attr": lambda env: env.set_attr("gravity", 1.0),
    "has_attr": lambda env: env.has_attr("gravity"),
    "step": lambda env: env.step(np.array([0, 1])),
}


@pytest.mark.parametrize("pending", BEGIN)
def test_one_call_at_a_time(kind, pending):
    with kind([cart_pole] * 2) as env:
        env.reset()
        BEGIN[pending](env)
        for begin in (*BEGIN.values(), *OTHERS.values()):
            with pytest.raises(
                gym.error.AlreadyPendingCallError, match=f"pending call to `{pending}`"
            ) as caught:
                begin(env)
            assert caught.value.name == pending
        for other in {*BEGIN} - {pending}:
            with pytest.raises(gym.error.NoAsyncCallError, match=f"{other}_wait") as caught:
                getattr(env, f"{other}_wait")()
            assert caught.value.name == other
        getattr(env, f"{pending}_wait")()
        env.step(np.array([1, 0]))
    for begin in (*BEGIN.values(), *OTHERS.values()):
        with pytest.raises(gym.error.ClosedEnvironmentError):
            begin(env)


def test_a_wait_that_takes_too_long():
    with SubprocVectorEnv([partial(ToyEnv, sleep_at=LEFT, sleep_for=0.5)] * 2) as env:
        env.reset()
        env.step_async([LEFT, STAY])
        with pytest.raises(multiprocessing.TimeoutError):
            env.step_wait(0.05)
        env.step_wait()


def test_threads_wait_for_each_other():
    with SubprocVectorEnv([partial(ToyEnv, size=500)] * 2) as env:
        start = env.reset()[0][:, 0]
        seen, errors = [], []

        def walk():
            try:
                for _ in range(40):
                    seen.append(tuple(env.step([RIGHT, RIGHT])[0][:, 0] - start))
                    env.get_attr("size")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=walk) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        assert not errors
        assert sorted(seen) == [(number, number) for number in range(1, 121)]


# ---- infos of the episode that ended -------------------------------------------------------------


def test_infos_are_those_of_the_episode_that_ended(kind):
    with kind([Reuses] * 2, autoreset_mode="SameStep") as env:
        env.reset()
        env.step(np.array([0, 0]))
        observations, _, _, truncations, infos = env.step(np.array([0, 0]))
        assert truncations.all()
        assert infos["final_info"]["time"].tolist() == [2, 2]
        assert infos["final_info"]["path"].tolist() == [[1, 2], [1, 2]]
        assert [obs.tolist() for obs in infos["final_obs"]] == [[2], [2]]
        assert (infos["time"].tolist(), observations.tolist()) == ([0, 0], [[0], [0]])


def test_infos_in_the_other_dialect():
    watched = gym.wrappers.RecordEpisodeStatistics
    with SubprocVecEnv([lambda: watched(Reuses())] * 2) as env:
        env.reset()
        assert [info["TimeLimit.truncated"] for info in env.step([0, 0])[3]] == [False, False]
        infos = env.step([0, 0])[3]
        assert [info["time"] for info in infos] == [2, 2]
        assert [info["TimeLimit.truncated"] for info in infos] == [True, True]
        assert [info["terminal_observation"].tolist() for info in infos] == [[2], [2]]
        assert [(info["episode"]["r"], info["episode"]["l"]) for info in infos] == [(2, 2)] * 2
        assert [info["time"] for info in env.reset_infos] == [0, 0]


# ---- spaces --------------------------------------------------------------------------------------


def test_spaces_that_differ(kind):
    factories = [partial(Bounded, high) for high in (1.0, 2.0, 3.0)]
    theirs = SyncVectorEnv(factories, observation_mode="different")
    with kind(factories, observation_mode="different") as env:
        assert env.observation_space == theirs.observation_space
        assert env.single_observation_space == theirs.single_observation_space
        assert_same(theirs.reset(seed=1), env.reset(seed=1))
        assert_same(theirs.step(np.zeros(3, int)), env.step(np.zeros(3, int)))
    with pytest.raises(RuntimeError, match=r"worker 1.*observation_mode='different'"):
        kind(factories)


def test_spaces_of_ones_own(kind):
    factories = [partial(Bounded, high) for high in (1.0, 2.0)]
    batched = batch_differing_spaces([factory().observation_space for factory in factories])
    single = spaces.Box(0, 9, (2,), np.float32)
    with kind(factories, observation_mode=(batched, single)) as env:
        assert env.observation_space is batched
        assert env.single_observation_space == single
        assert env.reset()[0] in batched


@pytest.mark.parametrize(
    ("mode", "error"),
    [("other", ValueError), (None, ValueError), (("a", "b"), TypeError)],
)
def test_modes_that_there_are_not(kind, mode, error):
    with pytest.raises(error, match="observation_mode"):
        kind([Bounded] * 2, observation_mode=mode)


@pytest.mark.parametrize("mode", ["same", "different"])
@pytest.mark.parametrize("other", [partial(Bounded, shape=(3,)), partial(Bounded, dtype=np.int8)])
def test_spaces_that_cannot_be_batched(kind, mode, other):
    with pytest.raises(RuntimeError, match="worker 1"):
        kind([Bounded, other], observation_mode=mode)


def test_metadata_and_modes(kind):
    theirs = SyncVectorEnv([cart_pole] * 2, autoreset_mode="SameStep")
    with kind(
        [cart_pole] * 2, autoreset_mode="SameStep", observation_mode="same", copy=True
    ) as env:
        assert env.metadata == theirs.metadata
        assert env.autoreset_mode is theirs.autoreset_mode
        assert env.observation_mode == "same"
        assert "autoreset_mode" not in gym.make("CartPole-v1").metadata
        assert env.single_action_space == theirs.single_action_space


def test_arguments_of_gymnasium():
    with SubprocVectorEnv(env_fns=[cart_pole] * 2, shared_memory=False, copy=False) as env:
        theirs = AsyncVectorEnv(env_fns=[cart_pole] * 2)
        assert_same(theirs.reset(seed=1), env.reset(seed=1))
        theirs.close()


# ---- attributes and seeds ------------------------------------------------------------------------


def test_has_attr(kind):
    for factory in (cart_pole, partial(make, "CartPole-v1")):
        with kind([factory] * 2) as env:
            assert env.has_attr("gravity")
            assert not env.has_attr("no_such_thing")
            assert not env.has_attr("_private")
    with SubprocVecEnv([cart_pole, partial(gym.make, "Pendulum-v1")][:1] * 2) as env:
        for each in (env, VecEnvWrapper(env), VecEnvWrapper(VecEnvWrapper(env))):
            assert each.has_attr("gravity")
            assert not each.has_attr("no_such_thing")


def test_the_environments_of_a_sequential_one():
    with SequentialVectorEnv([partial(Bounded, high) for high in (1, 1)]) as env:
        assert [type(each) for each in env.envs] == [Bounded, Bounded]
        env.envs[1].mark = 5
        assert env.call("has_wrapper_attr", "mark") == (False, True)


@pytest.mark.parametrize(
    "seed",
    [
        np.int64(3),
        np.uint8(3),
        np.array(3),
        np.array([3, 4]),
        [np.int32(3), np.int64(4)],
        (3, 4),
        np.array([3, 4], np.uint64),
    ],
)
def test_seeds_may_be_of_numpy(kind, seed):
    with kind([Bounded] * 2) as env:
        assert env.reset(seed=seed)[1]["seed"].tolist() == [3, 4]
        env.reset_async(seed=seed)
        assert env.reset_wait()[1]["seed"].tolist() == [3, 4]
        assert env.seed(seed) == [[3], [4]]
        assert env.reset()[1]["seed"].tolist() == [3, 4]


def test_seeds_for_some(kind):
    with kind([Bounded] * 2) as env:
        assert env.reset(seed=[np.int64(5), None])[1]["seed"].tolist() == [5, -1]
        for wrong in (2.5, [1.5, 2], "ab"):
            with pytest.raises(TypeError, match="seed"):
                env.reset(seed=wrong)
        with pytest.raises(ValueError, match="3 seeds for 2"):
            env.reset(seed=np.arange(3))


def test_seeds_of_numpy_in_the_other_dialect():
    with SubprocVecEnv([Bounded] * 2) as env:
        assert env.seed(np.int64(8)) == [8, 9]
        env.reset()
        assert [info["seed"] for info in env.reset_infos] == [8, 9]

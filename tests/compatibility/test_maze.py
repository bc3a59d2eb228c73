"""What Maze's vector environments offer, one test for each thing."""

import logging
import os
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import vector as wrappers

from plangym_lite import SequentialVectorEnv, SubprocVectorEnv
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, NestedToy, ToyEnv

KINDS = [SubprocVectorEnv, SequentialVectorEnv]


class Team(ToyEnv):
    """Two actors take turns, as in Maze's structured environments."""

    def get_actor_rewards(self):
        return np.array([self._cell, self._elapsed], float)

    def actor_id(self):
        return ("walker", self._elapsed % 2)

    def is_actor_done(self):
        return self._cell == 0

    def get_env_time(self):
        return self._elapsed

    def backend(self):
        return os.environ["MPLBACKEND"]


@pytest.fixture(params=KINDS, ids=["subproc", "sequential"])
def kind(request):
    return request.param


def test_environment_i_lives_in_process_i():
    with SubprocVectorEnv([partial(ToyEnv, time_limit=3 + i) for i in range(3)], "log") as env:
        assert len({worker.pid for worker in env.workers} - {os.getpid()}) == 3
        assert env.get_attr("time_limit") == (3, 4, 5)
        assert isinstance(env, gym.vector.VectorEnv)
        assert isinstance(wrappers.RecordEpisodeStatistics(env).reset()[0], np.ndarray)
    with pytest.raises(ValueError, match=r"fork.*spawn"):
        SubprocVectorEnv([ToyEnv], None, "thread")


def test_sequential_gives_the_same_row_for_row():
    toys = [partial(NestedToy, slip=0.4)] * 3
    with SubprocVectorEnv(toys) as env, SequentialVectorEnv(toys) as twin:
        env.action_space.seed(0)
        assert_same(twin.reset(seed=1), env.reset(seed=1))
        for _ in range(30):
            actions = env.action_space.sample()
            assert_same(twin.step(actions), env.step(actions))


def test_dict_actions_and_observations(kind):
    with kind([NestedToy] * 2) as env:
        observations, _ = env.reset()
        assert list(observations) == list(env.single_observation_space)
        actions = {"pace": np.array([0, 1]), "go": np.array([RIGHT, RIGHT])}
        observations = env.step(actions)[0]
        assert observations["place"].tolist() == [[3], [4]]
        assert observations["walls"][1].tolist() == [[0, 0], [0, 0]]


def test_seeds_are_cycled_episode_after_episode(kind):
    toy = partial(ToyEnv, slip=0.001, size=60)
    seeds = [5, 6, 7, 8]
    first = [int(toy().reset(seed=seed)[1][0]) for seed in seeds]
    with kind([toy] * 2) as env:
        assert env.seed(seeds) == [[5, 7], [6, 8]]
        for _ in range(2):  # reset begins anew
            env.reset()
            firsts = [[int(cell)] for cell in env.reset()[0][:, 0]]
            ended = np.zeros(2, bool)
            while min(map(len, firsts)) < 3:
                observations, _, terminations, _, _ = env.step([LEFT, LEFT])
                for index in np.flatnonzero(ended):
                    firsts[index].append(int(observations[index, 0]))
                ended = terminations
            expected = [first[0], first[2], first[0]], [first[1], first[3], first[1]]
            assert (firsts[0][:3], firsts[1][:3]) == expected
        with pytest.raises(ValueError, match="1 seeds for 2"):
            env.seed([1])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_done_environments(kind, mode):
    with kind([ToyEnv] * 2, autoreset_mode=mode) as env:
        env.reset()
        env.step([LEFT, STAY])
        observations, _, terminations, _, infos = env.step([LEFT, STAY])
        assert terminations.tolist() == [True, False]
        if mode == "SameStep":
            assert observations[0, 0] == 2
            assert infos["final_obs"][0].tolist() == [0, 0]
            assert infos["final_info"]["cell"][0] == 0
        elif mode == "NextStep":
            assert observations[0, 0] == 0
            assert env.step([LEFT, STAY])[0][0, 0] == 2
        else:
            assert observations[0, 0] == 0
            env.reset(options={"reset_mask": terminations})
            assert env.step([RIGHT, STAY])[0][0, 0] == 3


def test_actors(kind):
    with kind([Team] * 3, autoreset_mode="SameStep") as env:
        env.reset()
        env.step([RIGHT, STAY, LEFT])
        rewards = env.get_actor_rewards()
        assert rewards.dtype == np.float32
        assert rewards.tolist() == [[3, 2, 1], [1, 1, 1]]
        assert env.actor_id() == [("walker", 1)] * 3
        assert env.is_actor_done().tolist() == [False] * 3
        assert env.get_env_time().tolist() == [1, 1, 1]
        env.step([STAY, STAY, LEFT])
        assert env.get_actor_rewards()[:, 2].tolist() == [0, 2], "of the step, not of the reset"
        assert env.get_env_time().tolist() == [2, 2, 0]
    with kind([ToyEnv]) as env:
        env.reset()
        assert env.get_actor_rewards() is None
        assert env.actor_id() is env.is_actor_done() is env.get_env_time() is None


def test_statistics_under_a_prefix(kind, caplog):
    with kind([ToyEnv] * 2, "train") as env:
        env.reset()
        for _ in range(2):
            env.step([LEFT, STAY])
        assert env.get_stats() == {
            "train/episodes": 1,
            **{f"train/return_{name}": pytest.approx(0.29) for name in ("mean", "min", "max")},
            **{f"train/length_{name}": 2 for name in ("mean", "min", "max")},
        }
        with caplog.at_level(logging.INFO, "plangym_lite"):
            env.clear_epoch_stats()
        assert "train/episodes=1" in caplog.text
        assert env.get_stats() == {"train/episodes": 0}


def test_plot_backend_of_workers():
    with SubprocVectorEnv([Team]) as env:
        assert env.call("backend") == ("Agg",)

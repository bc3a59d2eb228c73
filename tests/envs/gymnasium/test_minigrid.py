"""MiniGrid and BabyAI: exact by the generic snapshot."""

import contextlib
import io
from collections import OrderedDict

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import make
from plangym_lite.testing import ContractSuite
from tests.same import assert_same

minigrid = pytest.importorskip("minigrid")
gym.register_envs(minigrid)

pytestmark = pytest.mark.filterwarnings("ignore")  # minigrid's own


class MiniGridSuite(ContractSuite):
    name: str
    depths, length, reach = (0, 12), 25, 40

    def make_env(self):
        return make(self.name)


class TestDoorKey(MiniGridSuite):
    name = "MiniGrid-DoorKey-8x8-v0"
    n_workers = 2


class TestDynamicObstacles(MiniGridSuite):
    """Balls that move at random, and whose objects the environment refers to twice."""

    name = "MiniGrid-Dynamic-Obstacles-6x6-v0"


class TestBabyAI(MiniGridSuite):
    """Instructions are objects that refer to objects of the grid."""

    name = "BabyAI-PutNextLocalS5N3-v0"


class TestPictures(MiniGridSuite):
    def make_env(self):
        wrappers = [minigrid.wrappers.RGBImgPartialObsWrapper, minigrid.wrappers.ImgObsWrapper]
        return make("MiniGrid-KeyCorridorS3R1-v0", wrappers=wrappers)


@pytest.mark.parametrize("name", ["MiniGrid-MultiRoom-N6-v0", "BabyAI-BossLevel-v0"])
def test_states_have_one_shape_whatever_the_level(name):
    with contextlib.redirect_stdout(io.StringIO()), make(name) as env:
        assert env.state_method == "snapshot"
        states = []
        for seed in range(20):
            states.append(env.reset(seed=seed)[0])
            states.append(env.step(env.sample_action(), states[-1], dt=5).state)
        assert np.stack(states).dtype == np.uint8


@pytest.mark.parametrize("name", ["BabyAI-GoToRedBall-v0", "MiniGrid-LockedRoom-v0"])
def test_the_first_of_a_process_has_states_like_the_others(name, monkeypatch):
    """It alone is verified; a worker's is always the first of its process."""
    monkeypatch.setattr("plangym_lite.envs.verify.verify.OUTCOMES", OrderedDict())
    lengths = []
    for _ in range(3):
        with make(name) as env:
            lengths.append(len(env.get_state()))
    assert len(set(lengths)) == 1
    with make(name) as env, make(name, n_workers=1, start_method="spawn") as parallel:
        states = [env.reset(seed=0)[0]] * 2
        one, other = (each.step_batch([2, 2], states) for each in (env, parallel))
        assert one.states.shape == other.states.shape
        assert_same(one[1:], other[1:])


def test_workers_find_the_id_by_themselves():
    """They start without minigrid."""
    with make("MiniGrid-Empty-5x5-v0", n_workers=1, start_method="spawn") as env:
        state = env.reset(seed=0)[0]
        assert env.step_batch([2, 2], [state] * 2).rewards.shape == (2,)

"""What is recorded stays as it was, and is compared place by place."""

import threading

import gymnasium as gym
import numpy as np

from plangym_lite import make
from plangym_lite.envs.verify.recording import compare, entry_of, is_over, kept, noise_of
from plangym_lite.nested import assert_same
from plangym_lite.testing import check_exact


def entry(obs=0, reward=0.0, terminated=False, truncated=False, **info):
    return entry_of(lambda: (obs, reward, terminated, truncated, info))


class Own:
    def __init__(self, number):
        self.number = number


class TestKept:
    def test_what_becomes_of_the_parts_does_not_matter(self):
        inside = np.zeros(2)
        value = {
            "a": [inside, (inside, {1, 2})],
            "o": np.array([inside, None], object),
            "x": Own(1),
        }
        before = kept(value)
        assert_same(kept(value), before)
        inside[0] = 1
        value["x"].number = 2
        value["a"].append(3)
        assert before["a"][0][0] == before["a"][1][0][0] == before["o"][0][0] == 0
        places = compare([{"info": before}], [{"info": kept(value)}])
        assert list(places) == [
            "info['a']",
            "info['a'][0]",
            "info['a'][1][0]",
            "info['o'][0]",
            "info['x']",
        ]

    def test_objects_are_equal_by_pickle_or_else_by_type(self):
        assert_same(kept(Own(1)), kept(Own(1)))
        assert kept(Own(1)) != kept(Own(2))
        assert kept(threading.Lock()) == kept(threading.Lock())
        assert kept(threading.Lock()) != kept(threading.Thread())

    def test_a_value_that_holds_itself(self):
        value = {"n": 1}
        value["again"] = [value]
        assert_same(kept(value), kept(value))


class TestCompare:
    def test_rewards_are_numbers_and_infos_may_have_more(self):
        one = entry(reward=np.float32(0.5), a=1)
        assert not compare([one], [entry(reward=np.array([0.5]), a=1, b=2)])
        assert not compare([entry(reward=-0.0)], [entry(reward=0.0)])
        assert compare([one], [entry(reward=0.5)]) == {"info['a']": "step 0: missing"}
        assert not compare([one], [entry(reward=0.5, a=1, n_step=3, dt=1)])  # those are ours

    def test_the_first_difference_of_each_place(self):
        one = [entry(np.arange(3)), entry(np.arange(3)), entry(np.arange(3), truncated=True)]
        two = [entry(np.arange(3)), entry(np.array([0, 5, 2])), entry(np.array([0, 6, 2]))]
        found = compare(one, two)
        assert list(found) == ["obs", "truncated"]
        assert found["obs"].startswith("step 1: expected 1, got 5 at [1]")
        assert [is_over(each) for each in one] == [False, False, True]

    def test_errors(self):
        raised = entry_of(lambda: [][0])
        assert is_over(raised)
        found = compare([entry(1)], [raised])
        assert found == {"an error": "step 0: IndexError: list index out of range"}
        assert not compare([raised], [entry_of(lambda: [][0])])
        assert list(compare([raised], [entry(1)])) == ["raised"]
        assert compare([raised, raised], [raised]) == {"moves": "2 expected, 1 seen"}

    def test_noise_excuses_its_place_alone(self):
        runs = [[entry(np.array([1.0, number]), t=number)] for number in (0.0, 1.0, 2.0)]
        noise = noise_of(*runs[:2])
        assert noise.names() == ["info['t']", "obs[1]"]
        assert not compare(runs[0], runs[2], noise)
        assert list(compare(runs[0], [entry(np.array([2.0, 2.0]), t=0.0)], noise)) == ["obs"]


class Reports(gym.Env):
    """A walk whose infos hold what is not easily compared."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number, self.hidden = self.np_random.integers(100) / 4, []
        return np.array([self.number]), self.info()

    def step(self, action):
        self.number += action + self.np_random.random()
        self.hidden.append(action)
        return np.array([self.number]), 0.0, self.number > 40, False, self.info()

    def info(self):
        me = {"so far": len(self.hidden)}
        me["again"] = me
        return {
            "table": np.array([(self.number, list(self.hidden))], [("n", float), ("all", object)]),
            "ragged": np.array([list(self.hidden), None], object),
            "masked": np.ma.array([self.number, np.nan], mask=[False, True]),
            "me": me,
        }


def test_such_infos_are_exact():
    with make(Reports) as env:
        assert env.state_method == "snapshot"
    report = check_exact(lambda: make(Reports), depths=(0, 5), length=8, reach=30)
    assert report.exact, report

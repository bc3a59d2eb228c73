"""An environment that draws from the generators that all of Python shares."""

import random

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plangym_lite
from plangym_lite.envs.generators.shared import GlobalNumbers, OwnGlobals, draws_globally

DRAWS = {
    "uniform": lambda: np.random.uniform(),
    "normal": lambda: np.random.normal(),  # every second one comes from a spare number
    "python": lambda: random.random(),
    "gauss": lambda: random.gauss(),
}


class Drawing(gym.Env):
    observation_space = gym.spaces.Box(-100, 100, (1,), np.float64)
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            np.random.seed(seed)
            random.seed(seed)
        return np.zeros(1), {}

    def step(self, action):
        number = [*DRAWS.values()][int(action)]()
        return np.array([number]), float(number), False, False, {}


names = st.lists(st.sampled_from(sorted(DRAWS)), max_size=8)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(sorted(DRAWS))), max_size=30))
def test_two_who_draw_in_turns_do_not_notice_each_other(turns):
    np.random.seed(1), random.seed(1)
    inside = GlobalNumbers()
    got = {True: [], False: []}
    np.random.seed(2), random.seed(2)
    for is_inside, name in turns:
        if is_inside:
            with inside:
                got[True].append(DRAWS[name]())
        else:
            got[False].append(DRAWS[name]())
    for is_inside, seed in ((True, 1), (False, 2)):
        np.random.seed(seed), random.seed(seed)
        assert got[is_inside] == [DRAWS[name]() for is_in, name in turns if is_in == is_inside]


@given(names, names)
def test_a_state_is_where_they_go_on(before, after):
    numbers = GlobalNumbers()
    with numbers:
        [DRAWS[name]() for name in before]
    state = numbers.getstate()
    with numbers:
        expected = [DRAWS[name]() for name in after]
    for found in (numbers, GlobalNumbers()):
        found.setstate(state)
        with found:
            assert [DRAWS[name]() for name in after] == expected


@pytest.mark.parametrize("clone_seeds", [True, False])
def test_rows_of_a_batch(clone_seeds):
    plain = Drawing()
    plain.reset(seed=5)
    expected = [plain.step(action)[1] for action in [0, 1, 1, 2, 3]]
    env = plangym_lite.make(Drawing, clone_seeds=clone_seeds)
    state, *_ = env.reset(seed=5)
    rewards = [env.step(action).reward for action in [0, 1, 1, 2, 3]]
    assert rewards == expected
    rows = env.step_batch([1, 1, 1], [state] * 3).rewards.tolist()
    assert len(set(rows)) == (1 if clone_seeds else 3)
    env.close()


def test_code_that_asks_the_shared_generators_is_seen():
    assert draws_globally([Drawing()])
    assert not draws_globally([gym.make("CartPole-v1").unwrapped])
    assert isinstance(OwnGlobals(Drawing()).numbers, GlobalNumbers)


def test_numbers_that_begin_at_a_seed():
    random.seed(3)
    np.random.seed(3)
    want = [random.random(), np.random.random(), random.random(), np.random.random()]
    random.seed(3)
    np.random.seed(3)
    got, own = [random.random(), np.random.random()], []
    for numbers in (GlobalNumbers(0), GlobalNumbers(0)):
        for _ in range(2):
            with numbers:
                own.append((random.random(), np.random.random()))
    assert own[:2] == own[2:]
    assert own[0] == (random.Random(0).random(), np.random.RandomState(0).rand())
    assert own[0] != own[1]  # entered again, they run on
    assert [*got, random.random(), np.random.random()] == want

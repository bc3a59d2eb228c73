"""The toys: they keep the contract, the best plan is known, and they make trouble when told to."""

import subprocess
import sys
import time

import numpy as np
import pytest

from plangym_lite import InvalidStateError
from plangym_lite.testing import ContractSuite
from tests.toys import LEFT, RIGHT, STAY, NestedToy, OpaqueToy, ToyEnv, ToyError


class TestToyContract(ContractSuite):
    def make_env(self):
        return ToyEnv(slip=0.3, time_limit=9)


class TestSmallToyContract(ContractSuite):
    depths = (1,)
    length = 3

    def make_env(self):
        return ToyEnv()


class TestOpaqueToyContract(ContractSuite):
    def make_env(self):
        return OpaqueToy(slip=0.3, time_limit=9)


class TestNestedToyContract(ContractSuite):
    def make_env(self):
        return NestedToy(slip=0.3, time_limit=9)


@pytest.mark.parametrize("size", [4, 8, 30])
def test_the_best_plan(size):
    env = ToyEnv(size=size)
    rewards = [env.step(RIGHT).reward for _ in range(size - 3)]
    assert env.observe().tolist() == [size - 1, 1]
    assert sum(rewards) == pytest.approx(env.best_return)
    coin = env.step_batch([LEFT], [ToyEnv(size=size).get_state()], 2).rewards[0]
    assert coin == pytest.approx(0.29)
    assert coin < env.best_return


def test_slipping_is_as_frequent_as_told():
    env = ToyEnv(slip=0.25, size=1000)
    moves = []
    for _ in range(2000):
        moves.append(env.step(RIGHT).info["cell"])
    assert np.mean(np.diff(moves) < 0) == pytest.approx(0.25, abs=0.05)


def test_unseeded_resets_differ():
    env = ToyEnv(slip=0.1, size=100)
    assert len({env.reset()[2]["cell"] for _ in range(10)}) > 5


@pytest.mark.parametrize("options", [{"size": 3}, {"slip": 1.0}, {"slip": -0.1}])
def test_wrong_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ToyEnv(**options)


@pytest.mark.parametrize("state", [7, (0, 2, 0), [0, 2, 0, 0], (0, 99, 0, 0), (9, 2, 0, 0)])
def test_what_is_no_state_of_an_opaque_toy(state):
    with pytest.raises(InvalidStateError, match="not a state"):
        OpaqueToy().set_state(state)


class TestTrouble:
    def test_fail_at(self):
        env = ToyEnv(fail_at=STAY)
        env.step(RIGHT)
        with pytest.raises(ToyError, match="action 1"):
            env.step(STAY)

    def test_sleep_at(self):
        env = ToyEnv(sleep_at=STAY, sleep_for=0.2)
        start = time.perf_counter()
        env.step(STAY)
        assert time.perf_counter() - start > 0.15

    def test_exit_at(self):
        code = f"from tests.toys import ToyEnv; ToyEnv(exit_at={STAY}).step({STAY})"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3

    def test_once(self, tmp_path):
        env = ToyEnv(fail_at=STAY, trouble_once=str(tmp_path / "done"))
        with pytest.raises(ToyError):
            env.step(STAY)
        assert env.step(STAY).obs[0] == 2

    def test_nested_actions_make_trouble_too(self):
        with pytest.raises(ToyError):
            NestedToy(fail_at=LEFT).step({"go": LEFT, "pace": 0})

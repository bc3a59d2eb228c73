"""What TF-Agents' parallel environments offer, one test for each thing."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import (
    BatchEnv,
    ExternalProcess,
    ParallelEnv,
    SequentialVectorEnv,
    SubprocVecEnv,
    SubprocVectorEnv,
    VecEnvWrapper,
)
from plangym_lite.vectorization.worker.proxy import ArraySpec
from tests.same import assert_same
from tests.toys import RIGHT, NestedToy, ToyEnv


@pytest.fixture
def processes():
    processes = [ExternalProcess(partial(ToyEnv, slip=0.5, size=50), start=False) for _ in range(2)]
    for process in processes:
        process.start(wait_to_start=False)
    yield processes
    for process in processes:
        process.close()


def test_start_and_wait_are_apart(processes):
    for process in processes:
        process.wait_start(timeout=30)
        assert process.is_alive()
    failing = ExternalProcess(lambda: ToyEnv(size=1), start=False)
    failing.start(wait_to_start=False)
    with pytest.raises(ValueError, match="size must be"):
        failing.wait_start(timeout=30)


@pytest.mark.parametrize("start_serially", [True, False])
def test_start_serially_or_side_by_side(start_serially):
    for make_env in (
        lambda: ParallelEnv(ToyEnv, n_workers=2, start_serially=start_serially),
        lambda: SubprocVectorEnv([ToyEnv] * 2, start_serially=start_serially),
        lambda: SubprocVecEnv([ToyEnv] * 2, start_serially=start_serially),
    ):
        with make_env() as env:
            env.reset()


def test_access_and_call(processes):
    assert processes[0].access("size") == 50
    assert processes[0].call("get_state")().shape == (4,)


@pytest.mark.parametrize("flatten", [True, False])
def test_flatten_is_accepted_and_nested_values_come_back_nested(flatten):
    action = {"go": RIGHT, "pace": 0}
    process = ExternalProcess(NestedToy, flatten=flatten)
    assert_same(NestedToy().step(action), process.step(action))
    process.close()
    with ParallelEnv(NestedToy, n_workers=2, flatten=flatten) as env:
        assert_same(NestedToy().step_batch([action] * 3), env.step_batch([action] * 3))


def test_render_modes(processes):
    assert processes[0].render("rgb_array").shape == processes[0].render(blocking=False)().shape
    sent = processes[0]._next_id
    batch = BatchEnv(processes)
    for use in (processes[0].render, batch.render):
        with pytest.raises(NotImplementedError, match="human"):
            use("human")
    assert processes[0]._next_id == sent, "nothing was sent"
    assert batch.render().shape == (2, 8, 400, 3)


def test_specs(processes):
    with ParallelEnv(NestedToy, n_workers=1) as env:
        nested = env.observation_spec()
        assert nested["walls"][1] == ArraySpec((2,), np.dtype(np.int8), 0, 1)
        assert env.action_spec()["go"] == ArraySpec((), np.dtype(np.int64), 0, 2)
    seen = processes[0].time_step_spec()
    assert seen.observation.shape == (2,)
    assert seen.observation.maximum.tolist() == [49, 49]
    assert seen.reward.shape == ()
    assert processes[0].action_spec().maximum == 2


def test_specs_of_other_spaces():
    spaces = gym.spaces.Dict(
        many=gym.spaces.MultiDiscrete([3, 4], start=[1, 0]), text=gym.spaces.Text(3)
    )
    env = SequentialVectorEnv([partial(gym.make, "CartPole-v1")])
    assert env.single_action_space.n == 2
    from plangym_lite.vectorization.worker.proxy import spec_of_space

    spec = spec_of_space(spaces)
    assert spec["many"].minimum.tolist() == [1, 0]
    assert spec["many"].maximum.tolist() == [3, 3]
    assert spec["text"] is spaces["text"]


def test_specs_must_agree_and_constructors_be_callable():
    for kind in (SubprocVectorEnv, SubprocVecEnv):
        with pytest.raises(ValueError, match="worker 1"):
            kind([ToyEnv, partial(ToyEnv, size=9)])
        with pytest.raises(TypeError, match="callable"):
            kind([ToyEnv, "CartPole-v1"])


def test_seed_list(processes):
    batch = BatchEnv(processes)
    batch.seed([3, 4])
    expected = [ToyEnv(slip=0.5, size=50).reset(seed=seed)[1] for seed in (3, 4)]
    assert_same(expected, list(batch.reset()[1]))
    with pytest.raises(ValueError, match="3 seeds for 2"):
        batch.seed([1, 2, 3])


def test_states_of_all():
    toys = [partial(ToyEnv, slip=0.5)] * 3
    with SubprocVectorEnv(toys) as env:
        env.reset(seed=0)
        states = env.get_state()
        expected = env.step([RIGHT] * 3)
        env.set_state(list(states))
        assert_same(expected, env.step([RIGHT] * 3))


def test_with_closes():
    for make_env in (
        lambda: SubprocVectorEnv([ToyEnv]),
        lambda: SequentialVectorEnv([ToyEnv]),
        lambda: SubprocVecEnv([ToyEnv]),
        lambda: VecEnvWrapper(SubprocVecEnv([ToyEnv])),
        lambda: ParallelEnv(ToyEnv, n_workers=1),
    ):
        with make_env() as env:
            env.reset()
        with pytest.raises(RuntimeError, match="closed"):
            env.reset()
    with ExternalProcess(ToyEnv) as process, BatchEnv([process]) as batch:
        assert batch.reset()[1].shape == (1, 2)
    assert not process.is_alive()

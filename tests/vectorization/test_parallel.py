"""ParallelEnv: the whole of PlanEnv's contract, with workers behind step_batch."""

import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import ClosedError, InvalidBatchError, InvalidStateError, make
from plangym_lite.vectorization import (
    BatchEnv,
    ExternalProcess,
    InlineWorker,
    ParallelEnv,
    VectorizedEnv,
)
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, OpaqueToy, ToyEnv, ToyError


class Windowed(ToyEnv):
    """A toy that knows its render mode."""

    def __init__(self, render_mode=None, **toy_args):
        self.render_mode = render_mode
        super().__init__(**toy_args)


class Fickle(ToyEnv):
    """Has other spaces in every process."""

    def build_engine(self):
        super().build_engine()
        self.observation_space = spaces.Box(0.0, float(os.getpid()), (2,), np.float32)


class Changing(ToyEnv):
    """Has other spaces in the parent."""

    def build_engine(self):
        super().build_engine()
        if multiprocessing.parent_process() is None:
            self.observation_space = spaces.Box(0.0, 99.0, (2,), np.float32)


@pytest.fixture(scope="module")
def env():
    with ParallelEnv(ToyEnv, "toy", n_workers=2, slip=0.2, fail_at=None) as env:
        yield env


# ---- construction --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_workers", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("two", TypeError)],
)
def test_number_of_workers_must_be_one(n_workers, error, new_children):
    for construct in (ParallelEnv, make):
        with pytest.raises(error, match="n_workers"):
            construct(ToyEnv, n_workers=n_workers)
    assert not new_children()


def test_numpy_numbers_of_workers_will_do():
    with ParallelEnv(ToyEnv, n_workers=np.int64(1)) as env:
        assert len(env.batch_env) == env.n_workers == 1


def test_plangyms_positional_arguments(new_children):
    with ParallelEnv(ToyEnv, "walk", 3, False, True, 1, slip=0.1) as env:
        assert not new_children()
        assert (env.name, env.delay_setup, env.n_workers) == ("walk", True, 1)
        env.setup()
        assert (env.frameskip, env.autoreset, env.plan_env.slip) == (3, False, 0.1)


def test_batch_env_holds_processes(env):
    assert isinstance(env.batch_env, BatchEnv)
    assert all(isinstance(process, ExternalProcess) for process in env.batch_env)
    assert len({process.pid for process in env.batch_env} | {os.getpid()}) == 3


def test_what_is_no_plan_env():
    with pytest.raises(TypeError, match="PlanEnv"):
        ParallelEnv(dict, n_workers=1)
    with pytest.raises(TypeError, match="callable"):
        ParallelEnv("CartPole-v1", n_workers=1)


@pytest.mark.parametrize("kind", [Fickle, Changing])
def test_spaces_that_differ(kind):
    with pytest.raises(ValueError, match="other spaces or states"):
        ParallelEnv(kind, n_workers=2)


@pytest.mark.parametrize("serially", [True, False])
def test_start_up_error_arrives_as_itself(serially, new_children):
    with pytest.raises(ValueError, match="size must be at least 4") as caught:
        ParallelEnv(ToyEnv, n_workers=2, size=2, start_serially=serially)
    assert "plangym_lite/testing/toy.py" in str(caught.value.__cause__)
    assert not new_children()


def test_start_up_error_of_one_worker_closes_the_others(tmp_path, new_children):
    def one_fails(**toy_args):
        name = tmp_path / "second"
        if name.exists():
            raise RuntimeError("no seat left")
        name.touch()
        return ToyEnv(**toy_args)

    with pytest.raises(RuntimeError, match="no seat left"):
        ParallelEnv(one_fails, n_workers=3, start_serially=True)
    assert not new_children()


@pytest.mark.parametrize("method", [None, "spawn"])
def test_sixteen_workers_started_side_by_side(method, new_children):
    with ParallelEnv(ToyEnv, n_workers=16, start_method=method, slip=0.2) as env:
        assert len({process.pid for process in env.batch_env}) == 16
        states = [env.step(RIGHT, return_state=True).state for _ in range(100)]
        with ToyEnv(slip=0.2) as local:
            expected = local.step_batch([RIGHT] * 100, states)
        assert_same(expected, env.step_batch([RIGHT] * 100, states))
    assert not new_children()


def test_start_timeout():
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        ParallelEnv(lambda: time.sleep(60), n_workers=2, start_timeout=0.2)
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("serially", [True, False])
def test_started_serially_or_side_by_side(serially):
    def slow():
        start = time.monotonic()
        time.sleep(0.15)
        env = ToyEnv()
        env.built = start, time.monotonic()
        return env

    with ParallelEnv(slow, n_workers=2, start_serially=serially) as env:
        first, second = sorted(process.access("built") for process in env.batch_env)
        assert (second[0] >= first[1]) == serially


def test_arguments_reach_the_workers():
    with ParallelEnv(ToyEnv, n_workers=2, frameskip=3, autoreset=False, size=20) as env:
        assert (env.frameskip, env.autoreset) == (3, False)
        for process in env.batch_env:
            assert [process.frameskip, process.autoreset, process.size] == [3, False, 20]
        batch = env.step_batch([RIGHT, STAY], [env.get_state()] * 2, [2, 1])
        assert [info["n_step"] for info in batch.infos] == [6, 3]
        assert batch.observs[0, 0] == 8
        env.step(LEFT)
        assert_same(env.get_state(), env.step(LEFT, return_state=True).state)  # no reset


def test_no_worker_opens_a_window():
    for mode, at_work in (("human", "rgb_array"), ("rgb_array", "rgb_array"), (None, None)):
        with ParallelEnv(Windowed, n_workers=1, render_mode=mode) as env:
            assert env.unwrapped.render_mode == mode
            assert env.batch_env.render_mode == at_work


def test_blocking_gives_the_same():
    with ParallelEnv(ToyEnv, n_workers=2, blocking=True, slip=0.4) as env:
        states = [env.step(RIGHT, return_state=True).state for _ in range(20)]
        expected = env.unwrapped.step_batch([RIGHT] * 20, states)
        assert_same(expected, env.step_batch([RIGHT] * 20, states))


# ---- delayed set-up, clones, pickles -------------------------------------------------------------


def test_delayed_environment_starts_nothing_before_its_first_use(new_children):
    env = ParallelEnv(ToyEnv, n_workers=2, delay_setup=True)
    copy = pickle.loads(pickle.dumps(env))
    assert repr(env) == "ParallelEnv('ToyEnv')"
    assert not new_children()
    env.close()
    with copy:
        assert copy.step_batch([RIGHT]).observs[0, 0] == 3
        assert len(new_children()) == 2


@pytest.mark.parametrize(
    "use",
    [
        lambda env: env.batch_env,
        lambda env: env.batch_spec,
        lambda env: env.fingerprint,
        lambda env: env.get_images([]),
        lambda env: env.has_ended,
        lambda env: env.is_batched,
        lambda env: env.obs_shape,
        lambda env: env.sample_action(),
        lambda env: env.seed(1),
        lambda env: env.setup(),
        lambda env: env.state_method,
        lambda env: env.states_are_data,
        lambda env: env.sync_states(),
        lambda env: env.unwrapped,
    ],
)
def test_any_use_builds_and_none_follows_the_end(use):
    env = ParallelEnv(ToyEnv, n_workers=1, delay_setup=True)
    assert not hasattr(env, "plan_env")
    with env:
        use(env)
        assert env.plan_env.observe()[0] == 2
    with pytest.raises(ClosedError, match=r"ParallelEnv\('ToyEnv'\) was closed"):
        use(env)


def test_delayed_environment_with_an_error_can_be_asked_again():
    env = ParallelEnv(ToyEnv, n_workers=1, delay_setup=True, size=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="size"):
            env.reset()
    env.close()


def test_clone_and_pickle_are_in_the_same_state(env):
    env.reset(seed=3)
    env.step(RIGHT)
    for copy in (env.clone(), pickle.loads(pickle.dumps(env))):
        with copy:
            assert_same(env.get_state(), copy.get_state())
            assert_same(env.step_batch([RIGHT, LEFT], dt=4), copy.step_batch([RIGHT, LEFT], dt=4))
            assert not {worker.pid for worker in copy.batch_env} & {
                worker.pid for worker in env.batch_env
            }


def test_overrides_of_a_clone_win(env):
    with env.clone(n_workers=1, size=12, name="other") as copy:
        assert (len(copy.batch_env), copy.unwrapped.size, copy.name) == (1, 12, "other")
        assert copy.unwrapped.slip == 0.2
    with pytest.raises(TypeError):
        env.clone(no_such_argument=1)


# ---- the contract --------------------------------------------------------------------------------


def test_attributes_of_the_environment(env):
    assert env.observation_space == env.unwrapped.observation_space
    assert (env.obs_shape, env.action_shape, env.img_shape) == ((2,), (), (8, 64, 3))
    assert (env.STATE_IS_ARRAY, env.OBS_IS_ARRAY, env.SINGLETON) == (True, True, False)
    assert env.sample_action() in range(3)
    assert_same(env.unwrapped.get_image(), env.get_image())
    assert_same(env.unwrapped.render(), env.render())
    assert_same(env.unwrapped.observe(), env.observe())
    for name in ("fingerprint", "state_method", "states_are_data", "has_ended", "is_batched"):
        assert getattr(env, name) == getattr(env.unwrapped, name)


def test_the_end_of_an_episode(env):
    env.reset(seed=0)
    assert not env.has_ended
    while not (step := env.step(RIGHT, return_state=True)).terminated:
        pass
    assert env.has_ended
    env.reset(seed=0)
    env.set_state(step.state)
    assert env.has_ended
    env.reset(seed=0)


def test_workers_do_not_have_workers():
    class Inline(VectorizedEnv):
        def make_batch_env(self, constructor):
            return BatchEnv([InlineWorker(constructor)])

    with Inline(ToyEnv) as env:
        assert_same(env.unwrapped.step_batch([RIGHT]), env.step_batch([RIGHT]))
    with pytest.raises(TypeError, match="workers need a SimulatorEnv each, got Inline"):
        Inline(lambda: Inline(ToyEnv))


def test_step_and_reset_are_those_of_the_environment(env):
    with ToyEnv(slip=0.2) as local:
        for seed in (5, None):
            assert_same(local.reset(seed=seed), env.reset(seed=seed))
            assert_same(local.reset(return_state=False), env.reset(return_state=False))
            for _ in range(12):
                assert_same(local.step(RIGHT, dt=2), env.step(RIGHT, dt=2))
                assert_same(local.get_state(), env.get_state())
        assert local.seed(9) == env.seed(9) == [9]
        assert_same(local.reset(), env.reset())


def test_every_way_to_a_state_reaches_the_workers(env):
    def in_workers():
        return [process.get_state() for process in env.batch_env]

    state, *_ = env.reset(seed=1)
    assert_same([state] * 2, in_workers())
    there = env.step(RIGHT, state, return_state=True).state
    env.set_state(there)
    assert_same([there] * 3, [env.get_state(), *in_workers()])
    for blocking in (True, False):
        env.sync_states(state, blocking=blocking)
        assert_same([state] * 3, [env.get_state(), *in_workers()])
    env.step(RIGHT)
    env.sync_states()
    assert_same([env.get_state()] * 2, in_workers())


def test_states_of_another_environment(env):
    other = make("CartPole-v1").get_state()
    for use in (env.set_state, env.sync_states, lambda state: env.step_batch([STAY], [state])):
        with pytest.raises(InvalidStateError):
            use(other)


def test_batches_that_do_not_fit(env):
    state = env.get_state()
    with pytest.raises(InvalidBatchError, match="2 actions but 1 states"):
        env.step_batch([STAY, STAY], [state])
    with pytest.raises(InvalidBatchError, match="3 rows"):
        env.step_batch([STAY] * 3, [state] * 3, [1, 2])
    assert len(env.step_batch([], []).states) == 0
    assert len(env.step_batch([]).rewards) == 0


def test_opaque_states():
    with ParallelEnv(OpaqueToy, n_workers=2) as env:
        assert not env.STATE_IS_ARRAY
        batch = env.step_batch([RIGHT] * 9, [env.get_state()] * 9)
        assert batch.states.dtype == object
        env.set_state(batch.states[3])
        assert env.step(RIGHT).obs[0] == 4


def test_splitting_helper(env):
    chunks = env.split_similar_chunks(list(range(7)), 3)
    assert list(chunks) == [[0, 1], [2, 3], [4, 5, 6]]


def test_errors_of_the_local_copy_and_of_workers():
    with ParallelEnv(ToyEnv, n_workers=2, fail_at=LEFT) as env:
        with pytest.raises(ToyError):
            env.step(LEFT)
        with pytest.raises(ToyError):
            env.step_batch([RIGHT, LEFT])
        assert env.step_batch([RIGHT, STAY]).observs[:, 0].tolist() == [3, 2]


def test_closed(new_children):
    env = ParallelEnv(ToyEnv, n_workers=1)
    state = env.get_state()
    env.close()
    env.close()
    assert not new_children()
    for use in (
        env.reset,
        env.get_state,
        env.sync_states,
        env.get_image,
        env.observe,
        lambda: env.set_state(state),
        lambda: env.step(STAY),
        lambda: env.step_batch([STAY]),
        lambda: env.step_batch([STAY], [state]),
    ):
        with pytest.raises(ClosedError):
            use()

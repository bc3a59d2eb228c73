"""BatchEnv: what it accepts and refuses, and what it does for workers of any kind."""

import gc

import numpy as np
import pytest

from plangym_lite import ClosedError, InvalidBatchError, InvalidStateError, make
from plangym_lite.vectorization import BatchEnv, InlineWorker
from plangym_lite.vectorization.memory.layout import IMAGE_BYTES
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, NestedToy, OpaqueToy, ToyEnv, ToyError


class BigPicture(ToyEnv):
    """A toy that shows a large image, each different."""

    def build_engine(self):
        super().build_engine()
        self.observation_space = type(self.observation_space)(0, 255, (64, 512), np.uint8)

    def current_obs(self):
        return np.full((64, 512), self._cell * 16 + self._elapsed, np.uint8)


def pool_of(constructor, n_workers=2, **options):
    return BatchEnv([InlineWorker(constructor) for _ in range(n_workers)], **options)


@pytest.fixture
def pool():
    pool = pool_of(lambda: ToyEnv(slip=0.2))
    yield pool
    pool.close()


@pytest.fixture
def state(pool):
    return pool[0].call("get_state")()


def test_looks_like_a_sequence_of_workers(pool):
    assert len(pool) == 2
    assert [pool[0], pool[1]] == list(pool)
    with pytest.raises(IndexError):
        pool[2]


def test_unknown_attributes_are_asked_of_the_first_worker(pool):
    assert pool.size == 8
    assert pool.sample_action() in range(3)
    for name in ("no_such_name", "_cell"):
        with pytest.raises(AttributeError, match=name):
            getattr(pool, name)


def test_needs_workers():
    with pytest.raises(ValueError, match="at least one"):
        BatchEnv([])


def test_workers_must_hold_plan_envs():
    with pytest.raises(TypeError, match="PlanEnv"):
        BatchEnv([InlineWorker(dict)])


@pytest.mark.parametrize(
    "other",
    [lambda: ToyEnv(size=9), NestedToy, OpaqueToy, lambda: make("CartPole-v1"), dict],
    ids=["size", "nested", "opaque", "cartpole", "not a PlanEnv"],
)
def test_spaces_that_differ(other):
    with pytest.raises(ValueError, match="worker 1 has other spaces or states than worker 0"):
        BatchEnv([InlineWorker(ToyEnv), InlineWorker(other)])


@pytest.mark.parametrize(
    ("actions", "dt", "match"),
    [
        ([STAY], 1, "1 actions but 2 states"),
        ([STAY] * 3, 1, "3 actions but 2 states"),
        ([], 1, "0 actions but 2 states"),
        ([STAY] * 2, [1], "one for each of the 2 rows"),
        ([STAY] * 2, [1, 2, 3], "one for each of the 2 rows"),
        ([STAY] * 2, 0, "dt must be at least 1"),
        ([STAY] * 2, [1, -1], "dt must be at least 1"),
        ([STAY] * 2, 1.5, "whole numbers"),
        ([STAY, 7], 1, "action of row 1"),
        ([STAY, float("nan")], 1, "NaN"),
        (["left", "right"], 1, "must be numbers"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(
    pool, state, actions, dt, match, monkeypatch
):
    for worker in pool:
        monkeypatch.setattr(worker, "run_rows", lambda *args: pytest.fail("something was sent"))
    with pytest.raises(InvalidBatchError, match=match):
        pool.make_transitions(actions, [state] * 2, dt)


def test_without_states_rows_begin_in_the_first_workers(pool, state):
    pool.sync_states(state)
    assert_same(
        pool.make_transitions([STAY] * 3, [state] * 3, return_state=False),
        pool.make_transitions([STAY] * 3),
    )


def test_states_that_do_not_fit(pool, state):
    for states, match in [
        ([state, state[:2]], "state 1 must be an array of shape"),
        (np.zeros((2, 9)), r"shape \[B, 4\]"),
        (7, "must be an array or a list"),
    ]:
        with pytest.raises(InvalidStateError, match=match):
            pool.make_transitions([STAY, STAY], states)
    with pytest.raises(InvalidStateError):
        pool.sync_states(state[:2])


@pytest.mark.parametrize("constructor", [ToyEnv, OpaqueToy, NestedToy, BigPicture])
@pytest.mark.parametrize("with_states", [True, False])
def test_empty_batch(constructor, with_states):
    env, pool = constructor(), pool_of(constructor)
    states = [] if with_states else None
    expected = env.step_batch([], states)
    assert_same(expected, pool.make_transitions([], states))
    assert_same(expected, env.step_batch([], states, []))
    assert len(expected.rewards) == len(expected.infos) == 0
    pool.close()


def test_without_states_rows_start_from_the_first_workers_state(pool):
    pool[0].call("step", RIGHT)()
    expected = pool[0].call("step_batch", [RIGHT, STAY])()
    assert_same(expected, pool.make_transitions([RIGHT, STAY]))


def test_sync_states_moves_every_worker(pool, state):
    for blocking in (True, False):
        pool[0].call("step", RIGHT)()
        there = pool[0].call("get_state")()
        pool.sync_states(there, blocking)
        assert_same([there] * 2, [worker.call("get_state")() for worker in pool])


def test_sync_states_raises_what_a_worker_raises(pool, state):
    state[1] = 99
    with pytest.raises(InvalidStateError, match="not a state of"):
        pool.sync_states(state)


@pytest.mark.parametrize("constructor", [ToyEnv, OpaqueToy, NestedToy])
@pytest.mark.parametrize(
    ("indices", "count"),
    [(None, 3), ([2, 0], 2), (np.array([1]), 1), (range(2), 2), ([-1], 1), ([], 0)],
)
def test_reset(constructor, indices, count):
    pool = pool_of(constructor, 3)
    states, observs, infos = pool.reset(indices)
    assert len(states) == len(infos) == count
    bare = pool.reset(indices, return_states=False)
    assert_same((observs, infos), bare)
    assert pool.batch_spec.observation_space.contains(constructor().observe())
    pool.close()


def test_reset_of_a_worker_that_is_not_there(pool):
    with pytest.raises(IndexError):
        pool.reset([0, 5])
    assert len(pool.reset()[0]) == 2


def test_error_of_a_row(state):
    pool = pool_of(lambda: ToyEnv(fail_at=LEFT), 3)
    state = pool[0].call("get_state")()
    actions = [STAY] * 40
    actions[17] = actions[31] = LEFT
    with pytest.raises(ToyError) as caught:
        pool.make_transitions(actions, [state] * 40)
    if hasattr(caught.value, "__notes__"):
        assert any("row 17 of the batch" in note for note in caught.value.__notes__)
    assert pool.make_transitions([STAY] * 40, [state] * 40).rewards.shape == (40,)
    pool.close()


def test_images_are_views_and_numbers_are_not():
    pool = pool_of(BigPicture)
    state = pool[0].call("get_state")()
    assert IMAGE_BYTES <= 64 * 512
    batch = pool.make_transitions([RIGHT] * 5, [state] * 5, [1, 2, 3, 4, 5])
    assert batch.observs.base is not None
    assert batch.states.base is None
    assert batch.rewards.base is None
    assert batch.observs.flags.writeable
    assert batch.observs[:, 0, 0].tolist() == [49, 66, 83, 100, 117]
    pool.close()


@pytest.mark.parametrize("limit", [0, 1 << 20, None])
def test_any_limit_of_shared_memory_gives_the_same(limit):
    env, pool = BigPicture(), pool_of(BigPicture, 3, shared_limit=limit)
    state, held = env.get_state(), []
    for size in (1, 9, 30, 3, 17, 30, 2, 9, 9, 40):
        arguments = [RIGHT] * size, [state] * size, range(1, size + 1)
        held.append((env.step_batch(*arguments), pool.make_transitions(*arguments)))
    for expected, got in held:
        assert_same(expected, got)
    if limit == 0:
        assert len(pool._pool.blocks) <= 6
    pool.close()
    for expected, got in held:
        assert_same(expected, got)


def test_blocks_are_recycled_once_nobody_holds_their_images():
    pool = pool_of(BigPicture)
    state = pool[0].call("get_state")()
    for _ in range(20):
        batch = pool.make_transitions([RIGHT] * 5, [state] * 5)
        assert batch.observs.shape == (5, 64, 512)
    gc.collect()
    assert len(pool._pool.blocks) <= 2
    pool.close()


def test_interrupted_batch_leaves_its_block_alone(monkeypatch):
    pool = pool_of(BigPicture)
    state = pool[0].call("get_state")()
    pool.make_transitions([RIGHT] * 5, [state] * 5)
    (block,) = pool._pool.blocks

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pool[0], "take_chunks", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.make_transitions([RIGHT] * 5, [state] * 5)
    assert block not in pool._pool.blocks
    assert (pool.make_transitions([RIGHT] * 5, [state] * 5).observs == 49).all()
    pool.close()


def test_closed(pool, state):
    pool.close()
    pool.close()
    for use in (
        lambda: pool.make_transitions([STAY], [state]),
        lambda: pool.make_transitions([STAY]),
        lambda: pool.sync_states(state),
        pool.reset,
        lambda: pool.sample_action,
    ):
        with pytest.raises(ClosedError):
            use()

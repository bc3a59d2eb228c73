"""Laws: workers give the answers of the environment itself, move nothing, and keep their word."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plangym_lite.vectorization import ParallelEnv
from tests.same import assert_same
from tests.vectorization.conftest import MAX_WORKERS
from tests.vectorization.subjects import MAKERS, Subject

picks_of_rows = st.lists(st.tuples(st.integers(0, 59), st.integers(1, 5)), max_size=40)
forms = st.sampled_from(["list", "array", "objects"])


@given(picks_of_rows, forms, st.integers(0, MAX_WORKERS - 1))
def test_any_pool_equals_the_environment_row_for_row(inline, picks, form, pool):
    batch = inline.batch(inline.pools[pool].make_transitions, picks, form)
    inline.check(picks, batch)


@settings(max_examples=15)
@given(picks_of_rows, forms)
def test_processes_equal_the_environment_row_for_row(processes, picks, form):
    batch = processes.batch(processes.parallel.step_batch, picks, form)
    processes.check(picks, batch)


@settings(max_examples=8)
@given(st.permutations(range(65)), st.integers(1, 3))
def test_ended_states_among_the_rows_in_any_order(processes, order, dt):
    picks = [(index, dt) for index in order if index < len(processes.states)]
    processes.check(picks, processes.batch(processes.parallel.step_batch, picks))


@given(picks_of_rows, st.integers(0, MAX_WORKERS - 1))
def test_a_batch_moves_no_worker(inline, picks, pool):
    before = [worker.call("get_state")() for worker in inline.workers]
    inline.batch(inline.pools[pool].make_transitions, picks)
    assert_same(before, [worker.call("get_state")() for worker in inline.workers])


@settings(max_examples=8)
@given(picks_of_rows)
def test_a_batch_moves_neither_processes_nor_the_local_copy(processes, picks):
    env = processes.parallel

    def everyone():
        return [env.get_state(), *(worker.get_state() for worker in env.batch_env)]

    before = everyone()
    processes.batch(env.step_batch, picks)
    assert_same(before, everyone())
    assert_same(before, [processes.env.get_state()] * len(before))


@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 59), st.just(2)), min_size=1, max_size=9))
def test_without_states_every_row_starts_from_the_current_one(processes, picks):
    actions = [processes.actions[index] for index, _ in picks]
    expected = processes.env.step_batch(actions, None, 2)
    assert_same(expected, processes.parallel.step_batch(actions, None, 2))
    with_states = processes.env.step_batch(actions, None, 2, return_state=True)
    assert_same(with_states, processes.parallel.step_batch(actions, None, 2, return_state=True))


@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 59), st.booleans()), min_size=1, max_size=20))
def test_rows_without_a_state_start_from_the_current_one_too(processes, rows):
    actions = [processes.actions[index] for index, _ in rows]
    states = [processes.states[index] if given else None for index, given in rows]
    expected = processes.env.step_batch(actions, states, 2)
    for run in (processes.parallel.step_batch, processes.parallel.batch_env.make_transitions):
        assert_same(expected, run(actions, states, 2))
    paths = [[action] * 3 for action in actions]
    assert_same(
        processes.env.rollout_batch(paths, states), processes.parallel.rollout_batch(paths, states)
    )


def test_chunks_of_a_batch_may_lack_states(processes):
    states, actions = [processes.states[0], None, processes.states[2]], processes.actions[:3]
    chunks = processes.parallel.batch_step_data(actions, states, 2, 2)
    runs = [processes.parallel.step_batch(a, s, d) for s, a, d in zip(*chunks, strict=True)]
    got = processes.parallel.unpack_transitions(runs, return_states=True)
    expected = processes.env.step_batch(actions, states, 2)
    assert_same(list(expected.rewards), got[2])
    assert_same(list(expected.states), got[0])


@settings(max_examples=6)
@given(picks_of_rows)
def test_states_come_back_only_where_they_are_asked_for(processes, picks):
    step_batch = processes.parallel.step_batch
    full = processes.batch(step_batch, picks, return_state=True)
    bare = processes.batch(step_batch, picks, return_state=False)
    assert_same(tuple(full)[1:], tuple(bare))


@settings(max_examples=8)
@given(st.lists(st.tuples(picks_of_rows, st.integers(0, 3)), max_size=12))
def test_a_held_result_never_changes(processes, batches):
    held = []
    for picks, drop in batches:
        batch = processes.batch(processes.parallel.step_batch, picks)
        held.append((picks, batch))
        del batch, held[len(held) - drop : -1]
    for picks, batch in held:
        processes.check(picks, batch)


def test_a_single_held_picture_never_changes(processes):
    pictures, copies = [], []
    for index in range(40):
        batch = processes.batch(processes.parallel.step_batch, [(index, 1)] * 9)
        first = batch.observs if isinstance(batch.observs, np.ndarray) else batch.rewards
        pictures.append(first[index % 9])
        copies.append(np.array(first[index % 9]))
        del batch, first
        if index % 3:
            del pictures[index // 5], copies[index // 5]
    assert_same(copies, [np.array(picture) for picture in pictures])


def test_results_belong_to_the_caller(processes):
    picks = [(index, 1) for index in range(12)]
    batch = processes.batch(processes.parallel.step_batch, picks)
    for field in batch[:-1]:
        if isinstance(field, np.ndarray) and field.dtype != object:
            field[...] = 0
    for info in batch.infos:
        info.clear()
    processes.check(picks, processes.batch(processes.parallel.step_batch, picks))


def test_arguments_are_left_alone(processes):
    picks = [(index, 2) for index in range(12)]
    states, actions = [*processes.states], [*processes.actions]
    copies = [np.array(state) for state in states]
    processes.batch(processes.parallel.step_batch, picks, "list")
    assert_same(copies, [np.array(state) for state in states])
    assert_same(actions, processes.actions)


def test_results_outlive_the_environment():
    subject = Subject(MAKERS["atari rgb"])
    picks = [(index, 1) for index in range(10)]
    with ParallelEnv(MAKERS["atari rgb"], n_workers=2) as env:
        batch = subject.batch(env.step_batch, picks)
    del env
    subject.check(picks, batch)
    subject.env.close()

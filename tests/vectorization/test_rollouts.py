"""A rollout is its steps: in this process, in any pool, in processes."""

import numpy as np
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from plangym_lite.transitions import Form, RolloutBatch
from plangym_lite.validation import prepare_rows
from tests.same import assert_same
from tests.vectorization.conftest import MAX_WORKERS

sequences = st.tuples(
    st.lists(st.integers(0, 59), max_size=12), st.integers(1, 7), st.integers(1, 3), st.randoms()
)


def draw_rollouts(subject, sequences):
    """Actions ``[B][T]``, states and one ``dt`` for each row."""
    picks, n_steps, dt, random = sequences
    actions = [[random.choice(subject.actions) for _ in range(n_steps)] for _ in picks]
    dts = [random.randint(1, dt) for _ in picks]
    return actions, [subject.states[index] for index in picks], dts


def step_by_step(env, actions, states, dts, return_observs):
    """What ``rollout_batch`` promises to equal: a call of ``step_batch`` for each action."""
    size, batches, infos = len(actions), [], [{"n_step": 0} for _ in dts]
    lengths, ended = np.zeros(size, np.int64), np.zeros(size, bool)
    for column in zip(*actions, strict=True):
        batch = env.step_batch(list(column), states, dts)
        states = batch.states
        for row, info in enumerate(batch.infos):
            if info["n_step"]:
                infos[row] = {**info, "n_step": infos[row]["n_step"] + info["n_step"]}
                lengths[row] += 1
            elif not lengths[row]:  # the state that it starts from has ended
                infos[row] = info
        ended = batch.terminateds | batch.truncateds
        batches.append(batch)
    observs = batch.observs if return_observs == "last" else None
    if return_observs == "all":
        observs = [batch.observs for batch in batches]
    rewards = np.stack([batch.rewards for batch in batches], 1)
    flags = batch.terminateds, batch.truncateds
    return RolloutBatch(states, observs, rewards, *flags, lengths, infos), ended


def check_rollouts(env, got, actions, states, dts, return_observs):
    if not actions:
        assert len(got.rewards) == len(got.states) == len(got.lengths) == len(got.infos) == 0
        return
    expected, ended = step_by_step(env, actions, states, dts, return_observs)
    if return_observs == "all":  # [T][B] and nested on one side, nested and [B, T] on the other
        for step, observs in enumerate(expected.observs):
            assert_same(observs, at_step(env.observation_space, got.observs, step))
        expected, got = expected._replace(observs=None), got._replace(observs=None)
    assert_same(list(expected.states), list(got.states))
    assert_same(expected[1:], got[1:])
    assert ((got.lengths == got.rewards.shape[1]) | ended).all()


def at_step(space, observs, step):
    """``[B, ...]`` out of ``[B, T, ...]``, nested."""
    if isinstance(space, spaces.Dict):
        return {key: at_step(part, observs[key], step) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(at_step(part, leaf, step) for part, leaf in zip(space, observs, strict=True))
    if isinstance(observs, np.ndarray):
        return observs[:, step]
    return tuple(row[step] for row in observs)


observs_wanted = st.sampled_from(["last", "all", None])


@given(sequences, observs_wanted)
def test_a_rollout_is_its_steps(inline, sequences, return_observs):
    actions, states, dts = draw_rollouts(inline, sequences)
    got = inline.env.rollout_batch(actions, states, dts, return_observs)
    check_rollouts(inline.env, got, actions, states, dts, return_observs)


@settings(max_examples=15)
@given(sequences, observs_wanted, st.integers(0, MAX_WORKERS - 1))
def test_any_pool_rolls_out_like_the_environment(inline, sequences, return_observs, pool):
    actions, states, dts = draw_rollouts(inline, sequences)
    spec = inline.env.batch_spec
    rows = prepare_rows(spec, actions, states, dts, has_steps=True)
    got = inline.pools[pool].run(rows, Form(True, sequences[1], return_observs))
    check_rollouts(inline.env, got, actions, states, dts, return_observs)


@settings(max_examples=15)
@given(sequences, observs_wanted)
def test_processes_roll_out_like_the_environment(processes, sequences, return_observs):
    actions, states, dts = draw_rollouts(processes, sequences)
    before = processes.parallel.get_state()
    got = processes.parallel.rollout_batch(actions, states, dts, return_observs)
    check_rollouts(processes.env, got, actions, states, dts, return_observs)
    assert_same(before, processes.parallel.get_state())

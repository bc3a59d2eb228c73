"""plangym's helpers for splitting a batch and putting it together again."""

import pytest

from plangym_lite import InvalidBatchError
from plangym_lite.testing.toy import ToyEnv
from plangym_lite.vectorization import VectorizedEnv


def test_split_and_put_together():
    with ToyEnv() as env:
        state, actions = env.reset(seed=0)[0], [0, 1, 0, 1, 0]
        whole = env.step_batch(actions, [state] * 5, 2)
        chunks = VectorizedEnv.batch_step_data(actions, [state] * 5, 2, 2)
        parts = [env.step_batch(a, s, dt) for s, a, dt in zip(*chunks, strict=True)]
        states, _, rewards, *_ = VectorizedEnv.unpack_transitions(parts, True)
        assert len(parts) == 2
        assert rewards == whole.rewards.tolist()
        assert all((one == two).all() for one, two in zip(states, whole.states, strict=True))


def test_lengths_that_differ():
    with pytest.raises(InvalidBatchError, match="5 actions, 4 states"):
        VectorizedEnv.batch_step_data([0] * 5, [0] * 4, 1, 2)

"""In a notebook: small tables that never get in the way."""

import numpy as np
import pytest

from plangym_lite import RolloutBatch, Step, StepBatch, Transition, TransitionBatch, make
from plangym_lite.testing.toy import ToyEnv
from tests.same import assert_same

IMAGE = np.zeros((40, 30, 3), np.uint8)


class Rude:
    """Will not be shown."""

    def __repr__(self):
        raise RuntimeError("no")


def test_an_environment_is_neither_built_nor_moved():
    with make(ToyEnv, delay_setup=True, n_workers=2) as env:
        assert "not built yet" in env._repr_html_()
        assert not hasattr(env, "plan_env")
    with ToyEnv() as env:
        state, _, _ = env.reset(seed=0)
        env.step(1)
        home = env.get_state()
        env.step_batch([2, 2], [state, state])
        env.load_state = lambda state: pytest.fail("moved")
        assert "Discrete(3)" in env._repr_html_()
        del env.load_state
        assert_same(home, env.get_state())
    assert "closed" in env._repr_html_()


@pytest.mark.parametrize("n_workers", [None, 2])
def test_what_environments_return_is_shown(n_workers):
    with make("ALE/Pong-v5", n_workers=n_workers) as env:
        state, _, _ = env.reset(seed=0)
        pieces = [
            env.step(0),
            env.step(0, state),
            env.step_batch([0] * 10, [state] * 10),
            env.step_batch([0] * 2),
            env.rollout_batch([[0, 1]] * 3, [state] * 3),
            env.step_batch([], []),
        ]
        kinds = [Step, Transition, TransitionBatch, StepBatch, RolloutBatch, TransitionBatch]
        for piece, kind, count in zip(pieces, kinds, [1, 1, 8, 2, 3, 0], strict=True):
            html = piece._repr_html_()
            assert kind.__name__ in html
            assert html.count("<img") == count
            assert all(f">{name}<" in html for name in kind._fields)
        assert "10 pictures" in pieces[2]._repr_html_()
        assert "0 pictures" in pieces[5]._repr_html_()


@pytest.mark.parametrize(
    "obs",
    [None, {"a": (1, np.zeros(3))}, np.array([None, 1]), IMAGE[:, :, 0], IMAGE[:0], "x" * 999],
)
def test_anything_is_shown_in_few_words(obs):
    html = Step(obs, 0.0, False, False, {})._repr_html_()
    assert html is not None
    assert len(html) < 900


def test_text_is_escaped():
    html = Step("<script>", 0.0, False, False, {"<b>": "&"})._repr_html_()
    assert "<script>" not in html
    assert "&lt;b&gt;: &amp;" in html


def test_what_cannot_be_shown_is_left_to_repr():
    endless = {}
    endless["again"] = endless
    for info in ({"rude": Rude()}, endless):
        assert Step(0, 0.0, False, False, info)._repr_html_() is None

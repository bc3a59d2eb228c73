"""get_images: the pictures of many states at once. The laws of batches are in test_core."""

import os
import signal

import numpy as np
import pytest

from plangym_lite import InvalidStateError, make
from plangym_lite.vectorization.dispatch import batch_env as batch_module
from tests.same import assert_same, collect_states
from tests.toys import NestedToy, OpaqueToy, ToyEnv

MAKERS = {
    "toy": lambda n: make(ToyEnv, n_workers=n),
    "opaque states": lambda n: make(OpaqueToy, n_workers=n),
    "cartpole": lambda n: make("CartPole-v1", n_workers=n),
    "atari": lambda n: make("ALE/MsPacman-v5", obs_type="ram", n_workers=n),
    "long pictures": lambda n: make("ALE/Qbert-v5", n_workers=n),
}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("n_workers", [None, 2])
def test_images_are_those_of_the_states(maker, n_workers, monkeypatch):
    monkeypatch.setattr(batch_module, "IMAGES_AT_ONCE", 3)
    with maker(n_workers) as env:
        states, _ = collect_states(env, 14)
        expected = []
        for state in states:
            env.set_state(state)
            expected.append(env.get_image())
        env.set_state(states[4])
        home = env.get_state()
        images = env.get_images(states)
        assert_same(np.array(expected), images)
        assert images.dtype == np.uint8
        assert images.shape[1:] == env.img_shape
        images[:] = 0  # they are ours
        assert_same(np.array(expected[::-1]), env.get_images(states[::-1]))
        assert env.get_images([]).shape == (0, *env.img_shape)
        assert_same(home, env.get_state())
        assert_same(expected[4], env.get_image())


@pytest.mark.parametrize("n_workers", [None, 2])
def test_environments_without_pictures_say_so(n_workers):
    with make("FrozenLake-v1", render_mode=None, n_workers=n_workers) as env:
        state = env.reset(seed=0)[0]
        env.step(1)
        home = env.get_state()
        for states in ([state] * 4, []):
            with pytest.raises(NotImplementedError, match="draws no image"):
                env.get_images(states)
        assert_same(home, env.get_state())
        assert len(env.step_batch([0, 1], [state] * 2).rewards) == 2


def test_wrong_states_are_refused_before_anything_is_drawn():
    with make("ALE/MsPacman-v5") as env, make("ALE/Pong-v5") as other:
        state, pong = env.reset(seed=0)[0], other.reset(seed=0)[0]
        home = env.get_image()
        with pytest.raises(InvalidStateError, match="shape"):
            env.get_images([state, state[:-1]])
        with pytest.raises(InvalidStateError):
            env.get_images(np.array([state, np.resize(pong, state.shape)]))
        assert_same(home, env.get_image())


def test_a_worker_that_dies_over_its_pictures_is_replaced():
    with make(NestedToy, n_workers=2) as env:
        states, _ = collect_states(env, 8)
        expected = env.get_images(states)
        os.kill(env.batch_env[1].pid, signal.SIGKILL)
        assert_same(expected, env.get_images(states))

"""States on disk, and the fingerprint that goes with them."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import InvalidStateError, make
from plangym_lite.envs.checkpoints import load_states, save_states
from plangym_lite.testing import toy
from tests.same import assert_same, collect_states

NAMES = ["CartPole-v1", "Blackjack-v1"]


def make_stack():
    return make("CartPole-v1", wrappers=[(gym.wrappers.DelayObservation, 2)])


def make_lander():
    pytest.importorskip("Box2D")
    return make("LunarLander-v3")


MAKERS = [*(lambda name=name: make(name) for name in NAMES), make_stack, make_lander]


@pytest.mark.parametrize("make_env", MAKERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_states_come_back(make_env, tmp_path):
    path = tmp_path / "states"
    with make_env() as env:
        states, actions = collect_states(env, 12)
        expected = env.step_batch(actions, states)
        save_states(path, env, states)
    with make_env() as env:
        loaded = load_states(path, env)
        assert isinstance(loaded, np.ndarray)
        got = env.step_batch(actions, loaded)
        assert_same(expected.observs, got.observs)
        assert_same(expected.rewards, got.rewards)
        save_states(path, env, [])
        assert len(load_states(path, env)) == 0


@pytest.mark.parametrize(
    "options", [{"remove_time_limit": False}, {"clone_seeds": False}, {"sutton_barto_reward": True}]
)
def test_other_options_are_refused(options, tmp_path):
    with make("CartPole-v1") as env:
        save_states(tmp_path / "states", env, [env.get_state()])
    refused = pytest.raises(InvalidStateError, match="another environment or version")
    with make("CartPole-v1", **options) as env, refused:
        load_states(tmp_path / "states", env)


def test_another_version_is_refused(tmp_path, monkeypatch):
    with make("CartPole-v1") as env:
        save_states(tmp_path / "states", env, [env.get_state()])
        monkeypatch.setattr(gym, "__version__", "0.0")
        with pytest.raises(InvalidStateError, match=r"gymnasium=0\.0"):
            load_states(tmp_path / "states", env)


def test_what_is_no_file_of_states(tmp_path):
    with make("CartPole-v1") as env:
        for number, data in enumerate((b"", b"nothing", b"PK\3\4 broken")):
            path = tmp_path / str(number)
            path.write_bytes(data)
            with pytest.raises(InvalidStateError, match="holds no states"):
                load_states(path, env)
        np.save(tmp_path / "array.npy", np.zeros(3))
        with pytest.raises(InvalidStateError, match="holds no states"):
            load_states(tmp_path / "array.npy", env)
        with pytest.raises(FileNotFoundError):
            load_states(tmp_path / "missing", env)


def test_what_is_no_state_is_not_written(tmp_path):
    with make("CartPole-v1") as env, pytest.raises(InvalidStateError):
        save_states(tmp_path / "states", env, np.zeros((2, 3)))
    assert not (tmp_path / "states").exists()


def test_the_fingerprint_is_the_same_everywhere():
    code = "from tests.envs.test_checkpoints import make_stack as m; print(m().fingerprint)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with make_stack() as env, make("CartPole-v1") as plain, make("CartPole-v1", n_workers=1) as far:
        assert env.fingerprint == done.stdout.strip()
        assert env.fingerprint != plain.fingerprint
        assert plain.fingerprint == far.fingerprint
        assert plain.fingerprint.startswith("CartPole-v1 plangym_lite.envs.classic_control.")
        assert f"gymnasium={gym.__version__}" in plain.fingerprint


def test_any_plan_env_has_a_fingerprint():
    kind = next(getattr(toy, name) for name in toy.__all__ if isinstance(getattr(toy, name), type))
    with kind() as env:
        assert kind.__qualname__ in env.fingerprint

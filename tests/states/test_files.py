"""States on disk, and the fingerprint that goes with them."""

import pickle
import subprocess
import sys
from contextlib import suppress

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import InvalidStateError, make
from plangym_lite.envs.snapshot.snapshot import Snapshot
from plangym_lite.states.files import load_states, save_states
from tests import toys as toy
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
        loaded = load_states(path, env, trusted=not env.states_are_data)
        assert isinstance(loaded, np.ndarray)
        got = env.step_batch(actions, loaded)
        assert_same(expected.observs, got.observs)
        assert_same(expected.rewards, got.rewards)
        save_states(path, env, [])
        assert len(load_states(path, env, trusted=True)) == 0


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
    code = "from tests.states.test_files import make_stack as m; print(m().fingerprint)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with make_stack() as env, make("CartPole-v1") as plain, make("CartPole-v1", n_workers=1) as far:
        assert env.fingerprint == done.stdout.strip()
        assert env.fingerprint != plain.fingerprint
        assert plain.fingerprint == far.fingerprint
        assert plain.fingerprint.startswith("CartPole-v1 ClassicControl layout=")
        assert f"gymnasium={gym.__version__}" in plain.fingerprint


def test_any_plan_env_has_a_fingerprint():
    kind = next(getattr(toy, name) for name in toy.__all__ if isinstance(getattr(toy, name), type))
    with kind() as env:
        assert kind.__qualname__ in env.fingerprint


# ---- trust ---------------------------------------------------------------------------------------

DATA = {
    "cartpole": lambda: make("CartPole-v1"),
    "atari": lambda: make("ALE/Pong-v5", obs_type="ram"),
    "blackjack": lambda: make("Blackjack-v1"),
    "toy": toy.ToyEnv,
    "workers": lambda: make("CartPole-v1", n_workers=1),
}
PICKLES = {
    "generic snapshot": make_stack,
    "opaque": toy.OpaqueToy,
    "bytes": lambda: make("CartPole-v1", array_state=False),
    "workers": lambda: make(toy.OpaqueToy, n_workers=1),
}


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write_trap(path, env, sprung):
    """A file for ``env`` whose pickle is a trap."""
    code = np.frombuffer(pickle.dumps(Trap(sprung)), np.uint8)
    columns = {"pickles": code, "lengths": np.array([len(code)])}
    if env.batch_spec.state_shape is not None:
        state = np.zeros((1, *env.batch_spec.state_shape), np.uint8)
        state[0, :4] = np.frombuffer(len(code).to_bytes(4, "little"), np.uint8)
        state[0, 4 : 4 + len(code)] = code
        columns["states"] = state
    with open(path, "wb") as file:
        np.savez(file, fingerprint=np.array(env.fingerprint), **columns)


@pytest.mark.parametrize("kind", PICKLES)
def test_pickles_are_refused_unless_trusted(kind, tmp_path):
    with PICKLES[kind]() as env:
        assert not env.states_are_data
        state = env.get_state()
        save_states(tmp_path / "own", env, [state])
        with pytest.raises(InvalidStateError, match="trusted=True"):
            load_states(tmp_path / "own", env)
        env.set_state(load_states(tmp_path / "own", env, trusted=True)[0])
        assert_same(state, env.get_state())


@pytest.mark.parametrize("kind", PICKLES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_nothing_in_a_file_is_run(kind, tmp_path):
    path, sprung = tmp_path / "states", tmp_path / "sprung"
    with PICKLES[kind]() as env:
        write_trap(path, env, sprung)
        with pytest.raises(InvalidStateError, match="any program"):
            load_states(path, env)
        assert not sprung.exists()
        with suppress(Exception):  # the trap is real
            env.set_state(load_states(path, env, trusted=True)[0])
        assert sprung.exists()


@pytest.mark.parametrize("kind", DATA)
def test_states_that_are_data_are_restored_without_any_pickle(kind, tmp_path, monkeypatch):
    def refuse(*args):
        pytest.fail("something was unpickled")

    path = tmp_path / "states"
    with DATA[kind]() as env:
        states, _ = collect_states(env, 5)
        save_states(path, env, states)
        assert env.states_are_data
        with monkeypatch.context() as patch:
            patch.setattr(pickle, "loads", refuse)
            patch.setattr(Snapshot, "load", refuse)
            loaded = load_states(path, env)
            for state in loaded:
                env.unwrapped.set_state(state)
        assert_same(states, list(loaded))


@pytest.mark.parametrize("kind", DATA)
def test_a_file_does_not_decide_that_it_is_unpickled(kind, tmp_path):
    path, sprung = tmp_path / "states", tmp_path / "sprung"
    with DATA[kind]() as env:
        code = np.frombuffer(pickle.dumps(Trap(sprung)), np.uint8)
        columns = {"pickles": code, "lengths": np.array([len(code)])}
        for states in ({}, {"states": np.zeros((1, 3), np.int8)}):
            with open(path, "wb") as file:
                np.savez(file, fingerprint=np.array(env.fingerprint), **columns, **states)
            for trusted in (False, True):
                with pytest.raises(InvalidStateError, match="states"):
                    load_states(path, env, trusted=trusted)
        objects = np.array([Trap(sprung)], object)
        with open(path, "wb") as file:
            np.savez(file, fingerprint=np.array(env.fingerprint), states=objects)
        with pytest.raises(InvalidStateError, match="holds no states"):
            load_states(path, env, trusted=True)
    assert not sprung.exists()


def test_engines_whose_states_hold_pickles_say_so():
    pytest.importorskip("dm_control")
    with make("dm_control/cartpole-balance-v0") as env:
        assert not env.states_are_data

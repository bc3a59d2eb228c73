"""What adapters must not forget, forgotten on purpose, one thing at a time: the contract sees it.

Each control runs the same check as it is, which must be exact, and broken. More of them are beside
the adapters in ``tests/envs``, and in ``test_contract.py``.
"""

import importlib.util
from collections import OrderedDict

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import PlangymEnv, make
from plangym_lite.envs.atari.ale_state import Console
from plangym_lite.envs.atari.emulator import Emulator
from plangym_lite.envs.atari.env import AtariEnv
from plangym_lite.envs.batched.classic_control import FLOAT32, HAS_EXTRA, ClassicControl
from plangym_lite.envs.batched.toy_text import ToyText
from plangym_lite.envs.gymnasium.replay import ReplayedEnv
from plangym_lite.envs.mujoco.dm_control import tasks
from plangym_lite.envs.snapshot import mjdata, snapshot
from plangym_lite.envs.verify import verify
from plangym_lite.testing import check_exact

pytestmark = pytest.mark.filterwarnings("ignore")


def needs(*modules):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(modules)}")


def is_caught(make_env, monkeypatch, target, name, broken, *, exact_first=True, **walk):
    """Whether ``target.name = broken(original)`` is what makes the environment inexact.

    ``exact_first=False``: another test says that it is exact otherwise.
    """
    if exact_first:
        report = check_exact(make_env, **walk)
        assert report.exact, report
    monkeypatch.setattr(target, name, broken(getattr(target, name)))
    monkeypatch.setattr(verify, "OUTCOMES", OrderedDict())  # nothing is known of it
    report = check_exact(make_env, **walk)
    assert report.error is None, report  # it runs, and is wrong without a word
    return not report.exact


def edited(edit):
    """A ``load_state`` that gets an edited copy of the state."""

    def broken(load):
        def load_state(self, state):
            state = state.copy()
            edit(self, state)
            load(self, state)

        return load_state

    return broken


def forgetting(part):
    """A ``load_state`` that leaves a part of the state as it is where the state goes."""

    def edit(self, state):
        state[part] = self.save_state()[part]

    return edited(edit)


class TestClassicControl:
    def test_the_precision_of_its_variables(self, monkeypatch):
        """As float64 a continuous mountain car rounds otherwise; as float32 a pendulum does."""

        def edit(self, state):
            state[FLOAT32] = 1.0

        for name in ("Pendulum-v1", "CartPole-v1"):
            with monkeypatch.context() as patch:
                assert is_caught(
                    lambda name=name: make(name), patch, ClassicControl, "load_state", edited(edit)
                )

    def test_the_last_torque_of_a_pendulum(self, monkeypatch):
        """Only its picture knows of it."""

        def edit(self, state):
            state[HAS_EXTRA] = 0.0

        args = monkeypatch, ClassicControl, "load_state", edited(edit)
        assert is_caught(lambda: make("Pendulum-v1"), *args, depths=(5,), length=5, reach=5)

    def test_the_variables(self, monkeypatch):
        args = monkeypatch, ClassicControl, "load_state", forgetting(slice(-1, None))
        assert is_caught(lambda: make("Acrobot-v1"), *args, depths=(5,), length=5, reach=5)


class TestToyText:
    def test_a_passenger_who_may_change_his_mind(self, monkeypatch):
        args = monkeypatch, ToyText, "load_state", forgetting(slice(2, 3))
        name = next(name for name in gym.registry if name.startswith("Taxi-"))
        assert is_caught(
            lambda: make(name, fickle_passenger=True), *args, depths=(0, 30), length=60
        )

    def test_the_last_move_that_a_picture_shows(self, monkeypatch):
        args = monkeypatch, ToyText, "load_state", forgetting(slice(1, 2))
        assert is_caught(lambda: make("FrozenLake-v1"), *args, depths=(0, 3), length=5, reach=20)

    def test_the_hand_of_the_dealer(self, monkeypatch):
        args = monkeypatch, ToyText, "load_state", forgetting(slice(-26, -2))
        assert is_caught(lambda: make("Blackjack-v1"), *args)


class TestAtari:
    """Sticky actions, their generator and the draws before a reset: in ``test_contract.py``.

    Consoles take long to load; that these are exact otherwise is told by ``test_atari.py``.
    """

    SHORT = {"depths": (6,), "length": 10, "reach": 0, "exact_first": False}

    def make_env(self, game, **options):
        return lambda: make(f"ALE/{game}-v5", **{"obs_type": "ram", **options})

    @pytest.mark.slow
    def test_frames_that_were_left_half_drawn(self, monkeypatch):
        """The emulator's own state does not say so, and then Q*bert runs on differently."""
        make_env = self.make_env("Qbert", frameskip=1)

        def broken(stop):
            return lambda self, *where: None

        args = monkeypatch, Console, "_stop_in_frame", broken
        assert is_caught(make_env, *args, **{**self.SHORT, "depths": (0, 1, 7)})

    def test_the_rounding_of_a_music_clock(self, monkeypatch):
        """ale-py's states round it, in the cartridge of Pitfall II."""

        def broken(frame):
            def unrounded(self, action, strength=1.0):
                self._core = None
                return self.ale.act(action, strength)

            return unrounded

        args = monkeypatch, Console, "_rounded_frame", broken
        walk = {**self.SHORT, "depths": (5,), "length": 20}
        assert is_caught(self.make_env("Pitfall2"), *args, **walk)

    def test_the_picture(self, monkeypatch):
        args = monkeypatch, Emulator, "refresh_picture", lambda refresh: lambda self: None
        assert is_caught(self.make_env("MsPacman"), *args, **self.SHORT)

    def test_the_generator_of_a_random_frameskip(self, monkeypatch):
        part = slice(-8, None)

        def edit(self, state):
            state[part] = 0

        args = monkeypatch, AtariEnv, "load_state", edited(edit)
        assert is_caught(self.make_env("BeamRider", frameskip=(2, 5)), *args, **self.SHORT)

    def test_that_a_life_was_lost(self, monkeypatch):
        make_env = self.make_env("Breakout", episodic_life=True, frameskip=30)

        def broken(load):
            return lambda self, state, generators=True: 0 * load(self, state, generators)

        args = monkeypatch, Emulator, "load", broken
        assert is_caught(make_env, *args, **{**self.SHORT, "depths": (0,), "reach": 60})

    @pytest.mark.slow
    def test_what_wrappers_have_gathered(self, monkeypatch):
        wrappers = [(gym.wrappers.FrameStackObservation, 3)]
        args = monkeypatch, snapshot, "put_back", forgetting_attribute("obs_queue")
        options = {"wrappers": wrappers, "certify": False}
        assert is_caught(self.make_env("Pong", **options), *args, **self.SHORT)


def forgetting_attribute(name):
    """Snapshots in which no layer has that attribute: it stays with the target."""

    def broken(put_back):
        return lambda anchor, content, skipped, made: put_back(
            anchor, content, skipped | {name}, made
        )

    return broken


class TestSnapshot:
    OPTIONS = {
        "wrappers": [(gym.wrappers.FrameStackObservation, 3), (gym.wrappers.StickyAction, 0.3)]
    }

    @pytest.mark.parametrize("name", ["obs_queue", "last_action"])
    def test_what_a_wrapper_has_gathered(self, monkeypatch, name):
        args = monkeypatch, snapshot, "put_back", forgetting_attribute(name)
        assert is_caught(lambda: PlangymEnv("FrozenLake-v1", certify=False, **self.OPTIONS), *args)

    def test_certification_sees_it_too(self, monkeypatch):
        """A snapshot without it is not certified, and states are seeds and actions instead."""
        broken = forgetting_attribute("obs_queue")
        monkeypatch.setattr(snapshot, "put_back", broken(snapshot.put_back))
        monkeypatch.setattr(verify, "OUTCOMES", OrderedDict())
        with PlangymEnv("FrozenLake-v1", **self.OPTIONS) as env:
            assert env.state_method == "replay"


@needs("Box2D")
class TestBox2D:
    def make_env(self):
        return make("LunarLander-v3", n_live=1)

    def test_a_frame_of_the_trail(self, monkeypatch):
        def broken(load):
            return lambda self, trail: load(self, trail._replace(frames=trail.frames[1:]))

        assert is_caught(
            self.make_env, monkeypatch, ReplayedEnv, "load", broken, depths=(0, 8), length=12
        )

    def test_the_seed(self, monkeypatch):
        def broken(load):
            return lambda self, trail: load(
                self, trail._replace(root=trail.root._replace(seed=trail.root.seed + 1))
            )

        args = monkeypatch, ReplayedEnv, "load", broken
        assert is_caught(self.make_env, *args, depths=(0, 8), length=12)


@needs("mujoco", "gymnasium.envs.mujoco")
class TestMujoco:
    """Arrays, step count and generator: in ``tests/envs/mujoco/test_env.py``."""

    WALK = {"depths": (0, 6), "length": 8, "reach": 30}

    def test_what_an_episode_changes_in_the_model(self, monkeypatch):
        from tests.envs.mujoco.test_env import MoodyReacher

        def make_env():
            return make(MoodyReacher, render_mode=None, certify=False)

        args = monkeypatch, mjdata, "changed_fields", lambda fields: lambda model, before: ()
        assert is_caught(make_env, *args, **self.WALK)

    def test_attributes_of_a_subclass(self, monkeypatch):
        from tests.envs.mujoco.test_env import MoodyReacher

        args = monkeypatch, snapshot, "put_back", forgetting_attribute("mood")
        assert is_caught(
            lambda: make(MoodyReacher, render_mode=None, certify=False), *args, **self.WALK
        )

    def test_contacts_that_the_next_step_looks_at(self, monkeypatch):
        from plangym_lite.envs.snapshot.mjdata import SimulationMemory
        from tests.envs.mujoco.test_env import TouchyHopper

        def broken(load):
            return lambda self, contacts: load(self, b"")

        def make_env():
            return make(TouchyHopper, render_mode=None, certify=False)

        args = monkeypatch, SimulationMemory, "load_contacts", broken
        assert is_caught(make_env, *args, depths=(5, 30), length=10, reach=30)

    def test_the_observation_right_after_a_restore(self, monkeypatch):
        from plangym_lite.envs.mujoco.env import MujocoEnv

        def broken(load):
            def load_state(self, state):
                seen = self._obs
                load(self, state)
                self._obs = seen

            return load_state

        args = monkeypatch, MujocoEnv, "load_state", broken
        assert is_caught(lambda: make("Reacher-v5", render_mode=None), *args, **self.WALK)


@needs("dm_control")
class TestDMControl:
    """Contacts, buffer, warm start, steps, generator: in ``test_dm_control.py``."""

    def test_that_the_next_step_is_a_reset(self, monkeypatch):
        from plangym_lite.envs.mujoco.dm_control import DMControlEnv

        def edit(self, state):
            state[24:32] = np.ones(1).view(np.uint8)

        monkeypatch.setattr(DMControlEnv, "load_state", edited(edit)(DMControlEnv.load_state))
        walk = {"depths": (0, 5), "length": 6, "reach": 10}
        assert not check_exact(lambda: make("cartpole-balance", render_mode=None), **walk).exact

    def test_the_model(self, monkeypatch):

        args = monkeypatch, tasks, "changed_fields", lambda fields: lambda model, before: ()
        walk = {"depths": (0, 5), "length": 6, "reach": 10}
        assert is_caught(lambda: make("reacher-easy", render_mode=None), *args, **walk)

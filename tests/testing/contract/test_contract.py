"""The contract finds what is broken: adapters broken on purpose, one by one."""

import time
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import PlangymEnv, UnknownEnvironmentError, make
from plangym_lite.envs.atari.emulator import Emulator
from plangym_lite.envs.batched.classic_control import ClassicControl
from plangym_lite.envs.generators.generator import GeneratorMemory
from plangym_lite.envs.snapshot import snapshot
from plangym_lite.envs.snapshot.snapshot import Snapshot
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.testing import ContractSuite, check_exact
from plangym_lite.testing.contract.reference import NO_TWIN
from tests.toys import LEFT, RIGHT, NestedToy, OpaqueToy, ToyEnv


def slippery(kind=ToyEnv, **options):
    return lambda: kind(**{"slip": 0.3, "time_limit": 9, **options})


def after(function, then):
    """``function``, and ``then(self)`` after it."""

    def wrapped(self, *args, **kwargs):
        result = function(self, *args, **kwargs)
        then(self)
        return result

    return wrapped


class TestReport:
    def test_exact(self):
        report = check_exact(slippery(), name="my toy")
        first, note = str(report).splitlines()
        assert first == f"my toy: exact ({report.checks} checks held, 32 bytes a state)"
        assert note == f"  note: {NO_TWIN}"
        assert report.checks > 20
        assert (report.exact, report.difference, report.error, report.notes) == (
            True,
            None,
            None,
            [NO_TWIN],
        )

    def test_where_it_first_differs(self, monkeypatch):
        monkeypatch.setattr(ToyEnv, "load_state", after(ToyEnv.load_state, forget_time))
        report = check_exact(slippery())
        assert not report.exact
        assert report.difference.startswith(
            "set_state(get_state()), depth 5, step 0: state: expected"
        )
        assert "toy: NOT exact (" in str(report)
        assert f"first difference: {report.difference}" in str(report)

    def test_an_error_on_the_way_is_a_difference(self):
        class Forgetful(ToyEnv):
            def load_state(self, state):
                raise KeyError("gone")

        report = check_exact(Forgetful)
        assert report.difference == "set_state(get_state()), depth 0: KeyError: 'gone'"
        assert isinstance(report.error, KeyError)

    def test_an_error_of_make_env_is_raised(self):
        with pytest.raises(UnknownEnvironmentError):
            check_exact(lambda: make("NoSuch-v0"))

    def test_opaque_states_have_a_size_too(self):
        assert check_exact(slippery(OpaqueToy)).state_bytes < 100

    def test_no_end_within_reach_is_noted(self):
        report = check_exact(lambda: ToyEnv(size=5000, slip=0.5), depths=(3,), reach=5)
        assert report.exact
        assert report.notes == [NO_TWIN, "no episode ended within 90 moves"]


def forget_time(env):
    env._elapsed = 0


def forget_luck(env):
    env._random = 5


class LocalToy(OpaqueToy):
    """Its states are keys of a dictionary of the module."""

    memory: ClassVar[dict] = {}

    def save_state(self, out=None):
        key = len(self.memory)
        self.memory[key] = super().save_state()
        return key

    def load_state(self, state):
        super().load_state(self.memory.get(state, (0, 2, 0, 0)))


class TestBrokenToys:
    """Each fault of a state, alone, in the simplest environment there is."""

    @pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy, NestedToy])
    @pytest.mark.parametrize("fault", [forget_time, forget_luck])
    def test_something_is_not_restored(self, monkeypatch, kind, fault):
        monkeypatch.setattr(ToyEnv, "load_state", after(ToyEnv.load_state, fault))
        assert not check_exact(slippery(kind)).exact

    def test_a_broken_pair_cannot_agree_with_itself(self):
        """Saved and restored without the generator: only a walk that was never saved knows."""

        class Lucky(ToyEnv):
            def save_state(self, out=None):
                self._random = 5
                return super().save_state(out)

        report = check_exact(slippery(Lucky))
        assert report.difference.startswith("saving on the way")

    def test_a_state_that_is_a_live_handle(self):
        class Live(OpaqueToy):
            def save_state(self, out=None):
                return (*super().save_state()[:3], self)

            def load_state(self, state):
                super().load_state((*state[:3], state[3]._random))

            def __reduce__(self):
                return ToyEnv, ()

        assert check_exact(slippery(Live)).difference.startswith("same object")

    def test_a_state_that_only_its_own_process_knows(self):
        report = check_exact(LocalToy)
        assert report.difference.startswith("another process")

    def test_a_stale_observation(self):
        class Stale(ToyEnv):
            def current_obs(self):
                return self.last

            def apply_reset(self, seed, options):
                info = super().apply_reset(seed, options)
                self.last = super().current_obs()
                return info

            def advance(self, action, n_frames):
                result = super().advance(action, n_frames)
                self.last = super().current_obs()
                return result

        report = check_exact(slippery(Stale))
        assert "step 0: obs" in report.difference

    def test_a_stale_image(self):
        class Stale(ToyEnv):
            def draw_image(self):
                if "_picture" not in self.__dict__:
                    self._picture = super().draw_image()
                return self._picture

        assert ": image: " in check_exact(slippery(Stale)).difference

    def test_drawing_that_moves_something(self):
        class Painter(ToyEnv):
            def draw_image(self):
                self._draw()
                return super().draw_image()

        assert not check_exact(slippery(Painter)).exact

    @pytest.mark.parametrize("change", ["reward", "flags", "obs"])
    def test_terminals_that_do_not_absorb(self, monkeypatch, change):
        transition = SimulatorEnv._transition

        def broken(self, action, dt):
            ended = self._ended
            reward, info = transition(self, action, dt)
            if ended and change == "obs":
                self._cell = 3
            if ended and change == "flags":
                self._ended = 3 - ended
            return (1.0 if ended and change == "reward" else reward), info

        monkeypatch.setattr(SimulatorEnv, "_transition", broken)
        report = check_exact(slippery())
        assert report.difference.startswith("terminals")

    def test_a_batch_that_moves_something(self, monkeypatch):
        monkeypatch.setattr(ToyEnv, "_restore_current", lambda self: setattr(self, "_phase", 1))
        assert "current before the batches" in check_exact(slippery()).difference

    def test_rows_that_leak_into_each_other(self, monkeypatch):
        class Leaky(ToyEnv):
            def load_state(self, state):
                if self._phase == 1:
                    self.debt = 0.0
                super().load_state(state)

            def advance(self, action, n_frames):
                total, *rest = super().advance(action, n_frames)
                debt, self.debt = self.__dict__.get("debt", 0.0), 0.0 if self._phase == 1 else 0.5
                return total + debt, *rest

        assert "reward" in check_exact(slippery(Leaky)).difference

    def test_state_in_a_global(self):
        class Global(ToyEnv):
            def _draw(self):
                return np.random.random()

        report = check_exact(slippery(Global))  # its walk can be repeated: numbers of its own
        assert report.difference.startswith("same object after wandering")
        assert report.notes == [NO_TWIN]


class TestWhatSeedsDoNotDecide:
    def test_an_environment_without_seeds(self):
        class Unseeded(ToyEnv):
            def apply_reset(self, seed, options):
                if seed is not None:
                    seed = int(np.random.SeedSequence().generate_state(1)[0])
                return super().apply_reset(seed, options)

        report = check_exact(slippery(Unseeded))
        assert report.exact, report
        assert "the seed does not decide" in report.notes[1]

    def test_a_clock_in_the_info(self):
        class Clocked(ToyEnv):
            def advance(self, action, n_frames):
                *step, info = super().advance(action, n_frames)
                return *step, {**info, "clock": {"now": time.perf_counter()}}

        report = check_exact(slippery(Clocked))
        assert report.exact, report
        assert report.notes == [NO_TWIN, "not decided by the seed: info['clock']['now']"]

    def test_episode_statistics(self):
        def make_env():
            return make("CartPole-v1", wrappers=[gym.wrappers.RecordEpisodeStatistics])

        report = check_exact(make_env, depths=(0, 12))
        assert report.exact, report


class TestBrokenAdapters:
    """The same for adapters of real simulators."""

    def test_cartpole_without_its_step_counter(self, monkeypatch):
        def forget(env):
            env._limits[0]._elapsed_steps = 0

        monkeypatch.setattr(ClassicControl, "load_state", after(ClassicControl.load_state, forget))

        def make_env():
            return make("CartPole-v1", remove_time_limit=False, max_episode_steps=12)

        assert not check_exact(make_env, depths=(5,)).exact

    def test_classic_control_without_its_generator(self, monkeypatch):
        monkeypatch.setattr(GeneratorMemory, "write", lambda self, words, generator: None)
        report = check_exact(lambda: make("CartPole-v1"))
        assert report.difference.startswith("same object after wandering")

    def test_the_snapshot_without_generators(self, monkeypatch):
        load = Snapshot.load
        monkeypatch.setattr(
            Snapshot, "load", lambda self, data, generators=True: load(self, data, False)
        )
        assert not check_exact(lambda: PlangymEnv("Blackjack-v1")).exact

    @pytest.mark.parametrize("name", ["player", "dealer"])
    def test_the_snapshot_without_one_attribute(self, monkeypatch, name):
        put_back = snapshot.put_back
        monkeypatch.setattr(
            snapshot,
            "put_back",
            lambda anchor, content, skipped, made: put_back(
                anchor, content, skipped | {name}, made
            ),
        )
        assert not check_exact(lambda: PlangymEnv("Blackjack-v1")).exact

    @pytest.mark.parametrize(
        ("game", "options", "fault"),
        [
            (
                "Breakout",
                {"repeat_action_probability": 0.5},
                lambda e: setattr(e, "last_action", 0),
            ),
            ("Breakout", {"repeat_action_probability": 0.5}, lambda e: e.mt.random_raw(7)),
            ("BeamRider", {}, lambda e: setattr(e, "_draws", e._first_draws)),
        ],
        ids=["sticky action", "sticky generator", "draws before a reset"],
    )
    def test_the_emulator_without(self, monkeypatch, game, options, fault):
        def forget(emulator):
            emulator._loaded = None
            fault(emulator)

        def make_env():
            return make(f"ALE/{game}-v5", obs_type="ram", frameskip=2, **options)

        monkeypatch.setattr(Emulator, "load", after(Emulator.load, forget))
        assert not check_exact(make_env, depths=(8,), length=12, reach=0).exact


class TestSuite:
    def test_make_env_must_be_overridden(self):
        with pytest.raises(NotImplementedError, match="must override make_env"):
            ContractSuite().make_env()

    def test_a_broken_environment_fails_its_suite(self):
        class Broken(ContractSuite):
            def make_env(self):
                class Mine(ToyEnv):
                    def load_state(self, state):
                        super().load_state(state)
                        self._random = 5

                return Mine(slip=0.3)

        with pytest.raises(AssertionError, match="depth 0"):
            Broken().test_restoring_at_once_changes_nothing()
        Broken().test_saving_changes_nothing()
        assert Broken().contract is Broken().contract


@pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy, NestedToy])
def test_through_workers(kind):
    report = check_exact(slippery(kind), n_workers=2, length=10)
    assert report.exact, report
    assert report.notes == [NO_TWIN]


def test_actions_are_real_moves():
    """The walk uses every action: a walk that stands still would prove nothing."""
    seen = set()

    class Watched(ToyEnv):
        def advance(self, action, n_frames):
            seen.add(int(action))
            return super().advance(action, n_frames)

    check_exact(Watched, depths=(0,))
    assert seen >= {LEFT, RIGHT}

"""Faults that only a plain environment shows, each in a small adapter broken on purpose.

The contract catches every one of them; where it says so, the same adapter compared with itself
counts as exact.
"""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import make
from plangym_lite.testing import ContractSuite, check_exact
from plangym_lite.testing.contract.reference import NO_TWIN, OWN_RESETS
from plangym_lite.testing.toy import ToyEnv
from tests.testing.contract.holder import (
    SHORT,
    Body,
    Counted,
    Dice,
    Doubled,
    Holder,
    Noisy,
    Pushed,
    Walk,
)


def stack():
    return Counted(Doubled(Walk()))


def check(kind, build=Walk, **options):
    return check_exact(lambda: kind(build), **{**SHORT, **options})


def is_exact(kind, build=Walk, **options):
    report = check(kind, build, **options)
    assert report.exact, report
    return report.notes


def is_caught(kind, build=Walk, **options):
    """Where an adapter first differs; it runs, and is wrong without a word."""
    report = check(kind, build, **options)
    assert not report.exact
    assert report.error is None, report
    return report.difference


def untwinned(kind):
    """The same adapter, compared with itself."""
    return type(kind.__name__, (kind,), {"make_plain": None})


class TestHonest:
    @pytest.mark.parametrize("build", [Walk, stack], ids=["game", "wrappers"])
    def test_exact(self, build):
        assert is_exact(Holder, build) == []

    def test_many_frames(self):
        assert is_exact(lambda build: Holder(build, 3)) == []

    def test_through_workers(self):
        assert is_exact(Holder, stack, n_workers=2) == []

    def test_wide_actions(self):
        is_exact(Holder, Pushed)

    def test_narrow_actions(self):
        is_exact(Holder, Pushed, wide_actions=False)


class TestObservations:
    def test_those_below_the_wrappers(self):
        class Raw(Holder):
            def current_obs(self):
                return self.env.unwrapped.look()

        difference = is_caught(Raw, lambda: Doubled(Walk()))
        assert difference.startswith("beside plain Gymnasium, from the seed, step 0: obs")
        is_exact(untwinned(Raw), lambda: Doubled(Walk()))

    def test_the_space_below_the_wrappers(self):
        class Raw(Holder):
            def build_engine(self):
                super().build_engine()
                self.observation_space = self.env.unwrapped.observation_space

        def build():
            space = spaces.Box(-1, 1, (2,), np.float64)
            return gym.wrappers.TransformObservation(Walk(), np.tanh, space)

        assert is_caught(Raw, build).startswith("the space of observations: expected Box(-1.0, 1.0")

    def test_floats_cut_to_integers(self):
        class Halves(Walk):
            observation_space = spaces.Box(0, 1000, (2,), np.int64)

            def look(self):
                return super().look() / 2

        class Cutting(Holder):
            def current_obs(self):
                return self._obs.astype(np.int64)

        assert "obs: expected shape (2,) of float64" in is_caught(Cutting, Halves)


class TestRewardsAndInfos:
    def test_the_reward_of_the_last_frame_only(self):
        class Last(Holder):
            def advance(self, action, n_frames):
                total, *rest = super().advance(action, n_frames)
                return (0.1 * self.env.unwrapped.cell if n_frames > 1 else total), *rest

        assert "reward" in is_caught(Last)  # dt=2 tells
        assert "reward" in is_caught(lambda build: Last(build, 3))

    def test_an_info_that_is_thrown_away(self):
        class Silent(Holder):
            def advance(self, action, n_frames):
                *step, info = super().advance(action, n_frames)
                del info["deep"]
                return *step, info

        assert is_caught(Silent).endswith("info['deep']: missing")
        is_exact(untwinned(Silent))

    def test_more_in_an_info_than_plain_gymnasium_says(self):
        class Talking(Holder):
            def advance(self, action, n_frames):
                *step, info = super().advance(action, n_frames)
                return *step, {**info, "more": 1}

        is_exact(Talking)


class TestFromTheFirstStepOn:
    def test_views_that_a_pickle_cuts(self):
        """Parts of a state vector come back as arrays of their own."""

        class InPlace(Holder):
            def load_state(self, state):
                kept = self.env.all
                super().load_state(state)
                kept[:] = self.env.all
                self.env.all, self.env.place, self.env.speed = kept, kept[:2], kept[2:]

        is_exact(InPlace, Body)
        assert is_caught(Holder, Body).startswith("set_state(get_state())")

    def test_wrong_without_any_restore(self):
        class Examined(Holder):
            def build_engine(self):
                super().build_engine()
                self.touch()

        assert is_caught(Examined, Body).startswith("beside plain Gymnasium, from the seed, step 1")
        is_exact(untwinned(Examined), Body)  # both of its sides are wrong alike

    def test_statistics_that_make_has_advanced(self):
        class Eager(Holder):
            def build_engine(self):
                super().build_engine()
                self.env.reset(seed=0)
                self.env.step(1)

        assert is_caught(Eager, stack).startswith("beside plain Gymnasium, from the seed, step 0")
        is_exact(untwinned(Eager), stack)

    def test_statistics_that_the_second_make_has_advanced(self):
        class Cached(Holder):
            made = 0

            def build_engine(self):
                super().build_engine()
                Cached.made += 1
                if Cached.made > 1:
                    self.env.reset(seed=0)

        assert is_caught(Cached, stack).startswith("saving on the way, from the seed, step 0")

    def test_actions_cast_to_float32(self):
        class Narrow(Holder):
            def advance(self, action, n_frames):
                return super().advance(np.float32(action), n_frames)

        assert is_caught(Narrow, Pushed).startswith("beside plain Gymnasium")
        is_exact(Narrow, Pushed, wide_actions=False)


class TestWhatIsNotRestored:
    def test_a_generator(self):
        class Running(Holder):
            def attributes(self, layer):
                return {k: v for k, v in super().attributes(layer).items() if k != "_np_random"}

        assert is_caught(Running)

    def test_statistics_of_a_wrapper(self):
        class Flat(Holder):
            def attributes(self, layer):
                return super().attributes(layer) if layer is self.env.unwrapped else {}

        assert is_caught(Flat, stack)

    def test_a_global_generator(self):
        np.random.seed(5)
        before = np.random.get_state()[1].tolist()
        assert "obs" in is_caught(Holder, Dice)
        assert np.random.get_state()[1].tolist() == before

    def test_behind_noise_that_excuses_itself_only(self):
        report = check(Holder, Noisy)
        assert ": obs: expected" in report.difference
        assert report.notes[0] == "not decided by the seed: obs[1]"

    def test_behind_noise_with_only_rewards_to_show_it(self):
        assert "reward" in is_caught(Holder, lambda: Noisy(shows=False))

    def test_behind_noise_with_nothing_to_show_it(self):
        difference = is_caught(Holder, lambda: Noisy(shows=False, rewards=False))
        assert difference.startswith("cannot be shown: nothing but obs[1] tells one state")


class TestWhatPlainRunsDisagreeOn:
    def test_noise_beside_a_state_that_is_restored(self):
        class Hazy(Walk):
            def look(self):
                return np.array([self.cell, np.random.SeedSequence().entropy % 256], np.float64)

        class Gazing(Holder):
            """A new look at each restore."""

        assert is_exact(Gazing, Hazy) == ["not decided by the seed: obs[1]"]

    def test_rewards(self):
        class Lucky(Walk):
            def step(self, action):
                obs, _, *rest = super().step(action)
                return obs, float(np.random.SeedSequence().entropy % 256), *rest

        difference = is_caught(Holder, Lucky)
        assert difference.endswith("seeded and played alike, differ in reward")

    def test_what_is_seen_of_an_episode_is_enough(self):
        """Nothing is noise: then a state that never shows need not be shown."""

        class Blank(Walk):
            def step(self, action):
                super().step(action)
                return np.zeros(2), 1.0, False, False, {}

        is_exact(Holder, Blank)


class TestHeld:
    def test_an_info_that_is_alive(self):
        class Live(Holder):
            def step(self, *args, **kwargs):
                step = super().step(*args, **kwargs)
                step.info["deep"]["rows"][0] = self.env.unwrapped.board
                return step

        assert "a held info changed: step 1: info['deep']['rows'][0]" in is_caught(Live)

    def test_an_info_of_a_batch_that_is_alive(self):
        class Live(Holder):
            def step_batch(self, *args, **kwargs):
                out = super().step_batch(*args, **kwargs)
                out.infos[-1]["board"] = self.live = getattr(self, "live", np.zeros(3))
                self.live[:] = self.env.unwrapped.board
                return out

        assert "step_batch" in is_caught(Live)

    def test_an_observation_that_is_alive(self):
        class Live(Holder):
            def step(self, *args, **kwargs):
                step = super().step(*args, **kwargs)
                self.live = getattr(self, "live", step.obs)
                self.live[:] = step.obs
                return step._replace(obs=self.live)

        assert "a held obs changed: step 1: obs" in is_caught(Live)

    def test_a_state_that_is_alive(self):
        class Live(ToyEnv):
            def get_state(self):
                self.live = self.save_state(getattr(self, "live", None))
                return self.live

        assert "a held state changed: step 0" in check_exact(Live).difference

    def test_closing_must_not_end_what_is_held(self):
        class Tidy(Holder):
            seen = ()

            def step(self, *args, **kwargs):
                step = super().step(*args, **kwargs)
                self.seen = (*self.seen, step.obs)
                return step

            def close_engine(self):
                for obs in self.seen:
                    obs[:] = 0

        assert "a held obs changed" in is_caught(Tidy)


class TestBatches:
    @pytest.mark.parametrize("change", ["observs", "rewards", "terminateds", "infos"])
    def test_rows_that_are_not_steps(self, change):
        class Batched(Holder):
            def step_batch(self, *args, **kwargs):
                out = super().step_batch(*args, **kwargs)
                if change == "infos":
                    out.infos[-1]["deep"]["time"] += 1
                elif change == "terminateds":
                    out.terminateds[-1] ^= True
                else:
                    getattr(out, change)[-1] += 1
                return out

        assert is_caught(Batched).startswith("step_batch, depth 0, row")

    @pytest.mark.parametrize("change", ["observs", "rewards", "lengths"])
    def test_rollouts_that_are_not_steps(self, change):
        class Rolled(Holder):
            def rollout_batch(self, *args, **kwargs):
                out = super().rollout_batch(*args, **kwargs)
                getattr(out, change)[-1] += 1
                return out

        assert is_caught(Rolled).startswith("step_batch, depth 0, rollout_batch, row")


class TestWherePlainComesFrom:
    def test_never_side_by_side(self):
        class Alone(Walk):
            alive = 0

            def __init__(self):
                assert not Alone.alive
                Alone.alive += 1

            def close(self):
                Alone.alive = 0

        assert is_exact(Holder, Alone) == []

    def test_given(self):
        assert is_exact(untwinned(Holder)) == [NO_TWIN]
        assert is_exact(untwinned(Holder), plain=Walk) == []
        assert "obs" in is_caught(Holder, plain=lambda: Doubled(Walk()))
        difference = check_exact(lambda: Holder(Walk, 2), plain=lambda: (Walk(), 3), **SHORT)
        assert not difference.exact

    def test_the_suite_asks_for_it(self):
        class Suite(ContractSuite):
            depths, length, reach = (0,), 5, 5

            def make_env(self):
                return Holder(Walk)

            def make_plain(self):
                return Doubled(Walk())

        with pytest.raises(AssertionError, match="beside plain Gymnasium"):
            Suite().test_as_plain_gymnasium()
        with pytest.raises(NotImplementedError, match="does not override make_plain"):
            ContractSuite().make_plain()

    def test_an_error_that_only_plain_gymnasium_raises(self):
        class Short(Walk):
            def step(self, action):
                if self.time == 3:
                    raise ValueError("no more")
                return super().step(action)

        difference = check(Holder, plain=Short).difference
        assert difference.startswith("after move 3 of a plain run it raises ValueError: no more")

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("CartPole-v1", {}),
            ("CartPole-v1", {"frameskip": 3, "remove_time_limit": False, "max_episode_steps": 9}),
            pytest.param("CartPole-v1", {"obs_type": "grayscale"}, marks=pytest.mark.slow),
            ("Taxi-v4" if "Taxi-v4" in gym.registry else "Taxi-v3", {}),
        ],
    )
    def test_ids(self, name, options):
        report = check_exact(lambda: make(name, **options), **SHORT)
        assert report.exact, report
        assert NO_TWIN not in report.notes

    @pytest.mark.slow
    def test_the_suite_of_deepmind(self):
        pytest.importorskip("dm_control")

        def make_env(**options):
            return make("cartpole-balance", render_mode=None, **options)

        walk = {"depths": (0, 3), "length": 8, "reach": 5}
        report = check_exact(lambda: make_env(frameskip=2), **walk)
        assert report.exact, report
        assert NO_TWIN not in report.notes


class TestPlayed:
    """Where states are played, unseeded resets are the adapter's own, and seeded ones are not."""

    class Played(Holder):
        """Begins each episode in a new environment."""

        state_method = "replay"
        seed_of_last = 0

        def apply_reset(self, seed, options):
            self.seed_of_last = self.seed_of_last + 1 if seed is None else seed
            return super().apply_reset(self.seed_of_last, options)

        def save_state(self, out=None):
            return self.seed_of_last, super().save_state()

        def load_state(self, state):
            self.seed_of_last = state[0]
            super().load_state(state[1])

    class Rebuilt(Played):
        def apply_reset(self, seed, options):
            self.build_engine()
            return super().apply_reset(seed, options)

    def test_resets_of_their_own(self):
        assert is_exact(self.Played) == [OWN_RESETS]

        class Unsaid(self.Played):
            state_method = "snapshot"

        assert "obs" in is_caught(Unsaid)

    def test_an_engine_with_traces_of_the_episode_before(self):
        class Traces(Walk):
            def reset(self, *, seed=None, options=None):
                obs, info = super().reset(seed=seed)
                self.episodes = getattr(self, "episodes", 0) + 1
                return obs + 100 * self.episodes, info

        assert is_exact(self.Played, Traces) == [OWN_RESETS]
        assert is_exact(self.Rebuilt, Traces) == [OWN_RESETS]

        class Wrong(self.Rebuilt):
            def advance(self, action, n_frames):
                total, *rest = super().advance(action, n_frames)
                return total + (self.env.unwrapped.time > 10), *rest

        assert is_caught(Wrong, Traces)

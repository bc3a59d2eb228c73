"""SubprocVectorEnv and SequentialVectorEnv: Gymnasium's answers, states, and dead workers."""

import gc
import logging
import os
import signal
import time
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers
from hypothesis import given, settings
from hypothesis import strategies as st

from plangym_lite import (
    AlreadySteppingError,
    ClosedError,
    InvalidBatchError,
    InvalidStateError,
    NotSteppingError,
    SequentialVectorEnv,
    SubprocVectorEnv,
    WorkerDiedError,
    make,
)
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, NestedToy, OpaqueToy, ToyEnv, ToyError
from tests.vectorization.helpers import is_running, wait_until

KINDS = [SubprocVectorEnv, SequentialVectorEnv]
AUTOMATIC = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
cart_pole = partial(gym.make, "CartPole-v1")


class Pictures(gym.Env):
    """Draws its clock into images that are large enough to be handed out as views."""

    observation_space = spaces.Box(0, 255, (96, 96, 3), np.uint8)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.full((96, 96, 3), self.time, np.uint8), {}

    def step(self, action):
        self.time += 1 + int(action)
        return np.full((96, 96, 3), self.time % 256, np.uint8), 1.0, False, False, {}


class Tells(Pictures):
    """Its infos are the dicts that its actions choose."""

    told = ()

    def step(self, action):
        return *super().step(action)[:4], dict(self.told[action])


class Words(gym.Env):
    """Observations and actions that are no arrays."""

    observation_space = spaces.Text(10)
    action_space = spaces.Text(10)

    def reset(self, *, seed=None, options=None):
        return "begin", {}

    def step(self, action):
        return action.upper(), 0.0, False, False, {"said": action}


class Mutable(gym.Env):
    """Changes the action it was given, and returns its own array as observation."""

    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space = spaces.Box(-9, 9, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.array = np.zeros(2, np.float32)
        return self.array, {}

    def step(self, action):
        self.array += action
        action[:] = 7
        return self.array, 0.0, bool(self.array[0] > 2), False, {}


@pytest.fixture(params=KINDS, ids=["subproc", "sequential"])
def kind(request):
    return request.param


def run(env, actions, seed=0):
    """Everything that an environment says."""
    return [env.reset(seed=seed), *[env.step(action) for action in actions]]


def kill(env, index):
    pid = env.workers[index].pid
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not is_running(pid))


# ---- the same as Gymnasium's ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", AUTOMATIC)
@pytest.mark.parametrize("factory", [cart_pole, partial(gym.make, "Taxi-v4")])
def test_same_answers_as_gymnasium(kind, mode, factory):
    with kind([factory] * 3, autoreset_mode=mode) as env:
        theirs = SyncVectorEnv([factory] * 3, autoreset_mode=mode)
        assert env.observation_space == theirs.observation_space
        assert env.action_space == theirs.action_space
        assert env.metadata == theirs.metadata
        theirs.action_space.seed(1)
        actions = [theirs.action_space.sample() for _ in range(80)]
        assert_same(run(theirs, actions), run(env, actions))


def test_disabled_autoreset_and_masks(kind):
    mode = AutoresetMode.DISABLED
    with kind([partial(ToyEnv, size=4)] * 3, autoreset_mode=mode) as env:
        env.reset(seed=0)
        _, _, terminations, _, _ = env.step([RIGHT, STAY, STAY])
        assert terminations.tolist() == [True, False, False]
        with pytest.raises(RuntimeError, match="reset_mask"):
            env.step([STAY] * 3)
        options = {"reset_mask": terminations}
        observations, infos = env.reset(options=options)
        assert observations[:, 0].tolist() == [2, 2, 2]
        assert infos["_cell"].tolist() == [True, False, False]
        assert "reset_mask" in options, "the caller's options are left alone"
        env.step([STAY] * 3)


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True, False], TypeError),
        (np.array([1, 0]), TypeError),
        (np.array([True]), ValueError),
        (np.array([False, False]), ValueError),
    ],
)
def test_bad_masks(kind, mask, error):
    with kind([ToyEnv] * 2) as env, pytest.raises(error, match="reset_mask"):
        env.reset(options={"reset_mask": mask})


def test_masked_reset_before_any_reset(kind):
    with kind([cart_pole] * 2) as env, pytest.raises(RuntimeError, match="environment 1"):
        env.reset(options={"reset_mask": np.array([True, False])})


def test_nested_spaces(kind):
    with kind([partial(NestedToy, slip=0.2)] * 4) as env:
        env.action_space.seed(0)
        actions = [env.action_space.sample() for _ in range(40)]
        theirs = SequentialVectorEnv([partial(NestedToy, slip=0.2)] * 4)
        said = run(env, actions)
        assert_same(run(theirs, actions), said)
        assert all(observs in env.observation_space for observs, *_ in said)


def test_spaces_without_arrays(kind):
    with kind([Words] * 2) as env:
        assert env.reset()[0] == ("begin", "begin")
        observations, _, _, _, infos = env.step(("yes", "no"))
        assert observations == ("YES", "NO")
        assert infos["said"].tolist() == ["yes", "no"]


@pytest.mark.parametrize("mode", AUTOMATIC)
def test_arrays_of_the_environment_are_not_ours(kind, mode):
    with kind([Mutable] * 2, autoreset_mode=mode) as env:
        first, _ = env.reset()
        actions = np.ones((2, 2), np.float32)
        second = env.step(actions)[0]
        env.step(actions)
        final = env.step(actions)
        assert_same([np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)], [first, second])
        assert (actions == 1).all()
        last = final[4]["final_obs"][0] if mode is AutoresetMode.SAME_STEP else final[0][0]
        assert last.tolist() == [3, 3]


@pytest.mark.parametrize("limit", [None, 200_000])
def test_images_never_change_later(limit):
    limits = {"shared_limit": limit}
    with SubprocVectorEnv([Pictures] * 3, **limits) as env:
        env.reset()
        held = [env.step([0, 1, 2])[0] for _ in range(12)]
        for step, images in enumerate(held, 1):
            assert images[:, 5, 5, 0].tolist() == [step, 2 * step, 3 * step]


def test_memory_of_images_is_used_again():
    with SubprocVectorEnv([Pictures] * 2) as env:
        env.reset()
        for _ in range(30):
            held = env.step([0, 0])[0]
            assert not held.flags.owndata
        del held
        gc.collect()
        assert len(env.group._pool.blocks) <= 3


@pytest.mark.parametrize(
    "wrap",
    [
        wrappers.RecordEpisodeStatistics,
        wrappers.NormalizeObservation,
        wrappers.NormalizeReward,
        wrappers.DictInfoToList,
        wrappers.FlattenObservation,
        partial(wrappers.TransformReward, func=lambda reward: 2 * reward),
        partial(wrappers.DtypeObservation, dtype=np.float64),
    ],
)
def test_wrappers_of_gymnasium(kind, wrap):
    theirs = wrap(SyncVectorEnv([cart_pole] * 2))
    actions = [theirs.action_space.sample() for _ in range(60)]
    env = wrap(kind([cart_pole] * 2))
    for expected, got in zip(run(theirs, actions), run(env, actions), strict=True):
        for infos in (expected[-1], got[-1]):
            if isinstance(infos, dict) and "episode" in infos:
                del infos["episode"]["t"]  # seconds
        assert_same(expected, got)
    env.close()
    assert env.closed


def test_attributes_and_calls(kind):
    with kind([cart_pole] * 3) as env:
        env.set_attr("gravity", [1.0, 2.0, 3.0])
        assert env.get_attr("gravity") == (1.0, 2.0, 3.0)
        env.set_attr("gravity", 5.0)
        assert env.call("gravity") == (5.0,) * 3
        assert env.call("has_wrapper_attr", "length") == (True,) * 3
        with pytest.raises(ValueError, match="3 environments"):
            env.set_attr("gravity", [1.0])
        for name in ("no_such_thing", "_private"):
            with pytest.raises(AttributeError, match=name):
                env.get_attr(name)
        env.reset(seed=5)
        assert env.np_random_seed == (5, 6, 7)
        assert env.step([0, 0, 0])[0].shape == (3, 4)


def test_pictures():
    with SubprocVectorEnv([ToyEnv] * 2) as env:
        frames = env.render()
        assert isinstance(frames, tuple)
        assert frames[1].shape == (8, 64, 3)


# ---- what is refused -----------------------------------------------------------------------------


def test_factories_are_checked(kind):
    with pytest.raises(TypeError, match="factory 1"):
        kind([ToyEnv, "CartPole-v1"])
    with pytest.raises(ValueError, match="at least one"):
        kind([])
    with pytest.raises(ValueError, match="worker 1"):
        kind([ToyEnv, partial(ToyEnv, size=5)])


def test_start_methods_are_named():
    with pytest.raises(ValueError, match="spawn"):
        SubprocVectorEnv([ToyEnv], start_method="teleport")


def test_error_of_a_constructor_arrives(kind):
    with pytest.raises(ValueError, match="size must be"):
        kind([ToyEnv, partial(ToyEnv, size=1)])


def test_bad_actions_are_refused_before_anything_is_sent(kind):
    with kind([partial(ToyEnv, slip=0.3)] * 2) as env:
        env.reset(seed=0)
        before = env.get_state()
        for actions in ([0], [0, 1, 2], [0, 3], [0.5, 0], "ab"):
            with pytest.raises(InvalidBatchError):
                env.step(actions)
        assert_same(before, env.get_state())
        with pytest.raises(ValueError, match="2 environments"):
            env.reset(seed=[1])


def test_a_step_is_begun_once_and_awaited_once(kind):
    with kind([ToyEnv] * 2) as env:
        env.reset()
        with pytest.raises(NotSteppingError):
            env.step_wait()
        env.step_async([RIGHT, LEFT])
        for use in (lambda: env.step_async([0, 0]), env.get_state, env.render):
            with pytest.raises(AlreadySteppingError):
                use()
        assert env.step_wait()[0][:, 0].tolist() == [3, 1]
        env.step_async([RIGHT, LEFT])
        observations, _ = env.reset()
        assert observations[:, 0].tolist() == [2, 2]
        env.step_async([STAY, STAY])
        with pytest.warns(UserWarning, match="close.*pending call to `step`"):
            env.close()
    with pytest.raises(ClosedError):
        env.step([0, 0])
    env.close()


# ---- states --------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.data())
def test_states_are_exact(data):
    kind = data.draw(st.sampled_from(KINDS))
    mode = data.draw(st.sampled_from(AUTOMATIC))
    toy = data.draw(st.sampled_from([ToyEnv, OpaqueToy, NestedToy]))
    with kind([partial(toy, slip=0.3, time_limit=7)] * 2, autoreset_mode=mode) as env:
        env.action_space.seed(data.draw(st.integers(0, 99)))
        for _ in range(data.draw(st.integers(0, 20))):
            env.step(env.action_space.sample())
        states = env.get_state()
        actions = [env.action_space.sample() for _ in range(12)]
        expected = [env.step(action) for action in actions]
        env.set_state(states)
        assert_same(expected, [env.step(action) for action in actions])
        env.set_state(states[::-1], indices=[1, 0])
        assert_same(list(states), list(env.get_state()))


def test_states_of_atari_across_kinds():
    factories = [partial(make, "ALE/MsPacman-v5")] * 2
    with SubprocVectorEnv(factories) as env, SequentialVectorEnv(factories) as local:
        env.reset(seed=0)
        for _ in range(30):
            env.step([1, 2])
        states = env.get_state()
        assert states.shape[0] == 2
        local.set_state(states)
        actions = [[3, 4], [5, 6], [7, 8]]
        for action in actions:
            assert_same(local.step(action), env.step(action))


def test_states_that_do_not_fit(kind):
    with kind([ToyEnv] * 2) as env:
        env.reset()
        before = env.get_state()
        with pytest.raises(InvalidBatchError, match="1 states for 2"):
            env.set_state(before[:1])
        with pytest.raises(InvalidStateError, match="environment 1"):
            env.set_state([before[0], before[1][:2]])
        with pytest.raises(IndexError):
            env.set_state(before[:1], 5)
        assert_same(before, env.get_state())
        env.set_state(before[:1], np.int64(1))


# ---- errors and dead workers ---------------------------------------------------------------------


def test_an_error_arrives_as_itself_and_the_others_have_stepped(kind):
    with kind([ToyEnv, partial(ToyEnv, fail_at=LEFT), ToyEnv]) as env:
        env.reset()
        with pytest.raises(ToyError, match="fails at action 0") as caught:
            env.step([RIGHT, LEFT, RIGHT])
        assert any("environment 1" in note for note in caught.value.__notes__)
        assert env.step([RIGHT, RIGHT, STAY])[0][:, 0].tolist() == [4, 3, 3]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_dead_worker_is_named(method, index):
    toys = [partial(ToyEnv, sleep_at=LEFT, sleep_for=60)] * 3
    with SubprocVectorEnv(toys, start_method=method) as env:
        env.reset()
        actions = [RIGHT] * 3
        actions[index] = LEFT
        env.step_async(actions)
        time.sleep(0.1)
        kill(env, index)
        words = rf"environment {index}: worker process \d+ died \(exit code -9, signal SIGKILL\) "
        with pytest.raises(WorkerDiedError, match=words + "during 'step'"):
            env.step_wait()
        with pytest.raises(WorkerDiedError, match=rf"environment {index}.*reset"):
            env.step([RIGHT] * 3)
        others = [other for other in range(3) if other != index]
        cells = env.reset(options={"reset_mask": np.arange(3) == index})[0][:, 0]
        assert cells[others].tolist() == [3, 3], "stepped once, not twice, and not reset"
        assert env.step([RIGHT] * 3)[0][:, 0].tolist() == [
            3 if other == index else 4 for other in range(3)
        ]


def test_a_worker_that_died_between_calls_is_replaced_by_set_state():
    with SubprocVectorEnv([partial(ToyEnv, slip=0.3)] * 2) as env:
        env.seed([7, 8])
        env.reset()
        states = env.get_state()
        expected = env.step([RIGHT, RIGHT])
        kill(env, 1)
        with pytest.raises(WorkerDiedError, match=r"environment 1.*during 'step'"):
            env.step([RIGHT, RIGHT])
        env.set_state(states)
        assert_same(expected, env.step([RIGHT, RIGHT]))
        fresh = env.reset()
        assert_same(fresh, env.reset())


def test_a_worker_that_exits_by_itself():
    with SubprocVectorEnv([partial(ToyEnv, exit_at=LEFT)] * 2) as env:
        env.reset()
        with pytest.raises(WorkerDiedError, match=r"environment 1: .*exit code 3"):
            env.step([STAY, LEFT])
        assert env.reset()[0][:, 0].tolist() == [2, 2]


def test_a_timeout_loses_nothing():
    with SubprocVectorEnv([partial(ToyEnv, sleep_at=LEFT, sleep_for=0.5), ToyEnv]) as env:
        env.reset()
        env.step_async([LEFT, RIGHT])
        with pytest.raises(TimeoutError, match="environment 0"):
            env.step_wait(timeout=0.05)
        assert env.step_wait()[0][:, 0].tolist() == [1, 3]


def test_close_is_bounded_and_leaves_nothing():
    env = SubprocVectorEnv([partial(ToyEnv, sleep_at=LEFT, sleep_for=60)] * 2)
    pids = [worker.pid for worker in env.workers]
    env.step_async([LEFT, STAY])
    started = time.monotonic()
    with pytest.warns(UserWarning, match="pending"):
        env.close(terminate=True)
    assert time.monotonic() - started < 10
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_forked_environments_draw_different_numbers():
    def draw():
        class Drawing(ToyEnv):
            def numbers(self):
                return np.random.random(3).tolist()

        return Drawing()

    with SubprocVectorEnv([draw] * 3, start_method="fork") as env:
        assert len(set(map(tuple, env.call("numbers")))) == 3


# ---- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", AUTOMATIC)
def test_statistics(kind, mode, caplog):
    toys = [partial(ToyEnv, size=4)] * 2
    with kind(toys, logging_prefix="train", autoreset_mode=mode) as env:
        env.reset()
        for actions in ([RIGHT, LEFT], [STAY, LEFT], [RIGHT, STAY], [STAY, STAY]):
            env.step(actions)
        stats = env.get_stats()
        if mode is AutoresetMode.NEXT_STEP:  # the second step of env 0 only resets
            assert stats["train/episodes"] == 3
            assert stats["train/return_mean"] == pytest.approx((1.0 + 1.0 + 0.29) / 3)
        assert stats["train/length_min"] == 1
        with caplog.at_level(logging.INFO, "plangym_lite"):
            assert env.clear_epoch_stats() == stats
        assert "train/return_max=1" in caplog.text
        assert env.get_stats() == {"train/episodes": 0}


# ---- infos ---------------------------------------------------------------------------------------

tellings = st.fixed_dictionaries(
    {"whole": st.integers(-9, 9)},
    optional={
        "broken": st.floats(-1, 1),
        "flag": st.booleans(),
        "single": st.sampled_from([np.float32(0.1), np.float32(2)]),
        "either": st.sampled_from([1, True, 2.5]),
        "object": st.sampled_from([None, "a", np.bool_(True)]),
        "inner": st.fixed_dictionaries({}, optional={"whole": st.integers(0, 9)}),
    },
)


@settings(max_examples=60)
@given(told=st.lists(tellings, min_size=4, max_size=4))
def test_infos_are_merged_as_gymnasium_merges_them(told):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Tells, "told", told)
        ours, theirs = SequentialVectorEnv([Tells] * 3), SyncVectorEnv([Tells] * 3)
        for env in (ours, theirs):
            env.reset(seed=0)
        for actions in ([0, 1, 2], [3, 3, 3], [0, 0, 3]):
            got, expected = (env.step(np.array(actions))[-1] for env in (ours, theirs))
            assert list(got) == list(expected)
            assert_same(expected, got)
        ours.close()
        theirs.close()

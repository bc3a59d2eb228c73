"""``seeds=``, and the info of a state: judged by plain Gymnasium."""

import random

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import InvalidBatchError, make
from plangym_lite.testing.toy import RIGHT, ToyEnv
from tests.same import assert_same

SEEDS = [3, 2**40, 3, 11]


def child(seed, number=0, kind=np.random.PCG64):
    return kind(np.random.SeedSequence(seed).spawn(number + 1)[number])


def seed_plain(env, seed):
    """Seed the generator of a plain environment as ``seeds=`` does."""
    env.unwrapped.np_random = np.random.Generator(child(seed))


def plain_row(build, before, action, n, seed, seed_it=seed_plain):
    """What plain Gymnasium gives for an action that is repeated ``n`` times."""
    env = build()
    env.reset(seed=5)
    for each in before:
        env.step(each)
    seed_it(env, seed)
    total = 0.0
    for _ in range(n):
        obs, reward, terminated, truncated, info = env.step(action)
        total += float(reward)
        if terminated or truncated:
            break
    env.close()
    return obs, total, terminated, truncated, info


def rows_are_plain(env, build, actions, seed_it=seed_plain, n=4):
    """Rows with seeds, from the state after some actions, are those of plain environments."""
    with env:
        env.reset(seed=5)
        for action in actions[:-1]:
            env.step(action)
        state = env.get_state()
        out = env.step_batch([actions[-1]] * 4, [state] * 4, n, seeds=SEEDS)
        rolled = env.rollout_batch([[actions[-1]] * n] * 4, [state] * 4, seeds=SEEDS)
        found = set()
        for row, seed in enumerate(SEEDS):
            obs, total, *ends, info = plain_row(build, actions[:-1], actions[-1], n, seed, seed_it)
            env.set_state(state)
            step = env.step(actions[-1], dt=n, seed=seed)
            for told in (out.states[row], rolled.states[row]):
                env.set_state(told)
                np.testing.assert_equal(env.observe(), obs)
            np.testing.assert_equal(step.obs, obs)
            assert out.rewards[row] == step.reward == total
            assert rolled.rewards[row].sum() == pytest.approx(total)
            assert [out.terminateds[row], out.truncateds[row]] == ends
            told = out.infos[row], step.info, env.info()
            assert_same([info] * 3, [{key: each[key] for key in info} for each in told])
            found.add(repr((obs, total)))
        assert_same(out.states[0], out.states[2])
        return len(found)


def gym_pair(name, **options):
    return make(name, **options), lambda: gym.make(name, max_episode_steps=-1, **options)


@pytest.mark.parametrize("n_workers", [None, 2])
@pytest.mark.parametrize(
    ("name", "options", "actions", "at_least"),
    [
        ("FrozenLake-v1", {}, [2, 1], 2),
        ("CliffWalking-v1", {"is_slippery": True}, [0, 1], 2),
        ("Taxi-v4", {"is_rainy": True}, [0, 1], 2),
        ("Taxi-v4", {"is_rainy": True, "fickle_passenger": True}, [0, 1], 2),
        ("Blackjack-v1", {}, [1], 2),
        ("CartPole-v1", {}, [0, 1], 1),
        ("MiniGrid-Dynamic-Obstacles-6x6-v0", {}, [2, 1], 2),
        ("LunarLander-v3", {}, [2, 2], 3),
        ("LunarLander-v3", {"enable_wind": True}, [0, 3, 1], 1),
    ],
)
def test_rows_are_those_of_seeded_plain_environments(name, options, actions, at_least, n_workers):
    pytest.importorskip("minigrid") if "MiniGrid" in name else None
    env, build = gym_pair(name, **options)
    if n_workers:
        env.close()
        env = make(name, n_workers=n_workers, **options)
    assert rows_are_plain(env, build, actions) >= at_least


def test_many_rows_at_once():
    """The kernel's rows, some of them ended."""
    env, build = gym_pair("FrozenLake-v1")
    env.reset(seed=5)
    states, state = [], env.get_state()
    for number in range(40):
        states.append(state)
        state = env.step_batch([number % 4], [state], seeds=number).states[0]
    out = env.step_batch([1] * 40, states, 3, seeds=list(range(40)))
    for row, state in enumerate(states):
        alone = env.step_batch([1], [state], 3, seeds=row)
        assert_same(alone.states[0], out.states[row])
        assert_same(alone.infos[0], out.infos[row])
        plain = build()
        plain.reset(seed=5)
        env.set_state(state)
        if env.has_ended:
            assert_same(state, out.states[row])
            continue
        plain.unwrapped.s = int(env.observe())
        seed_plain(plain, row)
        for _ in range(int(out.infos[row]["n_step"])):
            obs, *_ = plain.step(1)
        assert obs == out.observs[row]


class Dice(gym.Env):
    """Draws from generators of every kind that an environment may hold."""

    observation_space, action_space = spaces.Box(0, 1, (6,), np.float64), spaces.Discrete(2)
    draws_globally = True

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.old, self.plain = np.random.RandomState(7), random.Random(7)
        self.deep = {"here": [np.random.Generator(np.random.Philox(7))]}
        return np.zeros(6), {}

    def step(self, action):
        draws = [self.np_random.random(), self.old.random_sample(), self.plain.random()]
        draws += [self.deep["here"][0].random(), 0.0, 0.0]
        if self.draws_globally:
            draws[4:] = [np.random.random(), random.random()]
        return np.array(draws), draws[0], False, False, {"draws": tuple(draws)}


class Local(Dice):
    draws_globally = False


class Sticky(gym.Wrapper):
    """A wrapper with a generator of its own."""

    def reset(self, **kwargs):
        self.own = np.random.default_rng(9)
        return self.env.reset(**kwargs)

    def step(self, action):
        obs, reward, *rest = self.env.step(action)
        return obs, reward + self.own.random(), *rest


def layered():
    return Sticky(Dice())


def whole(sequence):
    return int(sequence.generate_state(1, np.uint64)[0])


def draws_of(seed, draws_globally):
    """What :class:`Dice` draws, and then :class:`Sticky`, after ``seed``."""
    kinds = [
        lambda at: np.random.default_rng(at).random(),
        lambda at: np.random.RandomState(np.random.MT19937(at)).random_sample(),
        lambda at: random.Random(whole(at)).random(),
        lambda at: np.random.Generator(np.random.Philox(at)).random(),
        lambda at: np.random.default_rng(at).random(),
        lambda at: np.random.RandomState(np.random.MT19937(at)).random_sample(),
        lambda at: random.Random(whole(at)).random(),
    ]
    spawned = np.random.SeedSequence(seed).spawn(len(kinds))
    *base, sticky, one, two = [kind(at) for kind, at in zip(kinds, spawned, strict=True)]
    return np.array([*base, *((one, two) if draws_globally else (0.0, 0.0))]), sticky


@pytest.mark.parametrize("method", ["snapshot", "replay"])
@pytest.mark.parametrize("n_workers", [None, 2])
def test_generators_of_every_kind_and_layer(method, n_workers):
    """The base's, those it holds, the wrapper's, then numpy's and Python's global ones."""
    build = layered if method == "snapshot" else lambda: Sticky(Local())
    with make(build, state_method=method, n_workers=n_workers) as env:
        env.reset(seed=1)
        env.step(0)
        outside = np.random.get_state()[1].tobytes(), random.getstate()
        out = env.step_batch([0] * 4, seeds=SEEDS, return_state=True)
        assert outside == (np.random.get_state()[1].tobytes(), random.getstate())
        for row, seed in enumerate(SEEDS):
            drawn, sticky = draws_of(seed, build is layered)
            assert_same(drawn, out.observs[row])
            assert out.rewards[row] == drawn[0] + sticky
            assert out.infos[row]["draws"] == tuple(drawn)
        assert_same(out.states[0], out.states[2])
        again = env.step_batch([0] * 4, out.states)  # what comes after is in the state
        assert_same(again.observs[0], again.observs[2])
        assert (again.observs[0, :4] != again.observs[1, :4]).all()
        assert (again.observs[0, :4] != out.observs[0, :4]).all()


class Spawns(gym.Env):
    observation_space, action_space = spaces.Box(0, 1, (1,), np.float64), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        return np.array([self.np_random.spawn(1)[0].random()]), 0.0, False, False, {}


def test_a_seeded_generator_spawns_seeded_ones():
    with make(Spawns) as env:
        env.reset(seed=1)
        out = env.step_batch([0] * 2, seeds=[4, 5])
        expected = [np.random.Generator(child(seed)).spawn(1)[0].random() for seed in (4, 5)]
        assert out.observs[:, 0].tolist() == expected


@pytest.mark.parametrize("make_it", [layered, "FrozenLake-v1", "Blackjack-v1"])
def test_generators_that_run_on_are_put_back(make_it):
    """With ``clone_seeds=False`` rows with seeds leave the environment's generators alone."""
    draws = []
    for seeded in (False, True):
        with make(make_it, clone_seeds=False) as env:
            env.reset(seed=1)
            state = env.get_state()
            if seeded:
                one, other = (env.step_batch([1] * 4, [state] * 4, seeds=SEEDS) for _ in range(2))
                assert_same(one.observs, other.observs)
                assert len({repr(obs) for obs in one.observs}) > 1
                env.step(1, state, seed=3)
            out = env.step_batch([1] * 20, [state] * 20)
            draws.append(out.observs)
    if make_it is not layered:  # its generators begin anywhere
        assert_same(draws[0], draws[1])


def test_atari_draws_its_frames():
    """Random frame skips are drawn by the base's generator, as in plain Gymnasium."""
    pytest.importorskip("ale_py")
    options = {"frameskip": (2, 7), "obs_type": "ram"}
    plain = {**options, "repeat_action_probability": 0.0}
    build = lambda: gym.make("ALE/Breakout-v5", max_episode_steps=-1, **plain)  # noqa: E731
    assert rows_are_plain(make("ALE/Breakout-v5", **options), build, [1, 2, 3]) >= 2


@pytest.mark.parametrize("stack", [False, True])
def test_atari_sticks_by_the_seed(stack):
    """Equal seeds stick alike; over many seeds an action sticks as often as it should."""
    pytest.importorskip("ale_py")
    wrappers = [(gym.wrappers.FrameStackObservation, 2)] if stack else None
    options = {"repeat_action_probability": 0.25, "frameskip": 1, "obs_type": "ram"}
    with make("ALE/Breakout-v5", wrappers=wrappers, **options) as env:
        env.reset(seed=1)
        for action in [1, *[2] * 30]:  # fire; the paddle goes right
            env.step(action)
        state, n = env.get_state(), 400
        out, again = (env.step_batch([3] * n, [state] * n, seeds=range(n)) for _ in range(2))
        assert_same(out.states, again.states)
        pushed = []
        for state in out.states:
            env.set_state(state)
            pushed.append(env.unwrapped.emulator.last_action)
        counts = sorted(pushed.count(action) for action in set(pushed))
        assert len(counts) == 2
        assert 0.17 < counts[0] / n < 0.33


def test_dm_control_seeds_its_task():
    pytest.importorskip("dm_control")
    with make("dm_control/ball_in_cup-catch-v0") as env:
        env.reset(seed=1)
        action = env.sample_action()
        out = env.step_batch([action] * 4, seeds=SEEDS, return_state=True)
        assert (out.observs == out.observs[0]).all()  # a step draws nothing
        assert_same(out.states[0], out.states[2])
        env.set_state(out.states[1])
        expected = np.random.RandomState(child(2**40, kind=np.random.MT19937))
        assert env.task.random.random_sample() == expected.random_sample()
        assert env.info() == {"discount": 1.0}


# ---- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seeds", [[1, 2], -1, [1, -2, 3], 1.5, [1, 2, None], "seed", [[1, 2, 3]], 2**63, True]
)
def test_seeds_that_are_none(seeds):
    with ToyEnv(slip=0.5) as env:
        env.reset(seed=1)
        before = env.get_state()
        with pytest.raises(InvalidBatchError, match="seeds must be one int"):
            env.step_batch([RIGHT] * 3, seeds=seeds)
        with pytest.raises(InvalidBatchError, match="seeds must be one int"):
            env.rollout_batch([[RIGHT]] * 3, seeds=seeds)
        assert_same(before, env.get_state())


def test_one_seed_for_all_and_no_rows():
    with ToyEnv(slip=0.5) as env:
        env.reset(seed=1)
        one, three = (
            env.step_batch([RIGHT] * 3, seeds=9),
            env.step_batch([RIGHT] * 3, seeds=[9] * 3),
        )
        assert_same(one, three)
        assert len(env.step_batch([], [], seeds=[]).rewards) == 0


def test_an_adapter_without_generators_says_so():
    class Bare(ToyEnv):
        def seed_generators(self, seed):
            return super(ToyEnv, self).seed_generators(seed)

    with Bare() as env, pytest.raises(NotImplementedError, match="must define seed_generators"):
        env.step_batch([RIGHT], seeds=1)


# ---- the info of a state ------------------------------------------------------------------------


class Told(gym.Env):
    """An info with an array that the environment goes on writing to."""

    observation_space, action_space = spaces.Discrete(100), spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        self.mask, self.count = np.ones(3, np.int8), 0
        return 0, {"action_mask": self.mask, "at": "the start"}

    def step(self, action):
        self.count += 1
        self.mask[:] = np.arange(3) != self.count % 3
        return (
            self.count,
            1.0,
            self.count == 4,
            False,
            {"action_mask": self.mask, "deep": {"n": [1]}},
        )


@pytest.mark.parametrize("method", ["snapshot", "replay"])
@pytest.mark.parametrize("n_workers", [None, 2])
def test_the_info_of_a_state_is_restored_with_it(method, n_workers):
    with make(Told, state_method=method, n_workers=n_workers) as env:
        states, infos = [], []
        state, _, info = env.reset(seed=0)
        for _ in range(5):
            states.append(state)
            infos.append(info)
            assert_same(info, env.info())
            state, *_, info = env.step(0, return_state=True)
            info = {name: value for name, value in info.items() if name not in ("n_step", "dt")}
            if len(states) == 4:
                break
        held = env.info()
        kept = held["action_mask"].copy()
        for state, info in reversed([*zip(states, infos, strict=True)]):
            env.set_state(state)
            assert_same(info, env.info())
        env.step(0)
        assert_same(kept, held["action_mask"])


@pytest.mark.parametrize("n_workers", [None, 2])
def test_an_ended_state_tells_its_info_again(n_workers):
    with make(Told, n_workers=n_workers) as env:
        env.reset(seed=0)
        end = env.rollout_batch([[0] * 4], return_observs=None)
        assert end.terminateds[0]
        expected = {**end.infos[0], "n_step": 0}
        assert_same(expected, env.step_batch([0], end.states).infos[0])
        assert_same(expected, env.rollout_batch([[0, 0]], end.states).infos[0])
        env.set_state(end.states[0])
        assert_same({"action_mask": expected["action_mask"], "deep": expected["deep"]}, env.info())


class Secretive(Told):
    """Its infos hold something that cannot be pickled."""

    def step(self, action):
        *answer, info = super().step(action)
        return *answer, {**info, "secret": lambda: None}


def test_what_cannot_be_pickled_in_an_info_is_left_out_of_states():
    env = make(Secretive)
    state, _, _ = env.reset(seed=0)
    moved = env.step(1, state)
    plain = Told()
    plain.reset(seed=0)
    expected = plain.step(1)[-1]
    assert callable(env.info()["secret"])
    env.set_state(state)
    env.set_state(moved.state)
    assert_same(env.info(), expected)


class Two(gym.Env):
    """Draws from a generator of its own, made before that of Gymnasium, and from that one."""

    observation_space = spaces.Box(0, 1, (2,), np.float64)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.numbers = np.random.RandomState(seed)
        super().reset(seed=seed)
        return np.zeros(2), {}

    def step(self, action):
        numbers = np.array([self.np_random.random(), self.numbers.rand()])
        return numbers, 0.0, False, False, {}


def test_generators_that_run_on_are_others_in_each_worker():
    with make(Two, n_workers=2, use_caller=False, clone_seeds=False) as env:
        state, *_ = env.reset(seed=0)
        drawn = np.concatenate([env.step_batch([0] * 64, [state] * 64).observs for _ in range(3)])
        assert all(len(set(column)) == 192 for column in drawn.T.tolist())

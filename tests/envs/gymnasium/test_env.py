"""PlangymEnv: any Gymnasium environment, and what a user may put around it."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv

from plangym_lite import InvalidStateError, PlangymEnv, make
from plangym_lite.envs.gymnasium.stack import to_grayscale
from plangym_lite.testing import ContractSuite
from tests.same import assert_same

STACK = [
    gym.wrappers.RecordEpisodeStatistics,
    (gym.wrappers.DelayObservation, {"delay": 2}),
    (gym.wrappers.NormalizeReward, {"gamma": 0.9}),
    (gym.wrappers.StickyAction, 0.3),
    gym.wrappers.NormalizeObservation,
]


class Fleet(gym.Env):
    """A user's environment: dict observations, text among them, and lists changed in place."""

    def __init__(self, size=4, render_mode=None):
        self.observation_space = spaces.Dict(
            {"ships": spaces.Box(0, 99, (size,), np.int64), "says": spaces.Text(9)}
        )
        self.action_space = spaces.MultiDiscrete([size, 2])
        self.size = size

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.ships = [int(self.np_random.integers(5)) for _ in range(self.size)]
        return self._obs(), {}

    def step(self, action):
        ship, way = action
        self.ships[ship] += int(self.np_random.integers(3)) * (2 * int(way) - 1)
        over = not 0 <= self.ships[ship] <= 9
        self.ships[ship] = max(self.ships[ship], 0)
        return self._obs(), float(sum(self.ships)), over, False, {"ship": int(ship)}

    def _obs(self):
        return {"ships": np.array(self.ships), "says": "x" * (sum(self.ships) % 9)}


class TestBlackjack(ContractSuite):
    n_workers = 2

    def make_env(self):
        return PlangymEnv("Blackjack-v1")


class TestTaxi(ContractSuite):
    depths = (0, 5)

    def make_env(self):
        return PlangymEnv("Taxi-v4", render_mode=None)


class TestFleet(ContractSuite):
    n_workers = 2

    def make_env(self):
        return make(Fleet, size=3)


class TestFiveDeep(ContractSuite):
    def make_env(self):
        return make("CartPole-v1", wrappers=STACK)


class TestPixels(ContractSuite):
    depths = (0, 3)
    reach, length = 20, 8

    def make_env(self):
        return PlangymEnv("FrozenLake-v1", obs_type="rgb")


class TestOpaque(ContractSuite):
    def make_env(self):
        return make(Fleet, array_state=False)


class TestWrappers:
    @pytest.mark.parametrize(
        "wrapper",
        [
            lambda env: gym.wrappers.TimeLimit(env, 3),
            (gym.wrappers.TimeLimit, 3),
            (gym.wrappers.TimeLimit, [3]),
            (gym.wrappers.TimeLimit, (3,)),
            (gym.wrappers.TimeLimit, {"max_episode_steps": 3}),
        ],
    )
    def test_every_way_to_give_one(self, wrapper):
        with PlangymEnv("Blackjack-v1", wrappers=[wrapper]) as env:
            assert env.gym_env._max_episode_steps == 3

    def test_they_are_applied_in_order(self):
        with make("CartPole-v1", wrappers=STACK) as env:
            assert isinstance(env.gym_env, gym.wrappers.NormalizeObservation)

    def test_they_survive_cloning(self):
        with make("CartPole-v1", wrappers=STACK) as env, env.clone() as other:
            assert str(other.gym_env) == str(env.gym_env)


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"obs_type": "smell"}, "obs_type must be one of"),
            ({"render_mode": "ansi"}, "render_mode must be"),
            ({"render_mode": None, "obs_type": "rgb"}, "images need"),
            ({"render_mode": None, "return_image": True}, "images need"),
            ({"frameskip": 0}, "frameskip must be"),
        ],
    )
    def test_wrong_ones(self, options, message):
        with pytest.raises(ValueError, match=message):
            make("CartPole-v1", **options)

    def test_without_a_renderer_there_is_no_image(self):
        with make("CartPole-v1", render_mode=None) as env:
            assert env.img_shape is None
            with pytest.raises(NotImplementedError, match="draws no image"):
                env.get_image()
        with make(Fleet) as env:
            assert env.img_shape is None

    @pytest.mark.parametrize(("obs_type", "ndim"), [("rgb", 3), ("grayscale", 2)])
    def test_pixels(self, obs_type, ndim):
        with make("CartPole-v1", obs_type=obs_type) as env:
            assert env.observation_space.dtype == np.uint8
            assert len(env.obs_shape) == ndim
            batch = env.step_batch([0, 1], [env.get_state()] * 2, 5)
            assert batch.observs.shape == (2, *env.obs_shape)
            assert not np.array_equal(*batch.observs)

    def test_a_class_or_a_callable(self):
        for name in (CartPoleEnv, lambda render_mode=None: CartPoleEnv(render_mode=render_mode)):
            with PlangymEnv(name) as env:
                assert env.img_shape == (400, 600, 3)
        assert PlangymEnv(CartPoleEnv).name == "CartPoleEnv"


def test_nested_observations_come_as_columns():
    with make(Fleet) as env:
        assert not env.OBS_IS_ARRAY
        batch = env.step_batch([[0, 1], [1, 0]], [env.get_state()] * 2)
        assert batch.observs["ships"].shape == (2, 4)
        assert batch.observs["ships"].dtype == np.int64
        assert isinstance(batch.observs["says"], tuple)


class TestStates:
    def test_fixed_size_and_zero_padded(self):
        with PlangymEnv("Blackjack-v1") as env:
            sizes = set()
            for _ in range(20):
                state = env.get_state()
                sizes.add(state.shape)
                env.step(env.sample_action())
            assert len(sizes) == 1
            assert state.dtype == np.uint8
            assert state[-1] == 0

    def test_every_object_finds_the_same_size(self):
        shapes = {PlangymEnv("Blackjack-v1").batch_spec.state_shape for _ in range(3)}
        assert len(shapes) == 1

    def test_one_that_does_not_fit_says_what_to_do(self):
        with pytest.raises(InvalidStateError, match="state_capacity=100"):
            PlangymEnv("Blackjack-v1", state_capacity=100).get_state()

    def test_a_capacity_of_your_own(self):
        with PlangymEnv("Blackjack-v1", state_capacity=4000) as env:
            assert env.get_state().shape == (4000,)

    def test_opaque_ones_are_as_long_as_they_need(self):
        with PlangymEnv("Blackjack-v1", array_state=False) as env:
            assert isinstance(env.get_state(), bytes)
            batch = env.step_batch([0, 1], [env.get_state()] * 2)
            assert batch.states.dtype == object

    @pytest.mark.parametrize("damage", [slice(0, 4), slice(4, 60), slice(8, 200)])
    def test_a_damaged_one_is_refused(self, damage):
        with PlangymEnv("Blackjack-v1") as env:
            state = env.get_state()
            state[damage] = 255
            with pytest.raises(InvalidStateError, match="not a state of"):
                env.set_state(state)

    def test_clone_seeds_false_samples(self):
        with PlangymEnv("Blackjack-v1", clone_seeds=False) as env:
            env.reset(seed=0)
            batch = env.step_batch([1] * 30, [env.get_state()] * 30)
            assert len({int(hand) for hand in batch.observs[0]}) > 3


def test_engine_kwargs_reach_the_engine():
    with PlangymEnv("FrozenLake-v1", is_slippery=False) as env:
        env.reset(seed=0)
        assert env.step(2).obs == 1
    with make(Fleet, size=6) as env:
        assert env.action_shape == (2,)
        assert env.observation_space["ships"].shape == (6,)


def test_arrays_handed_out_are_copies():
    """Some environments hand out the very array that they go on changing."""

    class Live(gym.Env):
        observation_space = spaces.Box(-9, 9, (2,), np.float32)
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.position = np.zeros(2, np.float32)
            return self.position, {}

        def step(self, action):
            self.position += 1
            return self.position, 0.0, False, False, {}

    with make(Live) as env:
        first = env.reset()[1]
        env.step(0)
        assert first.tolist() == [0, 0]


def test_grayscale_is_luma():
    image = np.zeros((1, 3, 3), np.uint8)
    image[0] = np.eye(3) * 255
    assert to_grayscale(image).tolist() == [[76, 150, 29]]


def test_the_info_of_a_reset_comes_back():
    with PlangymEnv("Taxi-v4", render_mode=None) as env:
        assert "action_mask" in env.reset()[2]
        assert_same(env.reset(seed=4)[2], env.reset(seed=4)[2])


class Consuming(gym.Env):
    """Uses its action up."""

    observation_space = spaces.Box(-99, 99, (2,), np.float64)

    def __init__(self, nested=False):
        box = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Dict({"push": box}) if nested else box
        self.nested = nested

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.zeros(2)
        return self.place.copy(), {}

    def step(self, action):
        push = action["push"] if self.nested else action
        self.place = self.place + push
        push *= 0
        return self.place.copy(), float(self.place.sum()), False, False, {}


@pytest.mark.parametrize("nested", [False, True])
def test_an_environment_may_change_its_action(nested):
    push = np.full(2, 0.5, np.float32)
    actions = {"push": push} if nested else push
    with make(lambda: Consuming(nested)) as env:
        state, *_ = env.reset(seed=0)
        for _ in range(2):
            assert env.step(actions, state).obs.tolist() == [0.5, 0.5]
            assert env.step_batch([actions] * 2, [state] * 2).observs.tolist() == [[0.5, 0.5]] * 2
            assert push.tolist() == [0.5, 0.5]

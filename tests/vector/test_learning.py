"""Algorithms of stable-baselines3 train on our SubprocVecEnv. Skipped where it is not installed."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import SubprocVecEnv, make

pytest.importorskip("stable_baselines3")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # theirs, and torch's
]

cart_pole = partial(gym.make, "CartPole-v1")


class Masked(gym.Env):
    """Only the action that the observation shows is allowed."""

    observation_space = gym.spaces.Box(0, 1, (4,), np.float32)
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        return self._draw(), {}

    def _draw(self):
        self.allowed = self.np_random.integers(4)
        return np.eye(4, dtype=np.float32)[self.allowed]

    def action_masks(self):
        return np.arange(4) == self.allowed

    def step(self, action):
        assert action == self.allowed, "a masked action was taken"
        self.left -= 1
        return self._draw(), 1.0, False, self.left == 0, {}


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only lose by several."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["plain", "PlanEnv"])
def env(request):
    made = cart_pole if request.param == "plain" else partial(make, "CartPole-v1")
    with SubprocVecEnv([made] * 2) as env:
        yield env


def test_ppo_with_vec_normalize_and_vec_frame_stack(env):
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecNormalize

    stacked = VecFrameStack(VecNormalize(VecMonitor(env)), 3)
    model = PPO("MlpPolicy", stacked, n_steps=64, batch_size=64, n_epochs=2, seed=0)
    model.learn(1000)
    assert model.num_timesteps >= 1000
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    assert len(lengths) > 5
    assert all(8 <= length <= 500 for length in lengths)
    actions, _ = model.predict(stacked.reset())
    assert stacked.step(actions)[0].shape == (2, 12)


def test_the_same_training_as_on_their_own():
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    def weights(env):
        model = PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=2, seed=1, device="cpu")
        model.learn(512)
        return [value.detach().numpy().copy() for value in model.policy.parameters()]

    expected = weights(DummyVecEnv([cart_pole] * 2))
    with SubprocVecEnv([cart_pole] * 2) as env:
        got = weights(env)
    assert all(np.array_equal(*pair) for pair in zip(expected, got, strict=True))


def test_dqn(env):
    from stable_baselines3 import DQN

    model = DQN("MlpPolicy", env, learning_starts=100, buffer_size=2000, train_freq=4, seed=0)
    model.learn(1200)
    assert model.num_timesteps >= 1200
    assert model.replay_buffer.dones.sum() > 5


def test_maskable_ppo():
    contrib = pytest.importorskip("sb3_contrib")
    with SubprocVecEnv([Masked] * 2) as env:
        assert env.has_attr("action_masks")
        model = contrib.MaskablePPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=0)
        model.learn(512)
        assert model.num_timesteps >= 512


def test_infos_are_those_of_their_own_vector_environments():
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    def watched():
        return Monitor(gym.make("CartPole-v1", max_episode_steps=15))

    theirs = DummyVecEnv([watched] * 2)
    with SubprocVecEnv([watched] * 2) as env:
        for each in (theirs, env):
            each.seed(3)
        assert np.array_equal(theirs.reset(), env.reset())
        for _ in range(60):
            ours, other = env.step([0, 1]), theirs.step([0, 1])
            for one, two in zip(ours[:3], other[:3], strict=True):
                assert np.array_equal(one, two)
            for one, two in zip(ours[3], other[3], strict=True):
                assert one.keys() == two.keys()
                for key in set(one) - {"episode"}:
                    assert np.array_equal(one[key], two[key])
                if "episode" in one:
                    assert all(one["episode"][key] == two["episode"][key] for key in "rl")
            assert env.reset_infos == theirs.reset_infos

"""A small honest adapter of plain environments, to be broken on purpose; and games for it."""

import copy
import os
import pickle

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from plangym_lite.simulator import RUNNING, SimulatorEnv

SHORT = {"depths": (0, 5), "length": 12, "reach": 20}
WIDE = spaces.Box(-1e9, 1e9, (2,), np.float64)


class Holder(SimulatorEnv):
    """Saves the attributes of all layers as a pickle, but for those that have none."""

    STATE_IS_ARRAY = False

    def __init__(self, build, frameskip=1):
        self._build = build
        super().__init__("held", frameskip)

    def make_plain(self):
        return self._build()

    def build_engine(self):
        self.env = layer = self._build()
        self.layers = [layer]
        while isinstance(layer, gym.Wrapper):
            layer = layer.env
            self.layers.append(layer)
        self.action_space = self.env.action_space
        self.observation_space = self.env.observation_space
        self._obs = None

    def close_engine(self):
        self.env.close()

    def apply_reset(self, seed, options):
        self._obs, info = self.env.reset(seed=seed, options=options)
        return copy.deepcopy(info)

    def advance(self, action, n_frames):
        total, n_step, over = 0.0, 0, False
        while n_step < n_frames and not over:
            self._obs, reward, terminated, truncated, info = self.env.step(action)
            total, n_step, over = total + reward, n_step + 1, terminated or truncated
        return total, terminated, truncated, {**copy.deepcopy(info), "n_step": n_step}

    def current_obs(self):
        return np.array(self._obs)

    def attributes(self, layer):
        left_out = "env", "observation_space", "action_space"
        return {k: v for k, v in vars(layer).items() if k not in left_out and not callable(v)}

    def save_state(self, out=None):
        layers = [self.attributes(layer) for layer in self.layers]
        return pickle.dumps((self._ended, self._obs, layers))

    def load_state(self, state):
        self._ended, self._obs, layers = pickle.loads(state)
        for layer, attributes in zip(self.layers, layers, strict=True):
            vars(layer).update(attributes)

    def touch(self):
        """Restore what was saved, as a verification might."""
        self.load_state(self.save_state())
        self._ended = RUNNING


class Walk(gym.Env):
    """A walk with a bit of chance; its info has arrays of its own, at some depth."""

    observation_space, action_space = WIDE, spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.time = int(self.np_random.integers(5)), 0
        self.board = np.zeros(3)
        return self.look(), {"board": self.board}

    def look(self):
        return np.array([self.cell, self.time], np.float64)

    def step(self, action):
        self.cell += int(action) - 1 + int(self.np_random.random() < 0.3)
        self.time += 1
        self.board[action] += 1
        info = {"board": self.board, "deep": {"rows": [self.board], "time": self.time}}
        return self.look(), 0.1 * self.cell, self.time >= 17, False, info


class Doubled(gym.ObservationWrapper):
    """What is seen, twice as large."""

    def observation(self, observation):
        return 2 * observation


class Counted(gym.Wrapper):
    """Shows how many steps and resets there have been, as statistics do."""

    def __init__(self, env):
        super().__init__(env)
        self.count = 0

    def reset(self, **kwargs):
        obs, info = self.env.reset(**kwargs)
        return self.shown(obs), info

    def step(self, action):
        obs, *rest = self.env.step(action)
        return self.shown(obs), *rest

    def shown(self, obs):
        self.count += 1
        return obs + 1000 * self.count


class Body(gym.Env):
    """Parts of one state vector, named once."""

    observation_space, action_space = spaces.Box(-1e9, 1e9, (4,), np.float64), spaces.Discrete(3)

    def __init__(self):
        self.all = np.zeros(4)
        self.place, self.speed = self.all[:2], self.all[2:]

    def reset(self, *, seed=None, options=None):
        self.all[:] = 0
        return self.all.copy(), {}

    def step(self, action):
        self.speed += int(action) - 1
        self.place += self.speed
        return self.all.copy(), 0.0, False, False, {}


class Noisy(Walk):
    """A byte of noise in each observation, beside what it shows of a state in a closure."""

    def __init__(self, shows=True, rewards=True):
        self.shows, self.rewards = shows, rewards

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        n = 0

        def move(action):
            nonlocal n
            n += int(action)
            return n

        self.move = move
        return self.see(0), {}

    def see(self, n):
        return np.array([n if self.shows else 0, os.urandom(1)[0]], np.float64)

    def step(self, action):
        n = self.move(action)
        return self.see(n), float(n) if self.rewards else 1.0, False, False, {}


class Dice(gym.Env):
    """Draws from numpy's global generator."""

    observation_space, action_space = spaces.Box(0, 1, (1,), np.float64), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.random.random(1), {}

    def step(self, action):
        return np.random.random(1), 0.0, False, False, {}


class Pushed(gym.Env):
    """Takes a force, float32 by its space, and shows it with all its bits."""

    observation_space = spaces.Box(-1e9, 1e9, (1,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.place = 0.0
        return np.zeros(1), {}

    def step(self, action):
        self.place += float(action[0])
        return np.full(1, self.place), self.place, False, False, {}

"""Toys that fail, hang or end their process; with other states, observations and actions."""

import os
import time

import numpy as np
from gymnasium import spaces

from plangym_lite.errors import InvalidStateError
from plangym_lite.testing import toy
from plangym_lite.testing.toy import LEFT, RANDOM, RIGHT, STATE_SIZE, STAY

__all__ = ["LEFT", "RANDOM", "RIGHT", "STAY", "ContinuousToy", "NestedToy", "OpaqueToy", "ToyEnv"]


class ToyError(Exception):
    """Raised by :class:`ToyEnv` for the action ``fail_at``."""


class ToyEnv(toy.ToyEnv):
    """The toy of the package, with faults.

    Args:
        fail_at: this action raises :class:`ToyError`.
        sleep_at: this action takes ``sleep_for`` seconds.
        exit_at: this action ends the process, like a crash of the simulator.
        trouble_once: path of a file; the three faults above happen only if it does not exist, and
            create it, so that they happen once.
    """

    def __init__(
        self,
        name="toy",
        frameskip=1,
        autoreset=True,
        delay_setup=False,
        return_image=False,
        *,
        fail_at=None,
        sleep_at=None,
        sleep_for=1.0,
        exit_at=None,
        trouble_once=None,
        **toy_args,
    ):
        self._fail_at, self._sleep_at, self._exit_at = fail_at, sleep_at, exit_at
        self._sleep_for, self._trouble_once = sleep_for, trouble_once
        super().__init__(name, frameskip, autoreset, delay_setup, return_image, **toy_args)

    def advance(self, action, n_frames):
        go, self._way = self._decode(action)
        self._make_trouble(go)
        return super().advance(go, n_frames)

    def _decode(self, action):
        """``LEFT``, ``STAY`` or ``RIGHT``, and the number of cells to the right."""
        return int(action), int(action) - 1

    def _move(self, way):
        return super()._move(self._way)

    def _make_trouble(self, action):
        if action not in (self._fail_at, self._sleep_at, self._exit_at):
            return
        if self._trouble_once is not None:
            if os.path.exists(self._trouble_once):
                return
            with open(self._trouble_once, "w"):
                pass
        if action == self._fail_at:
            raise ToyError(f"{self!r} fails at action {action}, as it was told to")
        if action == self._exit_at:
            os._exit(3)
        time.sleep(self._sleep_for)


class OpaqueToy(ToyEnv):
    """A toy whose states are tuples, opaque picklable values."""

    STATE_IS_ARRAY = False

    def save_state(self, out=None):
        return self._ended, self._cell, self._elapsed, self._random

    def load_state(self, state):
        if not isinstance(state, tuple) or len(state) != STATE_SIZE:
            raise InvalidStateError(f"not a state of {self!r}: {state!r}")
        super().load_state(state)


class NestedToy(ToyEnv):
    """A toy with nested observations and actions."""

    OBS_IS_ARRAY = False

    def build_engine(self):
        super().build_engine()
        walls = spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(2)))
        self.observation_space = spaces.Dict(
            {"place": spaces.Box(0, self.size, (1,), np.float64), "walls": walls}
        )
        self.action_space = spaces.Dict({"go": spaces.Discrete(3), "pace": spaces.Discrete(2)})

    def current_obs(self):
        near, far = self._cell <= 1, self._cell >= self.size - 2
        walls = np.int64(near or far), np.array([near, far], np.int8)
        return {"place": np.array([self._cell], np.float64), "walls": walls}

    def _decode(self, action):
        go = int(action["go"])
        return go, (go - 1) * (1 + int(action["pace"]))


class ContinuousToy(ToyEnv):
    """A toy whose action is one number: below -1/3 it goes left, above 1/3 right."""

    def build_engine(self):
        super().build_engine()
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def _decode(self, action):
        way = int(action[0] > 1 / 3) - int(action[0] < -1 / 3)
        return way + 1, way

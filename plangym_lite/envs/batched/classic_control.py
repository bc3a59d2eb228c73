"""Classic control: CartPole, Acrobot, MountainCar, Pendulum. A state is about twenty float64.

::

    ended | elapsed steps | float32? | extra given? | extra | generator (10 words) | variables

``extra`` is CartPole's ``steps_beyond_terminated`` or Pendulum's ``last_u``, a float64 if the
action was one (``extra given?`` is 2). The dtype of the variables matters: Acrobot is float32
before its first step, continuous MountainCar afterwards.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from plangym_lite.envs.batched.classic_kernels import GIVEN, GIVEN_DOUBLE, KERNELS
from plangym_lite.envs.batched.env import KernelEnv
from plangym_lite.envs.batched.kernel import Block, put_side_by_side
from plangym_lite.envs.generators.generator import GENERATOR_WORDS, GeneratorMemory
from plangym_lite.errors import InvalidStateError

__all__ = ["ClassicControl"]

ENDED, ELAPSED, FLOAT32, HAS_EXTRA, EXTRA = range(5)
GENERATOR = slice(EXTRA + 1, EXTRA + 1 + GENERATOR_WORDS)
VARIABLES = GENERATOR.stop
EXTRA_NAMES = {"CartPoleEnv": "steps_beyond_terminated", "PendulumEnv": "last_u"}
EXTRA_TYPES = {"CartPoleEnv": int, "PendulumEnv": np.float32}
GIVENS = (0, GIVEN, GIVEN_DOUBLE)
MOST = np.array([[3], [1], [GIVEN_DOUBLE]])  # of ended, float32?, extra given?
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
MODULE = "gymnasium.envs.classic_control."


class ClassicControl(KernelEnv):
    """Gymnasium's classic control environments.

    Subclasses and user wrappers are saved by the generic snapshot instead.
    """

    STATES_NAME: ClassVar[str] = "ClassicControl"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read

    def adopt_layers(self) -> None:
        base = type(self._base)
        self._limits: list[Any] = [
            layer for layer in self._layers if isinstance(layer, gym.wrappers.TimeLimit)
        ]
        self._is_plain = (
            self.STATE_IS_ARRAY
            and base.__module__.startswith(MODULE)
            and self.surrounded_only_by(gym.wrappers.TimeLimit)
            and len(self._limits) < 2
        )
        kernel = KERNELS.get(base.__name__) if self._is_plain else None
        self.use_kernel(None if kernel is None else kernel(self._base), self._limits)
        self._extra_name = EXTRA_NAMES.get(base.__name__)
        self._extra_type = EXTRA_TYPES.get(base.__name__)
        self._generator = GeneratorMemory(GENERATOR.start)

    # ---- all rows of a batch at once -----------------------------------------------------------

    def take_apart(self, states: np.ndarray, out: np.ndarray | None = None) -> Block | None:
        columns = np.ascontiguousarray(states.T)
        flags = columns[[ENDED, FLOAT32, HAS_EXTRA]]
        if not ((flags >= 0) & (flags <= MOST) & (flags == np.floor(flags))).all():
            return None
        ended, elapsed = columns[[ENDED, ELAPSED]].astype(np.int64)
        return Block(ended, elapsed, [*columns[FLOAT32 : EXTRA + 1], *columns[VARIABLES:]])

    def put_together(self, block: Block, states: np.ndarray, out: np.ndarray) -> None:
        out[:, GENERATOR] = states[:, GENERATOR] if self.clone_seeds else 0
        out[:, ENDED] = block.ended
        out[:, ELAPSED] = block.elapsed if self._limits else 0
        put_side_by_side(out[:, FLOAT32:], block.parts[:3])
        put_side_by_side(out[:, VARIABLES:], block.parts[3:])

    def generator_words(self, states: np.ndarray) -> np.ndarray:
        return states[:, GENERATOR]

    def random_states(self, draw: np.random.Generator, n_rows: int) -> np.ndarray:
        kernel: Any = self._kernel
        states = np.tile(self.save_state(), (n_rows, 1))
        states[:, : GENERATOR.start] = 0
        states[:, VARIABLES:] = draw.uniform(-1, 1, (n_rows, len(kernel.scales))) * kernel.scales
        if kernel.may_be_single:
            states[::2, FLOAT32] = 1
            states[::2, VARIABLES:] = states[::2, VARIABLES:].astype(SINGLE)
        return states

    # ---- the state -----------------------------------------------------------------------------

    def save_state(self, out: np.ndarray | None = None) -> Any:
        if not self._is_plain:
            return super().save_state(out)
        variables = self._base.state
        if out is None:
            out = np.empty(VARIABLES + len(variables))
        extra = getattr(self._base, self._extra_name, None) if self._extra_name else None
        out[ENDED] = self._ended
        out[ELAPSED] = self._limits[0]._elapsed_steps if self._limits else 0
        out[FLOAT32] = getattr(variables, "dtype", DOUBLE).char == SINGLE.char
        out[HAS_EXTRA] = (
            0 if extra is None else GIVEN_DOUBLE if type(extra) is np.float64 else GIVEN
        )
        out[EXTRA] = extra or 0
        if self.clone_seeds:
            self._generator.save(self._base.np_random, out)
        else:
            out[GENERATOR] = 0
        out[VARIABLES:] = variables
        return out

    def load_state(self, state: Any) -> None:
        if not self._is_plain:
            super().load_state(state)
            return
        ended, elapsed, float32, has_extra, extra = state[: GENERATOR.start].tolist()
        if ended not in (0, 1, 2, 3) or float32 not in (0, 1) or has_extra not in GIVENS:
            raise InvalidStateError(f"not a state of {self!r}: its first numbers are {state[:4]}")
        self._ended = int(ended)
        if self._limits:
            self._limits[0]._elapsed_steps = int(elapsed)
        self._base.state = state[VARIABLES:].astype(SINGLE if float32 else DOUBLE)
        if self._extra_name and self._extra_type:
            kind = np.float64 if has_extra == GIVEN_DOUBLE else self._extra_type
            setattr(self._base, self._extra_name, kind(extra) if has_extra else None)
        if self.clone_seeds:
            self._generator.load(state, self._base.np_random)

    def current_info(self) -> dict[str, Any]:
        return {} if self._is_plain else super().current_info()

    def current_obs(self) -> Any:
        if self.obs_type != "coords" or not self._is_plain:
            return super().current_obs()
        for name in ("_get_obs", "_get_ob"):
            if hasattr(self._base, name):
                return getattr(self._base, name)()
        return np.array(self._base.state, np.float32)

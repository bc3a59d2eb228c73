"""MujocoEnv: environments built on Gymnasium's ``MujocoEnv``: v4, v5 and subclasses.

A state is float64, 0.4 to 4.5 KB::

    ended | elapsed steps | tag | generator (10 words) | attributes
    | info (``infos.py``) | simulation (``slim.py``)

The tag distinguishes the states of different models and frame skips. A user's subclass, or an
environment in a user's wrappers, is saved by the generic snapshot, which includes the simulation;
such a state is uint8.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np

from plangym_lite.envs.batched.env import KernelEnv
from plangym_lite.envs.batched.kernel import Block, all_among
from plangym_lite.envs.generators.generator import GENERATOR_WORDS, GeneratorMemory
from plangym_lite.envs.gymnasium.env import STATELESS_WRAPPERS
from plangym_lite.envs.gymnasium.window import DISPLAYS
from plangym_lite.envs.mujoco.infos import InfoMemory, shapes_of
from plangym_lite.envs.mujoco.kernels import KERNELS
from plangym_lite.envs.mujoco.physics import HasPhysics
from plangym_lite.envs.mujoco.rendering import first_picture
from plangym_lite.envs.mujoco.slim import SlimMemory, examine
from plangym_lite.envs.snapshot.mjdata import changed_fields, copy_of_model, model_tag
from plangym_lite.errors import InvalidStateError
from plangym_lite.nested import copy_element
from plangym_lite.simulator import RUNNING
from plangym_lite.transitions import Columns

__all__ = ["MujocoEnv"]

ENDED, ELAPSED, TAG = range(3)
ENDS = range(4)  # combinations of TERMINATED and TRUNCATED
GENERATOR = slice(TAG + 1, TAG + 1 + GENERATOR_WORDS)
ATTRIBUTES = GENERATOR.stop
OWN_MODULES = "gymnasium.envs.mujoco."
PROBE_SEEDS = (0, 1, 2)
PROBE_STEPS = 3


class MujocoEnv(HasPhysics, KernelEnv):
    """A Gymnasium MuJoCo environment.

    Images need OpenGL: set ``MUJOCO_GL=egl`` (or ``osmesa``) on a machine without a display.
    """

    STATES_NAME: ClassVar[str] = "MujocoEnv"
    DISPLAYS: ClassVar[tuple[str, ...]] = DISPLAYS  # its windows are not of SDL
    LAYOUT: ClassVar[int] = 3  # version of the states; raised when older ones cannot be read
    _probed: Any = None  # what ``_probe`` found, here or in another environment of the recipe

    # ---- building -----------------------------------------------------------------------------

    def adopt_layers(self) -> None:
        base = self._base
        self._is_plain = (
            self.STATE_IS_ARRAY
            and type(base).__module__.startswith(OWN_MODULES)
            and self.surrounded_only_by(gym.wrappers.TimeLimit)
        )
        self._limits: list[Any] = [
            layer for layer in self._layers if isinstance(layer, gym.wrappers.TimeLimit)
        ]
        self._camera: Any = None
        if not self._is_plain:
            self.use_kernel(None, [])
            return
        self._generator = GeneratorMemory(GENERATOR.start)
        self._probed = self._probed or self._probe()
        attributes, examined, changed, infos = self._probed
        if examined is None or changed or None in infos:
            # it does more than step, or tells more than numbers: the snapshot saves all of it
            self._is_plain = False
            self.use_kernel(None, [])
            return
        label = f"{type(base).__module__}.{type(base).__qualname__} {base.frame_skip}"
        self._tag = model_tag(base.model, label)
        self._memory = SlimMemory(base, *examined)
        self._parts: list[tuple[str, slice, Any]] = []  # of attributes that change
        start = ATTRIBUTES
        for name, value in attributes.items():
            self._parts.append((name, slice(start, start + np.size(value)), value))
            start += np.size(value)
        self._infos = InfoMemory(infos)
        self._info_part = slice(start, start + self._infos.size)
        self._info_row = np.zeros(self._infos.size)  # if ``_info`` is ``None``
        start = self._info_part.stop
        self._simulation_part = slice(start, start + self._memory.size)
        self._obs: Any = None
        kernel = KERNELS.get(label.partition(" ")[0])
        self.use_kernel(kernel(base, self._memory) if kernel else None, self._limits)

    def _probe(self) -> tuple[dict[str, Any], Any, tuple[str, ...], list[Any]]:
        """Run some steps; return the base's numeric attributes that change, what :func:`examine`
        finds, model arrays that change, and the shapes of infos.

        The base is stepped directly, so that wrappers keep no trace of it.
        """
        base = env = self._base
        actions = np.random.default_rng(0)
        shape, dtype = env.action_space.shape, env.action_space.dtype
        env.reset(seed=PROBE_SEEDS[0])
        model, first = copy_of_model(base.model), _numbers_of(base)
        changed: dict[str, Any] = {}
        infos: list[Any] = []
        for seed in PROBE_SEEDS:
            infos.append(env.reset(seed=seed)[1])
            for _ in range(PROBE_STEPS):
                infos.append(env.step(actions.uniform(-1, 1, shape).astype(dtype))[-1])
                for name, value in _numbers_of(base).items():
                    if name not in first or not np.array_equal(first[name], value):
                        changed[name] = value
        shapes = list({tuple(info): shapes_of(info) for info in infos}.values())
        return changed, examine(base), changed_fields(base.model, model), shapes

    # ---- many rows at once --------------------------------------------------------------------

    def tell_ended(self, state: Any, info: dict[str, Any], out: Columns, row: int) -> Any:
        if self._memory.shows_derived and out.form.observs is not None:
            self._borrow_engine()
            self.load_state(state)
            out.observs[row, ...] = self.current_obs()
        before = self._infos.load(state[self._info_part])
        return {**before, "n_step": info["n_step"], "dt": info["dt"]}

    def take_apart(self, states: np.ndarray, out: np.ndarray | None = None) -> Block | None:
        ended, elapsed, tags = states[:, : GENERATOR.start].T
        has_ended = np.count_nonzero(ended)
        if np.count_nonzero(tags != self._tag) or (has_ended and not all_among(ended, ENDS)):
            return None
        self._memory.check(self._base.data)
        kernel: Any = self._kernel
        kernel.room = None
        if out is not None:
            kernel.room, head = out[:, self._simulation_part], slice(self._info_part.start)
            out[:, head] = states[:, head]  # here, before the physics fills the cache
        memory = states[:, self._simulation_part]
        parts = kernel.parts_of(memory) if has_ended else [memory]
        return Block(ended.astype(np.int64), elapsed.astype(np.int64), parts, is_own=False)

    def put_together(self, block: Block, states: np.ndarray, out: np.ndarray) -> None:
        out[:, ENDED] = block.ended
        out[:, ELAPSED] = block.elapsed if self._limits else 0
        if not self.clone_seeds:
            out[:, GENERATOR] = 0
        if not np.may_share_memory(block.parts[0], out):  # else it was written there
            out[:, self._simulation_part] = block.parts[0]
        self._infos.save_columns(block.told, out[:, self._info_part])
        if np.count_nonzero(states[:, ENDED]):
            had_ended = np.flatnonzero(states[:, ENDED])
            out[had_ended, self._info_part] = states[had_ended, self._info_part]

    def generator_words(self, states: np.ndarray) -> np.ndarray:
        return states[:, GENERATOR]

    def random_states(self, draw: np.random.Generator, n_rows: int) -> np.ndarray:
        states = np.empty((n_rows, self._simulation_part.stop))
        low, high = self._base.model.actuator_ctrlrange.T
        for state in states:
            self._base.do_simulation(draw.uniform(low, high), self._base.frame_skip)
            self._ended = RUNNING
            self.save_state(state)
        return states

    # ---- observations and images --------------------------------------------------------------

    @property
    def gym_env(self) -> gym.Env:
        env = super().gym_env
        if self._is_plain:
            self._memory.derive()
        return env

    def current_obs(self) -> Any:
        if self._is_plain and self._obs is None:
            if self._memory.shows_derived:
                self._memory.derive()
            self._obs = self._base._get_obs()
        if self._is_plain and self.obs_type == "coords":
            return copy_element(self._own_space, self._obs)
        return super().current_obs()

    def current_info(self) -> dict[str, Any]:
        if self._is_plain and self._info is None:
            return self._infos.load(self._info_row)
        return super().current_info()

    def write_obs(self, out: np.ndarray) -> None:
        if self._is_plain and self.obs_type == "coords" and self._obs is not None:
            out[...] = self._obs
        else:
            out[...] = self.current_obs()

    def draw_image(self) -> np.ndarray:
        if self._is_plain:
            self._memory.derive()
        if self._replayed is not None:
            return first_picture(super().draw_image)
        if self._camera is None and self.render_mode == "rgb_array":
            first_picture(super().draw_image)  # a renderer's first image differs from later ones
            self._camera = self._base.mujoco_renderer.viewer.cam
            self._lookat = _middle_of(self._base)
        if self._camera is not None:
            self._aim()
        return super().draw_image()

    def _aim(self) -> None:
        """Aim the camera by the state; Gymnasium aims it by the state of the first image."""
        camera = self._camera
        if camera.type == mujoco.mjtCamera.mjCAMERA_TRACKING:
            camera.lookat[:] = self._base.data.subtree_com[camera.trackbodyid]
        elif "lookat" not in (self._base.mujoco_renderer.default_cam_config or {}):
            camera.lookat[:] = self._lookat

    # ---- the state ----------------------------------------------------------------------------

    def save_state(self, out: np.ndarray | None = None) -> Any:
        if not self._is_plain:
            return super().save_state(out)
        if out is None:
            out = np.empty(self._simulation_part.stop)
        base = self._base
        self._memory.check(base.data)
        out[ENDED], out[TAG] = self._ended, self._tag
        out[ELAPSED] = self._limits[0]._elapsed_steps if self._limits else 0
        if self.clone_seeds:
            self._generator.save(base.np_random, out)
        else:
            out[GENERATOR] = 0
        for name, part, _ in self._parts:
            out[part] = np.ravel(getattr(base, name))
        if self._info is None:
            out[self._info_part] = self._info_row
        else:
            told = self._info.copy()
            told.pop("n_step", None)
            self._infos.save(told, out[self._info_part])
        self._memory.save(out[self._simulation_part])
        return out

    def load_state(self, state: Any) -> None:
        if not self._is_plain:
            super().load_state(state)
            return
        state = np.array(state)  # parts of it are kept
        ended, elapsed, tag = state[: GENERATOR.start].tolist()
        if tag != self._tag or ended not in ENDS:
            raise InvalidStateError(
                f"not a state of {self!r}: it is of another model or frame_skip"
            )
        self._memory.check(self._base.data)
        self._ended = int(ended)
        if self._limits:
            self._limits[0]._elapsed_steps = int(elapsed)
        if self.clone_seeds:
            self._generator.load(state, self._base.np_random)
        for name, part, like in self._parts:
            if isinstance(like, np.ndarray):
                value = state[part].astype(like.dtype).reshape(like.shape)
            else:
                value = type(like)(state[part.start])
            setattr(self._base, name, value)
        self._memory.load(state[self._simulation_part])
        self._info_row = state[self._info_part]
        self._obs = self._info = None

    def load_current(self, state: Any) -> None:
        super().load_current(state)
        if self._is_plain:
            self._memory.derive()  # whoever holds the simulation sees all of the current state

    # ---- the physics --------------------------------------------------------------------------

    def simulation(self) -> tuple[Any, Any]:
        base: Any = self._base if self._replayed is None else self._replayed.live_env.unwrapped
        return base.model, base.data

    def physics_changed(self) -> None:
        known = (*STATELESS_WRAPPERS, gym.wrappers.TimeLimit)
        looks = getattr(self._base, "_get_obs", None)
        if self._replayed is not None:
            raise NotImplementedError(f"{self!r}: its states are seeds and actions")
        if looks is None or not all(type(layer) in known for layer in self._layers[:-1]):
            raise NotImplementedError(f"{self!r}: only a step can make its observations")
        self._obs = looks()

    def integration_of(self, states: Any) -> np.ndarray:
        rows = np.asarray(states)
        if not self._is_plain or (rows[:, TAG] != self._tag).any():
            return super().integration_of(states)
        return rows[:, self._simulation_part][:, self._memory.integration].copy()

    def describe_states(self) -> str:
        described = super().describe_states()
        return f"{described} model={int(self._tag):08x}" if self._is_plain else described


def _middle_of(base: Any) -> np.ndarray:
    """The centre of the model in its initial pose."""
    data = mujoco.MjData(base.model)
    mujoco.mj_kinematics(base.model, data)
    return np.median(data.geom_xpos, axis=0)


def _numbers_of(base: Any) -> dict[str, Any]:
    """The numeric attributes of an environment, as copies."""
    return {
        name: np.array(value) if isinstance(value, np.ndarray) else value
        for name, value in vars(base).items()
        if isinstance(value, (bool, int, float, np.number, np.ndarray))
        and name != "_np_random_seed"  # only reported, never used
        and np.asarray(value).dtype.kind in "fiub"
    }

"""DMControlEnv: the tasks of the DeepMind Control Suite.

A state is uint8, 4 KB and more::

    tag, ended, steps, reset next, sub-steps | generator | task's attributes (a pickle) | simulation

dm_control begins a step with the contacts of the last one, so they are recomputed when a state is
restored; other arrays that ``mj_forward`` changes are restored afterwards. The simulation of a task
that has a kernel is saved in few numbers (``memory.py``), that of the others as a whole. Rows of a
batch whose task and model have the same attributes are stepped at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from plangym_lite.envs.batched.env import HasKernel
from plangym_lite.envs.batched.kernel import Block
from plangym_lite.envs.generators.generator import RandomMemory
from plangym_lite.envs.generators.seeding import bytes_of_seed, seed_all
from plangym_lite.envs.gymnasium.stack import to_grayscale
from plangym_lite.envs.gymnasium.window import Window
from plangym_lite.envs.mujoco.dm_control.kernels import KERNELS
from plangym_lite.envs.mujoco.dm_control.memory import (
    WORD,
    PhysicsMemory,
    StateColumns,
    TaskMemory,
)
from plangym_lite.envs.mujoco.dm_control.tasks import (
    TameBox,
    changing_fields,
    check_images,
    find_task,
    looking_away,
    step_of,
    suite,
    upload_terrain,
)
from plangym_lite.envs.mujoco.physics import HasPhysics
from plangym_lite.envs.mujoco.rendering import first_picture
from plangym_lite.envs.snapshot.mjdata import SimulationMemory, model_tag
from plangym_lite.errors import InvalidStateError
from plangym_lite.simulator import RUNNING, TERMINATED, TRUNCATED
from plangym_lite.stable import digest_of
from plangym_lite.transitions import Columns

__all__ = ["DMControlEnv"]

ALWAYS_CHANGED = {"lqr": ("jnt_stiffness",)}  # randomised when the model is made
GENERATOR = slice(40, 40 + RandomMemory.NBYTES)
EPISODE = 32  # rows of random states


class DMControlEnv(HasPhysics, HasKernel):
    """A task of the DeepMind Control Suite.

    Args:
        name: ``"cartpole-balance"`` or shimmy's ``"dm_control/cartpole-balance-v0"``.
        frameskip: control steps for each unit of ``dt``.
        autoreset: see :class:`~plangym_lite.simulator.SimulatorEnv`.
        delay_setup: build at first use.
        domain_name: with ``task_name`` instead of ``name``.
        task_name: see ``domain_name``.
        remove_time_limit: continue after the suite's limit (1000 steps in most tasks).
        render_mode: ``"rgb_array"``, ``None``, or ``"human"``: ``render()`` shows the image in a
            window (which needs pygame and a display) and returns ``None``.
        obs_type: ``"coords"``, the task's observations, flat; or ``"rgb"``, ``"grayscale"``.
        return_image: put the image after each step in ``info["rgb"]``.
        clone_seeds: whether the task's generator is part of the state.
        render_kwargs: for ``physics.render``: ``height``, ``width``, ``camera_id`` and others.
        task_kwargs: for the task; ``random=0`` unless given, so that models with random parts are
            the same everywhere (episodes are not: the generator is seeded again afterwards).
        environment_kwargs: for dm_control's environment.
        visualize_reward: colour bodies by reward.
        wrappers: must be empty: these are not Gymnasium environments.
        state_method: must be ``None``, for the same reason.
        certify: has no effect.
    """

    STATES_NAME: ClassVar[str] = "DMControlEnv"
    LAYOUT: ClassVar[int] = 2  # version of the states; raised when older ones cannot be read
    _columns: Any = None  # of states, if there is a kernel
    OBS_TYPES: ClassVar[tuple[str, ...]] = ("coords", "rgb", "grayscale")

    def __init__(
        self,
        name: str | None = None,
        frameskip: int = 1,
        autoreset: bool = True,
        delay_setup: bool = False,
        *,
        domain_name: str | None = None,
        task_name: str | None = None,
        remove_time_limit: bool = True,
        render_mode: str | None = "rgb_array",
        obs_type: str = "coords",
        return_image: bool = False,
        clone_seeds: bool = True,
        render_kwargs: dict[str, Any] | None = None,
        task_kwargs: dict[str, Any] | None = None,
        environment_kwargs: dict[str, Any] | None = None,
        visualize_reward: bool = False,
        wrappers: Iterable[Any] | None = None,
        state_method: str | None = None,
        certify: bool = True,
    ) -> None:
        if state_method is not None:
            raise ValueError(f"dm_control has one way to save states, got {state_method!r}")
        if tuple(wrappers or ()):
            raise TypeError(
                f"{name or domain_name}: dm_control takes no Gymnasium wrappers; inherit from "
                "DMControlEnv and override advance() or current_obs() instead"
            )
        check_images(obs_type, self.OBS_TYPES, render_mode, return_image)
        if name is None:
            name = f"{domain_name}-{task_name}"
        self.domain_name, self.task_name = find_task(name)
        self.remove_time_limit = remove_time_limit
        self.render_mode = render_mode
        self._window = Window(name)
        self.obs_type = obs_type
        self.clone_seeds = clone_seeds
        self._render_kwargs = {"height": 240, "width": 320, "camera_id": 0, **(render_kwargs or {})}
        self._load_kwargs: dict[str, Any] = {
            "task_kwargs": {"random": 0, **(task_kwargs or {})},
            "environment_kwargs": environment_kwargs,
            "visualize_reward": visualize_reward,
        }
        super().__init__(name, frameskip, autoreset, delay_setup, return_image)

    # ---- building -----------------------------------------------------------------------------

    def build_engine(self) -> None:
        self._env: Any = suite.load(self.domain_name, self.task_name, **self._load_kwargs)
        if self.remove_time_limit:
            self._env._step_limit = float("inf")
        self._task, self._physics = self._env.task, self._env.physics
        self._obs: Any = None
        self._can_draw = False
        self._physics._make_rendering_contexts = lambda: None  # until images are needed
        spec = self._env.action_spec()
        low, high = (np.broadcast_to(bound, spec.shape) for bound in (spec.minimum, spec.maximum))
        self.action_space = TameBox(low, high, spec.shape, np.float64)
        self._random = RandomMemory(self._task.random)
        model = self._physics.model.ptr
        changed = changing_fields(model, self.apply_reset, self._env.step, spec.shape)
        fields = tuple(sorted(changed | set(ALWAYS_CHANGED.get(self.domain_name, ()))))
        self._tag = model_tag(model, f"{self.domain_name}-{self.task_name}", fields)
        self._memory = self._make_memory(fields)
        self._has_terrain = "hfield_data" in fields
        self._task_memory = TaskMemory(self._task)
        self._task_part = slice(GENERATOR.stop, GENERATOR.stop + self._task_memory.size)
        self._size = self._task_part.stop + WORD * self._memory.size
        if isinstance(self._memory, PhysicsMemory):
            self._columns = StateColumns(
                slice(0, GENERATOR.start), self._task_part.stop, self._memory
            )
            n_bytes = WORD * self._memory.integration.start
            self._constants = slice(GENERATOR.stop, self._task_part.stop + n_bytes)
            self.accept_kernel(KERNELS[self.domain_name](self._env))
            self._usual_step = step_of(self._env)
        self.apply_reset(int(np.random.SeedSequence().generate_state(1)[0]), None)
        if self.obs_type == "coords":
            size = len(self.current_obs())
            self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        else:
            self.observation_space = spaces.Box(0, 255, self.current_obs().shape, np.uint8)

    def _make_memory(self, fields: tuple[str, ...]) -> Any:
        """What saves the simulation: in few numbers for a task that has a kernel."""
        model, data, task = self._physics.model.ptr, self._physics.data.ptr, self._task
        is_own = type(task).__module__ == f"dm_control.suite.{self.domain_name}"
        is_own &= type(self) is DMControlEnv and self._physics.legacy_step
        is_own &= not (self._env._flat_observation or task.visualize_reward)
        if is_own and self.domain_name in KERNELS:
            memory = PhysicsMemory(model, data, fields)
            actions = np.random.default_rng(0).uniform(-1, 1, (3, *self._env.action_spec().shape))
            limit, self._env._step_limit = self._env._step_limit, float("inf")
            continues = memory.continues(self.apply_reset, self._env.step, actions)
            self._env._step_limit = limit
            if continues:
                return memory
        return SimulationMemory(model, data, fields)

    # ---- only for dm_control ------------------------------------------------------------------

    @property
    def dm_env(self) -> Any:
        """dm_control's environment, in the current state."""
        self._restore_current()
        self._random.drawn()  # the caller may draw numbers
        return self._env

    @property
    def physics(self) -> Any:
        """dm_control's physics, in the current state."""
        return self.dm_env.physics

    @property
    def task(self) -> Any:
        """dm_control's task."""
        return self.dm_env.task

    # ---- running ------------------------------------------------------------------------------

    @property
    def render_fps(self) -> float:
        """Control steps in a second of the simulation."""
        return 1 / self.dm_env.control_timestep()

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        if seed is not None:
            self._task.random.seed(seed % 2**32)
        self._obs = self._any_obs = self._env.reset().observation
        self._random.drawn()
        return {}

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        step, total, n_step, over = self._env.step, 0.0, 0, False
        with looking_away(self._task, self._any_obs):
            while n_step < n_frames and not over:
                step_type, reward, discount, _ = step(action)
                total, n_step, over = total + float(reward or 0.0), n_step + 1, step_type.last()
        self._obs = None
        failed = over and discount == 0.0
        info = {"discount": float(discount), "n_step": n_step}
        return total, failed, over and not failed, info

    def current_info(self) -> dict[str, Any]:
        return _info_of(self._ended, self._env._step_count)

    def seed_generators(self, seed: int) -> Callable[[], None]:
        put_back = seed_all([self._task.random], seed)
        self._random.drawn()
        return put_back if not self.clone_seeds else lambda: None

    def seeded_states(self, states: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        seeded = states.copy()
        ended = self._columns.head(states)[:, 1]
        for row in np.flatnonzero(ended == RUNNING).tolist():
            seeded[row, GENERATOR] = bytes_of_seed(int(seeds[row]))
        return seeded

    # ---- many rows at once --------------------------------------------------------------------

    def kernel_applies(self) -> bool:
        drawn = self.obs_type != "coords" or self.return_image
        return not drawn and step_of(self._env) == self._usual_step

    def kernel_limit(self) -> float:
        return self._env._step_limit

    def kernel_label(self) -> tuple[str, str]:
        return type(self._task).__module__, f"dm_control {version('dm_control')}"

    def tell_ended(self, state: Any, info: dict[str, Any], out: Columns, row: int) -> Any:
        _, ended, steps, *_ = self._columns.head(state[None])[0].tolist()
        before = _info_of(int(ended), steps)
        return {**before, "n_step": info["n_step"], "dt": info["dt"]}

    def take_apart(self, states: np.ndarray, out: np.ndarray | None = None) -> Block | None:
        columns: Any = self._columns
        kernel: Any = self._kernel
        if not columns.are_known(states, self._tag, self._env._n_sub_steps).all():
            return None
        ended, steps = columns.head(states)[:, 1:3].astype(int).T
        parts = kernel.parts_of(columns.integration(states))
        for row in np.flatnonzero(ended):  # it will not be stepped
            self.load_state(states[row])
            kernel.read(parts, row)
        return Block(ended, steps, parts, is_own=False)

    def put_together(self, block: Block, states: np.ndarray, out: np.ndarray) -> None:
        out[:] = states
        out[:, GENERATOR] *= self.clone_seeds
        columns, (ended, steps) = self._columns, (block.ended, block.elapsed)
        columns.head(out)[:, 1:4] = np.stack([ended, steps, ended != 0], axis=1)
        columns.integration(out)[:] = block.parts[0]
        if (sensors := columns.sensors(out)).size:
            sensors[:] = self._kernel.sensors(block.parts)  # type: ignore[union-attr]

    def random_states(self, draw: np.random.Generator, n_rows: int) -> np.ndarray:
        generator = self._task.random.get_state()
        space: Any = self.action_space
        low, high = np.clip([space.low, space.high], -1, 1)
        states = np.empty((n_rows, self._size), np.uint8)
        for row, state in enumerate(states):
            if row % EPISODE == 0 or self._env._reset_next_step:
                self.apply_reset(row // EPISODE, None)
            self._env.step(draw.uniform(low, high))
            self._ended = TRUNCATED if self._env._reset_next_step else RUNNING
            self.save_state(state)
        self._task.random.set_state(generator)
        self._random.drawn()
        return states

    def integration_of(self, states: Any) -> np.ndarray:
        rows, columns = np.asarray(states), self._columns
        if columns and columns.are_known(rows, self._tag, self._env._n_sub_steps).all():
            return columns.integration(rows).copy()
        return super().integration_of(states)

    # ---- observations and images --------------------------------------------------------------

    def current_obs(self) -> Any:
        if self.obs_type != "coords":
            image = self.draw_image()
            return image if self.obs_type == "rgb" else to_grayscale(image)
        if self._obs is None:
            self._obs = self._task.get_observation(self._physics)
        return np.concatenate([np.ravel(part) for part in self._obs.values()], dtype=np.float64)

    def draw_image(self) -> np.ndarray:
        if self.render_mode is None:
            raise NotImplementedError(f"{self!r} draws no image (render_mode=None)")
        if not self._can_draw:
            self._physics.__dict__.pop("_make_rendering_contexts", None)
            first_picture(lambda: self._physics.render(**self._render_kwargs))
            self._can_draw = True
        if self._has_terrain:
            upload_terrain(self._physics)
        return self._physics.render(**self._render_kwargs)

    def render(self) -> Any:
        self._restore_current()
        if self.render_mode != "human":
            return self.draw_image()
        return self._window.show(self.draw_image())

    def close_engine(self) -> None:
        self._window.close()
        self._physics.free()

    def describe_states(self) -> str:
        options = self._load_kwargs, self.remove_time_limit, self.clone_seeds
        versions = f"dm_control={version('dm_control')} mujoco={mujoco.__version__}"
        task = f"{self.domain_name}-{self.task_name} {super().describe_states()}"
        return f"{task} {versions} options={digest_of(options)} model={int(self._tag):08x}"

    # ---- the physics --------------------------------------------------------------------------

    def simulation(self) -> tuple[Any, Any]:
        return self._physics.model.ptr, self._physics.data.ptr

    def physics_changed(self) -> None:
        self._env._reset_next_step, self._obs = False, None

    # ---- the state ----------------------------------------------------------------------------

    def holds_pickles(self) -> bool:
        return True  # the attributes of the task

    def save_state(self, out: np.ndarray | None = None) -> Any:
        if out is None:
            out = np.empty(self._size, np.uint8)
        env = self._env
        out[: GENERATOR.start].view(float)[:] = (
            self._tag,
            self._ended,
            env._step_count,
            env._reset_next_step,
            env._n_sub_steps,
        )
        if self.clone_seeds:
            self._random.save(out[GENERATOR])
        else:
            out[GENERATOR] = 0
        self._task_memory.save(out[self._task_part])
        self._memory.save(out[self._task_part.stop :].view(np.float64))
        return out

    def load_state(self, state: Any) -> None:
        tag, ended, steps, reset_next, found = state[: GENERATOR.start].view(float).tolist()
        if tag != self._tag or ended not in (0, 1, 2, 3):
            raise InvalidStateError(f"not a state of {self!r}: it is of another task or model")
        if found != self._env._n_sub_steps:
            raise InvalidStateError(
                f"not a state of {self!r}: it was saved with {int(found)} sub-steps a control step,"
                f" here it is {self._env._n_sub_steps}"
            )
        env = self._env
        self._ended = int(ended)
        env._step_count, env._reset_next_step = int(steps), bool(reset_next)
        if self.clone_seeds:
            self._random.load(state[GENERATOR])
        self._task_memory.load(state[self._task_part])
        self._memory.load(state[self._task_part.stop :].view(np.float64), contacts=True)
        self._obs = None


def _info_of(ended: int, steps: float) -> dict[str, Any]:
    """The info of a state; there is none before the first step."""
    return {"discount": 0.0 if ended & TERMINATED else 1.0} if steps else {}

"""AtariEnv: the games of the Arcade Learning Environment, on one :class:`Emulator`.

Without wrappers the emulator is called directly, and no observation is built for skipped frames.
With wrappers, of the user or inside a callable, Gymnasium's stack runs on the same emulator, which
replaces ale-py's interface (wrapper.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import ale_py
import gymnasium as gym
import numpy as np

from plangym_lite.envs.atari.emulator import Emulator
from plangym_lite.envs.atari.game import (
    check_modes,
    choose_modes,
    decode_action,
    factory_of_id,
    is_bare_game,
    run_drawn,
    use_emulator,
    with_palette,
)
from plangym_lite.envs.generators.generator import GENERATOR_WORDS, GeneratorMemory
from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.errors import InvalidStateError, NotCloneableError
from plangym_lite.nested import copy_element
from plangym_lite.stable import digest_of

__all__ = ["AtariEnv"]

FEW_FRAMES, MANY_FRAMES = 16, 1 << 60  # to be run again if a rollout ends early
gym.register_envs(ale_py)


class AtariEnv(PlangymEnv):
    """An Atari 2600 game.

    Args:
        name: a Gymnasium id such as ``"ALE/MsPacman-v5"``. It selects the game; the options below
            replace those of the id. An id whose entry point is a function without these options
            is treated as a callable.
        frameskip: frames for each unit of ``dt``, 5 by default; with a pair ``(low, high)`` the
            number is drawn for each unit, from ``low`` to ``high - 1``. Frames are skipped below
            any wrapper, as in ``gymnasium.make``. For a callable: steps of the environment that it
            returns, 1 by default.
        episodic_life: losing a life ends the episode.
        obs_type: ``"rgb"`` [210, 160, 3], ``"grayscale"`` [210, 160], ``"palette"`` [210, 160] (the
            indices of the console's 128 colours, all even) or ``"ram"`` [128], uint8: observations
            of the game. The outermost wrapper's are returned.
        mode: the game's variant; ``None``: the game's default.
        difficulty: ``None``: the game's default.
        repeat_action_probability: sticky actions (Machado et al., 2018).
        full_action_space: use all 18 actions, not only those of the game.
        others: as in :class:`~plangym_lite.PlangymEnv`; further ``engine_kwargs`` go
            to ale-py.
    """

    STATES_NAME: ClassVar[str] = "AtariEnv"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read
    OBS_TYPES: ClassVar[tuple[str, ...]] = ("rgb", "grayscale", "palette", "ram")
    DEFAULT_OBS_TYPE: ClassVar[str] = "rgb"
    STATE_METHODS: ClassVar[tuple[str, ...]] = ()  # there is only one method
    _changes_stack = True

    def __init__(
        self,
        name: Any,
        frameskip: int | tuple[int, int] | None = None,
        autoreset: bool = True,
        wrappers: Iterable[Any] | None = None,
        delay_setup: bool = False,
        *,
        episodic_life: bool = False,
        obs_type: str | None = None,
        mode: int | None = None,
        difficulty: int | None = None,
        repeat_action_probability: float = 0.0,
        full_action_space: bool = False,
        **others: Any,
    ) -> None:
        if not 0.0 <= repeat_action_probability < 1.0:
            raise ValueError(
                f"repeat_action_probability must be in [0, 1), got {repeat_action_probability}"
            )
        if others.get("sound_obs"):
            raise NotCloneableError(f"{name}: the sound is not in the emulator's state")
        if not callable(name):
            is_free = others.get("remove_time_limit", True)
            limits = {"max_episode_steps": -1} if is_free else {}
            name = factory_of_id(name, limits) or name
        if obs_type is None and not callable(name) and "-ram" in getattr(name, "id", name):
            obs_type = "ram"
        if frameskip is None:
            frameskip = 1 if callable(name) else 5  # a callable's game skips frames itself
        self._frame_range: Any = None if np.isscalar(frameskip) else tuple(frameskip)  # type: ignore[arg-type]
        self.episodic_life = episodic_life
        self.repeat_action_probability = repeat_action_probability
        self.full_action_space = full_action_space
        self._modes = mode, difficulty
        self._obs_type_given, self._is_palette = obs_type is not None, obs_type == "palette"
        super().__init__(
            name,
            1 if self._frame_range else frameskip,  # type: ignore[arg-type]
            autoreset,
            wrappers,
            delay_setup,
            obs_type=obs_type,
            **others,
        )

    # ---- building -----------------------------------------------------------------------------

    def make_gym_env(self) -> gym.Env:
        env = self._make_plain_game()
        if self._is_palette and self._is_bare:
            return with_palette(env)
        return self._install_emulator(env)

    def _make_plain_game(self) -> gym.Env:
        if callable(self._make):
            return super().make_gym_env()
        self._engine_kwargs = {
            **self._engine_kwargs,
            "obs_type": "grayscale" if self._is_palette else self.obs_type,
            "frameskip": 1,  # states do not depend on it
            "repeat_action_probability": self.repeat_action_probability,
            "full_action_space": self.full_action_space,
        }
        modes = zip(("mode", "difficulty"), self._modes, strict=True)
        asked = {name: value for name, value in modes if value is not None}
        kwargs = {**self._engine_kwargs, "frameskip": self._frame_range or self.frameskip}
        try:
            return self.make_with({**kwargs, **asked})
        except RuntimeError:
            check_modes(self.make_with(kwargs).unwrapped, self._modes, self._name)
            raise

    def _install_emulator(self, env: gym.Env) -> gym.Env:
        """Let the game run on an :class:`Emulator`, except for ``make_plain``."""
        base: Any = env.unwrapped
        if callable(self._make):
            self._tell_callable(base)
            self.repeat_action_probability = base.ale.getFloat("repeat_action_probability")
        if self._is_bare:
            return env
        wanted = self.obs_type != "ram" or self.return_image
        pictures = wanted or bool(self._wrappers) or not is_bare_game(env)
        emulator = use_emulator(env, pictures)
        if wanted and not emulator.has_picture:
            env.close()
            raise NotCloneableError(
                f"{self._name} leaves its picture alone while it thinks, so that no state can "
                "tell it: use obs_type='ram' and no images"
            )
        return env

    def _tell_callable(self, base: Any) -> None:
        if base.sound_obs:
            raise NotCloneableError(f"{self._name}: the sound is not in the emulator's state")
        if not self._is_palette:
            if self._obs_type_given and self.obs_type != base._obs_type:
                raise ValueError(
                    f"{self._name} gives {base._obs_type!r} observations, not {self.obs_type!r}: "
                    "say obs_type inside the callable"
                )
            self.obs_type = base._obs_type
        check_modes(base, self._modes, self._name)
        choose_modes(base, self._modes)

    def adopt_layers(self) -> None:
        self.emulator: Emulator = self._base.ale.emulator
        self._ale = self.emulator.ale
        self._is_plain = (
            self.STATE_IS_ARRAY
            and is_bare_game(self._gym_env)
            and (not callable(self._make) or self._base._frameskip == 1)
        )
        read = {"rgb": self._ale.getScreenRGB, "grayscale": self._ale.getScreenGrayscale}
        self._read_screen: Any = read.get(self.obs_type, self._ale.getScreen)
        self._generator = GeneratorMemory()
        if self._is_palette and not self._is_plain:
            raise NotImplementedError("obs_type='palette' is for games without wrappers")
        self._size = self.emulator.size + (4 * GENERATOR_WORDS if self._frame_range else 0)

    # ---- only for Atari -----------------------------------------------------------------------

    @property
    def ale(self) -> Any:
        """The interface of ale-py, in the current state."""
        self._restore_current()
        return self._base.ale

    @property
    def render_fps(self) -> float:
        """Steps in a second of the game, which has 60 frames."""
        skip = self._base._frameskip if callable(self._make) else self._frame_range or 1
        return 60 / (skip if isinstance(skip, int) else (skip[0] + skip[1] - 1) / 2)

    @property
    def mode(self) -> int:
        """The game's variant."""
        return self.ale.cloneState().getCurrentMode()

    @property
    def difficulty(self) -> int:
        """The console's difficulty switch."""
        return self.ale.cloneState().getDifficulty()

    def get_ram(self) -> np.ndarray:
        """The console's memory, [128] uint8."""
        return self.ale.getRAM()

    # ---- running ------------------------------------------------------------------------------

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        info = super().apply_reset(seed, options)
        self._obs = None if self._is_plain else copy_element(self.observation_space, self._obs)
        return info

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        if not self._is_plain:
            return self._advance_wrapped(action, n_frames)
        ale, lives = self._ale, self._ale.lives()
        command, strength = decode_action(self._base, action)
        floor = lives if self.episodic_life else 0
        may_end = lives <= 1 or floor  # then this state may be the one that is saved
        rerun = (FEW_FRAMES if may_end else MANY_FRAMES) if self._goes_on else 0
        if self._frame_range:
            held = command, strength, floor
            reward, n_step = run_drawn(self.emulator, self._base, self._frame_range, n_frames, held)
        else:
            reward, n_step = self.emulator.run(command, n_frames, floor, strength, rerun)
            if n_step < n_frames and ale.game_over():  # Gymnasium draws for the rest, too
                self.emulator.skip_draws(-n_step % self.frameskip)
        info = self.current_info()
        info["lost_life"] = lost = info["lives"] < lives
        info["n_step"] = n_step
        over = ale.game_over(with_truncation=False) or (self.episodic_life and lost)
        return float(reward), over, ale.game_truncated(), info

    def current_info(self) -> dict[str, Any]:
        if not self._is_plain:
            return super().current_info()
        ale = self._ale
        return {
            "lives": ale.lives(),
            "episode_frame_number": ale.getEpisodeFrameNumber(),
            "frame_number": ale.getFrameNumber(),
        }

    def generators(self) -> list[Any]:
        first, *others = super().generators()
        return [first, *self.emulator.generators(), *others]

    def _advance_wrapped(
        self, action: Any, n_frames: int
    ) -> tuple[float, bool, bool, dict[str, Any]]:
        """Step the stack, which skips frames itself, once for each unit of ``dt``."""
        ale, is_id = self._ale, not callable(self._make)
        lives, lost, total, n_step, over = ale.lives(), False, 0.0, 0, False
        if self._frame_range and not is_id:
            n_frames = sum(
                int(self._base.np_random.integers(*self._frame_range)) for _ in range(n_frames)
            )
        for _ in range(n_frames // self.frameskip if is_id else n_frames):
            frame = ale.getFrameNumber()
            obs, reward, over, truncated, info = self._gym_env.step(action)
            most = self._base._frameskip if is_id else 1
            most = most[1] - 1 if isinstance(most, tuple) else most
            n_step += max(1, min(ale.getFrameNumber() - frame, most))
            total, lost = total + float(reward), ale.lives() < lives
            over = bool(over) or (self.episodic_life and lost)
            if over or truncated:
                break
        self._obs, self._info = copy_element(self.observation_space, obs), info
        return total, over, bool(truncated), {**info, "lost_life": lost, "n_step": n_step}

    # ---- observations and images --------------------------------------------------------------

    def current_obs(self) -> Any:
        if not self._is_plain:
            return copy_element(self.observation_space, self._obs)
        if self.obs_type == "ram":
            return self._ale.getRAM()
        self.emulator.refresh_picture()
        return self._read_screen()

    def write_obs(self, out: np.ndarray) -> None:
        if not self._is_plain:
            super().write_obs(out)
        elif self.obs_type == "ram":
            self._ale.getRAM(out)
        else:
            self.emulator.refresh_picture()
            self._read_screen(out)

    def draw_image(self) -> np.ndarray:
        if not self.emulator.has_picture:
            raise NotImplementedError(f"{self._name} has no picture that a state could tell")
        self.emulator.refresh_picture()
        if not self._is_plain and self._gym_env.render_mode == "rgb_array":
            return super().draw_image()
        return self._ale.getScreenRGB()

    def describe_states(self) -> str:
        options = *self._modes, self.episodic_life, self._frame_range
        rom = self.emulator.game_hash.decode()
        return f"{super().describe_states()} played={digest_of(options)} rom={rom}"

    # ---- the state ----------------------------------------------------------------------------

    def save_state(self, out: np.ndarray | None = None) -> Any:
        if not self._is_plain:
            return super().save_state(out)
        if out is None:
            out = np.empty(self._size, np.uint8)
        self.emulator.save(out, self._ended)
        if self._frame_range:
            words = out[self.emulator.size :].view(np.uint32)
            if self.clone_seeds:
                self._generator.save(self._base.np_random, words)
            else:
                words[:] = 0
        return out

    def load_state(self, state: Any) -> None:
        if not self._is_plain:
            super().load_state(state)
            return
        self._ended = self.emulator.load(state.tobytes(), self.clone_seeds)
        if self._frame_range and self.clone_seeds:
            words = state[self.emulator.size :].copy().view(np.uint32)
            self._generator.load(words, self._base.np_random)

    def save_bytes(self) -> bytes:
        console = np.empty(self.emulator.size, np.uint8)
        self.emulator.save(console, self._ended)
        return console.tobytes() + super().save_bytes()

    def load_bytes(self, data: bytes) -> None:
        size = self.emulator.size
        if len(data) <= size:
            raise InvalidStateError(f"not a state of {self!r}: only {len(data)} bytes")
        with self._base.ale.restoring():
            super().load_bytes(data[size:])
        self.emulator.load(data[:size], self.clone_seeds)

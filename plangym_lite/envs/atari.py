"""AtariEnv: the games of the Arcade Learning Environment, on one :class:`Emulator`.

Without wrappers the emulator is driven directly: no observation is built for skipped frames. With
a user's wrappers the same emulator sits at the bottom of Gymnasium's stack as one more layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import ale_py
import gymnasium as gym
import numpy as np

from plangym_lite.envs.emulator import Emulator
from plangym_lite.envs.emulator_layer import EmulatorLayer
from plangym_lite.envs.fingerprint import digest_of
from plangym_lite.envs.generators import GENERATOR_WORDS, GeneratorMemory
from plangym_lite.envs.gym import PlangymEnv
from plangym_lite.envs.snapshot import layers_of
from plangym_lite.errors import InvalidStateError, NotCloneableError

__all__ = ["AtariEnv"]

FEW_FRAMES, MANY_FRAMES = 16, 1 << 60  # to be run again should a rollout end too soon

gym.register_envs(ale_py)


class AtariEnv(PlangymEnv):
    """An Atari 2600 game.

    Args:
        name: a Gymnasium id such as ``"ALE/MsPacman-v5"``. The id names the game; the options
            below, not the id's own, say how it is played.
        frameskip: frames for each unit of ``dt``, 5 by default; a pair ``(low, high)`` draws the
            number, from ``low`` to ``high - 1``, for each unit.
        episodic_life: losing a life ends the episode.
        obs_type: ``"rgb"`` [210, 160, 3], ``"grayscale"`` [210, 160], ``"palette"`` [210, 160] (the
            console's own numbers of its 128 colours, all even) or ``"ram"`` [128], uint8.
        mode: the game's variant; ``None``: the game's default.
        difficulty: ``None``: the game's default.
        repeat_action_probability: sticky actions (Machado et al., 2018).
        full_action_space: all 18 actions, not only those that the game uses.
        others: as in :class:`~plangym_lite.envs.gym.PlangymEnv`; further ``engine_kwargs`` go
            to ale-py.
    """

    STATES_NAME: ClassVar[str] = "AtariEnv"
    LAYOUT: ClassVar[int] = 1  # of states: goes up when older ones can no longer be read
    OBS_TYPES: ClassVar[tuple[str, ...]] = ("rgb", "grayscale", "palette", "ram")
    DEFAULT_OBS_TYPE: ClassVar[str] = "rgb"

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
        if obs_type is None and isinstance(name, str) and "-ram" in name:
            obs_type = "ram"
        if frameskip is None:
            frameskip = 5 if isinstance(name, str) else 1  # a callable's game skips by itself
        self._frame_range: Any = None if np.isscalar(frameskip) else tuple(frameskip)  # type: ignore[arg-type]
        self.episodic_life = episodic_life
        self.repeat_action_probability = repeat_action_probability
        self.full_action_space = full_action_space
        self._mode, self._difficulty = mode, difficulty
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
        if not callable(self._make):  # an id, or the spec of one
            self._engine_kwargs = {
                **self._engine_kwargs,
                "obs_type": "grayscale" if self.obs_type == "palette" else self.obs_type,
                "frameskip": 1,
                "repeat_action_probability": self.repeat_action_probability,
                "full_action_space": self.full_action_space,
            }
        env = super().make_gym_env()
        base: Any = env.unwrapped
        self._is_palette = self.obs_type == "palette"  # which Gymnasium does not know
        if not self._is_palette:
            self.obs_type = base._obs_type
        _check_option("mode", self._mode, base.ale.getAvailableModes(), self._name)
        _check_option(
            "difficulty", self._difficulty, base.ale.getAvailableDifficulties(), self._name
        )
        self.repeat_action_probability = base.ale.getFloat("repeat_action_probability")
        base.ale.setFloat("repeat_action_probability", 0.0)  # the Emulator draws them
        if self._mode is not None:
            base._game_mode = self._mode
        if self._difficulty is not None:
            base._game_difficulty = self._difficulty
        if self.repeat_action_probability or (self._mode, self._difficulty) != (None, None):
            base.load_game()
        pictures = self.obs_type != "ram" or self.return_image
        self.emulator = Emulator(base.ale, base._game, self.repeat_action_probability, pictures)
        if pictures and not self.emulator.has_picture:
            env.close()
            raise NotCloneableError(
                f"{self._name} leaves its picture alone while it thinks, so that no state can "
                "tell it: use obs_type='ram' and no images"
            )
        layers: list[Any] = layers_of(env)
        layer = EmulatorLayer(base, self.emulator)
        if env is base:
            return layer
        layers[-2].env = layer
        return env

    def snapshot_layers(self) -> list[gym.Env]:
        return self._layers[:-1]

    def adopt_layers(self) -> None:
        self._ale = self._base.ale
        self._layer: Any = self._layers[-2]
        self._is_plain = (
            self.STATE_IS_ARRAY and self._layer.skip == 1 and self.surrounded_only_by(EmulatorLayer)
        )
        self._generator = GeneratorMemory()
        if self._is_palette and not self._is_plain:
            raise NotImplementedError("obs_type='palette' is for games without wrappers")
        self._size = self.emulator.size + (4 * GENERATOR_WORDS if self._frame_range else 0)

    # ---- what only Atari has ------------------------------------------------------------------

    @property
    def ale(self) -> ale_py.ALEInterface:
        """The interface of ale-py, in the current state."""
        self._settle()
        return self._ale

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        self._ensure_setup()
        return int(self.action_space.n)  # type: ignore[attr-defined]

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
        self._obs = None
        return info

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        if self._frame_range:
            draw = self._base.np_random.integers
            n_frames = sum(int(draw(*self._frame_range)) for _ in range(n_frames))
        ale, lives = self._ale, self._ale.lives()
        if not self._is_plain:
            return self._advance_wrapped(action, n_frames, lives)
        command, strength = self._layer.decode(action)
        floor = lives if self.episodic_life else 0
        may_end = lives <= 1 or floor  # then the state here may well be the one that is saved
        rerun = (FEW_FRAMES if may_end else MANY_FRAMES) if self._goes_on else 0
        reward, n_step = self.emulator.run(command, n_frames, floor, strength, rerun)
        left = ale.lives()
        info = {
            "lives": left,
            "episode_frame_number": ale.getEpisodeFrameNumber(),
            "frame_number": ale.getFrameNumber(),
            "lost_life": left < lives,
            "n_step": n_step,
        }
        over = ale.game_over(with_truncation=False) or (self.episodic_life and left < lives)
        return float(reward), over, ale.game_truncated(), info

    def _advance_wrapped(
        self, action: Any, n_frames: int, lives: int
    ) -> tuple[float, bool, bool, dict[str, Any]]:
        total, n_step, lost = 0.0, 0, False
        while n_step < n_frames:
            reward, over, truncated, info = super().advance(action, 1)
            total, n_step, lost = total + reward, n_step + 1, self._ale.lives() < lives
            over = over or (self.episodic_life and lost)
            if over or truncated:
                break
        return total, over, truncated, {**info, "lost_life": lost, "n_step": n_step}

    # ---- observations and images --------------------------------------------------------------

    def current_obs(self) -> Any:
        if not self._is_plain and self._obs is not None:
            return super().current_obs()
        if self._is_palette:
            self.emulator.refresh_picture()
            return self._ale.getScreen()
        return self._layer.read()

    def write_obs(self, out: np.ndarray) -> None:
        if not self._is_plain:
            super().write_obs(out)
        elif self.obs_type == "ram":
            self._ale.getRAM(out)
        else:
            self.emulator.refresh_picture()
            read = {"rgb": self._ale.getScreenRGB, "grayscale": self._ale.getScreenGrayscale}
            read.get(self.obs_type, self._ale.getScreen)(out)

    def draw_image(self) -> np.ndarray:
        if not self.emulator.has_picture:
            raise NotImplementedError(f"{self._name} has no picture that a state could tell")
        self.emulator.refresh_picture()
        return self._ale.getScreenRGB()

    def describe_states(self) -> str:
        options = self._mode, self._difficulty, self.episodic_life, self._frame_range
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
        words = np.empty(GENERATOR_WORDS, np.uint32)
        self._generator.save(self._base.np_random, words)
        return console.tobytes() + words.tobytes() + super().save_bytes()

    def load_bytes(self, data: bytes) -> None:
        end = self.emulator.size + 4 * GENERATOR_WORDS
        if len(data) < end:
            raise InvalidStateError(f"not a state of {self!r}: only {len(data)} bytes")
        super().load_bytes(data[end:])
        self.emulator.load(data[: self.emulator.size], self.clone_seeds)
        if self.clone_seeds:
            words = np.frombuffer(data[self.emulator.size : end], np.uint32)
            self._generator.load(words, self._base.np_random)


def _check_option(option: str, value: int | None, available: list[int], name: str) -> None:
    if value is not None and value not in available:
        raise ValueError(f"{name} has no {option} {value}: choose one of {list(available)}")

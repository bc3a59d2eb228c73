"""RetroEnv: console games of stable-retro.

A state is the emulator's memory (1 MB for a Genesis, the end of it unused), the last image, which
the memory does not contain, and the state on Python's side. With ``array_state=False`` the memory
is compressed to about 20 KB in all, which takes milliseconds. The variables that rewards are
computed from are read from memory again after a restore; otherwise the first reward would be a
difference to the state before the restore.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, ClassVar

import gymnasium as gym
import stable_retro

from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.envs.verify.verification import Verdict
from plangym_lite.errors import InvalidStateError, NotCloneableError

__all__ = ["RetroEnv", "games", "is_game"]

LENGTH = struct.Struct("<I")  # length of the saved memory
WORD = 64
STAYS = ("initial_state",)  # the first state of an episode: a constant, as large as a state


def is_game(name: str) -> bool:
    """Whether stable-retro knows a game of that name, with a ROM or without."""
    return name in stable_retro.data.list_games()


def games() -> list[str]:
    """The games whose ROM is installed."""
    return [name for name in stable_retro.data.list_games() if _has_rom(name)]


def _has_rom(name: str) -> bool:
    try:
        return bool(stable_retro.data.get_romfile_path(name))
    except FileNotFoundError:
        return False


class RetroEnv(PlangymEnv):
    """A game of stable-retro. A process can have only one: close it before making another.

    Args:
        name: a game such as ``"Airstriker-Genesis-v0"``, or a callable that makes one.
        others: as for :class:`~plangym_lite.envs.gymnasium.env.PlangymEnv`; ``obs_type`` may also
            be ``"ram"``.
        engine_kwargs: those that are left go to ``stable_retro.make``: ``state``, ``scenario``,
            ``players`` and others.
    """

    STATES_NAME: ClassVar[str] = "RetroEnv"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read
    SINGLETON: ClassVar[bool] = True
    STATE_METHODS: ClassVar[tuple[str, ...]] = ()
    _saved_by_engine = ("em", "data", *STAYS)
    OBS_TYPES: ClassVar[tuple[str, ...]] = (*PlangymEnv.OBS_TYPES, "ram")

    def __init__(self, name: Any, *others: Any, **engine_kwargs: Any) -> None:
        if engine_kwargs.get("record"):
            raise NotCloneableError(f"{name}: a film of the game cannot go back to a saved state")
        if engine_kwargs.get("render_mode") == "human":
            raise NotCloneableError(f"{name}: its window cannot go back to a saved state")
        super().__init__(name, *others, **engine_kwargs)

    def make_gym_env(self) -> gym.Env:
        if not isinstance(self._make, str):
            return super().make_gym_env()
        kwargs = {"render_mode": self.render_mode, **self._engine_kwargs}
        if self.obs_type == "ram":
            kwargs["obs_type"] = stable_retro.Observations.RAM
        return stable_retro.make(self._make, **kwargs)

    def take_verdict(self, verdict: Verdict) -> None:
        super().take_verdict(verdict)
        if self.STATE_IS_ARRAY and not self._has_own_capacity and verdict.capacity:
            memory = len(self._base.em.get_state())  # its size is constant: counted once
            self._capacity = -(-(verdict.capacity - memory) // WORD) * WORD

    # ---- running ------------------------------------------------------------------------------

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        self._forget_picture()
        return super().apply_reset(seed, options)

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        self._forget_picture()
        return super().advance(action, n_frames)

    def _forget_picture(self) -> None:
        """With ``obs_type="ram"`` only ``save_bytes`` keeps an image."""
        if self._base.ram is not None:
            self._base.img = None

    def current_obs(self) -> Any:
        if self.obs_type != "ram":
            return super().current_obs()
        return self._obs.copy()

    # ---- the state ----------------------------------------------------------------------------

    def save_bytes(self) -> bytes:
        if self._base.img is None:
            self._base.img = self._base.get_screen(apply_rotation=True)
        memory = self._base.em.get_state()
        if not self.STATE_IS_ARRAY:
            memory = zlib.compress(memory, 1)
        return LENGTH.pack(len(memory)) + memory + super().save_bytes()

    def load_bytes(self, data: bytes) -> None:
        base = self._base
        end = LENGTH.size + (LENGTH.unpack_from(data)[0] if len(data) > LENGTH.size else 0)
        memory = data[LENGTH.size : end]
        try:
            memory = memory if self.STATE_IS_ARRAY else zlib.decompress(memory)
        except zlib.error as error:
            raise InvalidStateError(f"not a state of {self!r}: {error}") from error
        if len(memory) != len(base.em.get_state()):
            raise InvalidStateError(f"not a state of {self!r}: {len(memory)} bytes of memory")
        super().load_bytes(data[end:])
        base.em.set_state(memory)
        base.data.reset()
        base.data.update_ram()

"""EmulatorInterface: lets ale-py's environment, and any wrapper, run on an :class:`Emulator`.

Gymnasium's stack is not changed, except that the ``ale`` of its base is replaced. So the emulator
runs every frame, and every image that is read belongs to the state, also right after a restore.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import ale_py
import numpy as np

from plangym_lite.envs.atari.emulator import Emulator
from plangym_lite.errors import NotCloneableError

__all__ = ["EmulatorInterface"]

STICKY = "repeat_action_probability"
_NOW: list[EmulatorInterface] = []  # the interface whose state is being restored


class EmulatorInterface(types.SimpleNamespace):
    """Acts like an ``ALEInterface``.

    Args:
        emulator: the emulator that runs the console.
    """

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self.emulator = emulator
        self._picture = emulator.ale.getScreenDims()
        for name in dir(emulator.ale):
            if not name.startswith("_") and not hasattr(type(self), name):
                setattr(self, name, getattr(emulator.ale, name))

    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """In a state it refers to the interface of the environment that is restored."""
        return _being_restored, ()

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """States that are unpickled in this context refer to this interface."""
        _NOW.append(self)
        try:
            yield
        finally:
            _NOW.pop()

    # ---- methods that change the console ------------------------------------------------------

    def act(self, action: Any, paddle_strength: float = 1.0) -> int:
        """Run one frame; return its reward."""
        return self.emulator.act(ale_py.Action(action), float(paddle_strength))

    def reset_game(self) -> None:
        """Reset the console."""
        self.emulator.reset()

    def loadROM(self, rom_file: Any) -> None:
        """Load the game again."""
        self.emulator.ale.loadROM(rom_file)
        self.emulator.reload()

    def setMode(self, mode: int) -> None:
        """Choose the game's variant, from the next reset on."""
        self.emulator.ale.setMode(mode)
        self.emulator.invalidate()

    def setDifficulty(self, difficulty: int) -> None:
        """Choose the difficulty, from the next reset on."""
        self.emulator.ale.setDifficulty(difficulty)
        self.emulator.invalidate()

    def setRAM(self, memory_index: int, value: int) -> None:
        """Write a byte of the console's memory."""
        self.emulator.ale.setRAM(memory_index, value)
        self.emulator.invalidate()

    def cloneState(self, *, include_rng: bool = False) -> ale_py.ALEState:
        """ale-py's own state of the console."""
        self._refuse_generators(include_rng)
        return self.emulator.ale.cloneState(include_rng=include_rng)

    def cloneSystemState(self) -> ale_py.ALEState:
        """ale-py's own state of the console, with the generators."""
        return self.cloneState(include_rng=True)

    def restoreState(self, state: ale_py.ALEState) -> None:
        """Restore what ``cloneState`` returned; the screen does not change, as in ale-py."""
        self.emulator.ale.restoreState(state)
        self.emulator.invalidate(pasts=True)

    def restoreSystemState(self, state: ale_py.ALEState) -> None:
        """Restore what ``cloneSystemState`` returned."""
        self.restoreState(state)

    def setFloat(self, key: str, value: float) -> None:
        """Set an option of ale-py."""
        if key == STICKY and value != self.emulator.sticky:
            raise NotCloneableError(f"{key} cannot change after the environment was made")
        if key != STICKY:
            self.emulator.ale.setFloat(key, value)

    def getFloat(self, key: str) -> float:
        """An option of ale-py."""
        return self.emulator.sticky if key == STICKY else self.emulator.ale.getFloat(key)

    def _refuse_generators(self, included: bool) -> None:
        if included and self.emulator.has_generator:
            raise NotCloneableError(
                "a wrapper clones the generator of sticky actions with ale-py's own states"
            )

    # ---- methods that read the screen ---------------------------------------------------------

    def getScreen(self, *buffer: np.ndarray) -> Any:
        """The screen as palette indices, [210, 160] uint8."""
        return _filled(self._seen().getScreen, self._picture, buffer)

    def getScreenRGB(self, *buffer: np.ndarray) -> Any:
        """The screen in RGB, [210, 160, 3] uint8."""
        return _filled(self._seen().getScreenRGB, (*self._picture, 3), buffer)

    def getScreenGrayscale(self, *buffer: np.ndarray) -> Any:
        """The screen in grayscale, [210, 160] uint8."""
        return _filled(self._seen().getScreenGrayscale, self._picture, buffer)

    def getRAM(self, *buffer: np.ndarray) -> Any:
        """The console's memory, [128] uint8."""
        return _filled(self.emulator.ale.getRAM, (self.emulator.ale.getRAMSize(),), buffer)

    def saveScreenPNG(self, filename: str) -> None:
        """Write the screen into a file."""
        self._seen().saveScreenPNG(filename)

    def _seen(self) -> ale_py.ALEInterface:
        """ale-py's interface, with the screen of the present state."""
        if not self.emulator.has_picture:
            raise NotImplementedError("a game whose picture no state could tell")
        self.emulator.refresh_picture()
        return self.emulator.ale


def _being_restored() -> EmulatorInterface:
    return _NOW[-1]


def _filled(read: Any, shape: tuple[int, ...], buffer: tuple[np.ndarray, ...]) -> Any:
    """The array that ``read`` writes, in numpy's memory: ale-py's cannot be saved."""
    if buffer:
        return read(*buffer)
    out = np.empty(shape, np.uint8)
    read(out)
    return out

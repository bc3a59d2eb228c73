"""EmulatorInterface: lets ale-py's environment, and any wrapper, run on an :class:`Emulator`.

Gymnasium's stack is not changed, except that the ``ale`` of its base is replaced. So the emulator
runs every frame, and every image that is read belongs to the state, also right after a restore.

Saved states refer to ``_being_restored`` by its name: never move or rename it.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import ale_py
import numpy as np

from plangym_lite.envs.atari.emulator import Emulator
from plangym_lite.errors import NotCloneableError

__all__ = ["EmulatorInterface"]

STICKY = "repeat_action_probability"
_NOW: list[EmulatorInterface] = []  # the interface whose state is being restored


class EmulatorInterface(types.SimpleNamespace):
    """Acts like an ``ALEInterface``; what is not defined here is the method of ale-py's.

    It is a ``SimpleNamespace`` so that snapshots pickle it by its ``__reduce__``.
    """

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self.emulator, ale = emulator, emulator.ale
        self._picture = ale.getScreenDims()
        for name in dir(ale):
            if not name.startswith("_") and not hasattr(type(self), name):
                setattr(self, name, getattr(ale, name))
        self.reset_game = emulator.reset
        self.loadROM = _followed_by(emulator.reload, ale.loadROM)
        for name in ("setMode", "setDifficulty", "setRAM"):
            setattr(self, name, _followed_by(emulator.invalidate, getattr(ale, name)))

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
        return self.emulator.act(ale_py.Action(action), float(paddle_strength))

    def cloneState(self, *, include_rng: bool = False) -> ale_py.ALEState:
        if include_rng and self.emulator.has_generator:
            raise NotCloneableError(
                "a wrapper clones the generator of sticky actions with ale-py's own states"
            )
        return self.emulator.ale.cloneState(include_rng=include_rng)

    def cloneSystemState(self) -> ale_py.ALEState:
        return self.cloneState(include_rng=True)

    def restoreState(self, state: ale_py.ALEState) -> None:
        """Restore what ``cloneState`` returned; the screen does not change, as in ale-py."""
        self.emulator.ale.restoreState(state)
        self.emulator.invalidate(pasts=True)

    restoreSystemState = restoreState

    def setFloat(self, key: str, value: float) -> None:
        if key == STICKY and value != self.emulator.sticky:
            raise NotCloneableError(f"{key} cannot change after the environment was made")
        if key != STICKY:
            self.emulator.ale.setFloat(key, value)

    def getFloat(self, key: str) -> float:
        return self.emulator.sticky if key == STICKY else self.emulator.ale.getFloat(key)

    # ---- methods that read the screen ---------------------------------------------------------

    def getScreen(self, *buffer: np.ndarray) -> Any:
        return _filled(self._seen().getScreen, self._picture, buffer)

    def getScreenRGB(self, *buffer: np.ndarray) -> Any:
        return _filled(self._seen().getScreenRGB, (*self._picture, 3), buffer)

    def getScreenGrayscale(self, *buffer: np.ndarray) -> Any:
        return _filled(self._seen().getScreenGrayscale, self._picture, buffer)

    def getRAM(self, *buffer: np.ndarray) -> Any:
        return _filled(self.emulator.ale.getRAM, (self.emulator.ale.getRAMSize(),), buffer)

    def saveScreenPNG(self, filename: str) -> None:
        self._seen().saveScreenPNG(filename)

    def _seen(self) -> ale_py.ALEInterface:
        """ale-py's interface, with the screen of the present state."""
        if not self.emulator.has_picture:
            raise NotImplementedError("a game whose picture no state could tell")
        self.emulator.refresh_picture()
        return self.emulator.ale


def _being_restored() -> EmulatorInterface:
    return _NOW[-1]


def _followed_by(then: Callable[[], None], method: Callable[..., Any]) -> Any:
    def call(*args: Any, **kwargs: Any) -> None:
        method(*args, **kwargs)
        then()

    return call


def _filled(read: Any, shape: tuple[int, ...], buffer: tuple[np.ndarray, ...]) -> Any:
    """The array that ``read`` writes, in numpy's memory: ale-py's cannot be saved."""
    if buffer:
        return read(*buffer)
    out = np.empty(shape, np.uint8)
    read(out)
    return out

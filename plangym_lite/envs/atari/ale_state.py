"""Console: the states of ale-py, byte by byte.

A state of ale-py has 7.7 KB, of which 6.7 KB are the text of a random generator that only a console
reset reads. The remaining kilobyte is the *core*: ale-py can restore it alone, several times faster
than the whole state.

States of ale-py (0.12.1) do not contain whether the video chip was stopped in the middle of a
frame. If so, the next frame runs differently. The processor's registers, which are in the core,
show it: the processor did not reach the end of the frame. ``_put`` restores this.

States also round one value: the fraction of a tick in the music clock of Pitfall II's cartridge.
``frame`` rounds it after each frame, so that saving a state has no effect on the game.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import ale_py
import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = ["MT_WORDS", "Console", "put_generator"]

MT_WORDS = 624
MT_TEXT = re.compile(rb"(?:\d+ ){%d}\d+" % MT_WORDS)
OUTER_LENGTH = slice(24, 28)  # where ale-py writes the length of the rest
PARTIAL_FRAME_GAMES = frozenset({"qbert", "tetris", "tic_tac_toe_3d"})
"""Games that sometimes stop in the middle of a frame. ale-py's states (0.12.1) do not say whether
they have; the processor's registers do: the processor did not reach the end of the frame."""
FRAMES_TO_TRY = 10
PROCESSOR = b"M6502Low"
END_OF_FRAME_AT = len(PROCESSOR) + 52  # from there
MUSIC_CARTRIDGE = b"CartridgeDPC"

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class Console:
    """An Atari console with a game loaded.

    Args:
        ale: the interface with the game loaded and sticky actions off.
        game: the game's name in snake case.

    ``frame(action, strength)`` runs one frame and returns its reward.
    """

    def __init__(self, ale: ale_py.ALEInterface, game: str) -> None:
        self.ale = ale
        self._may_be_partial = game in PARTIAL_FRAME_GAMES
        self._donors: dict[bool, bytes] = {}  # cores whose next frame ends partial, or not
        self._core: bytes | None = None  # the present core, if known
        self._draws = 0  # numbers drawn from the generator that resets read
        self._take_apart(ale.cloneState().serialize())
        self._reload_generators()
        self._rounds = MUSIC_CARTRIDGE in self.core()
        self.frame: Callable[..., int] = self._rounded_frame if self._rounds else ale.act

    def _rounded_frame(self, action: Any, strength: float = 1.0) -> int:
        self._restore(self.core())
        self._core = None
        return self.ale.act(action, strength)

    def _take_apart(self, data: bytes) -> None:
        match = MT_TEXT.search(data)
        if match is None:
            raise InvalidStateError(
                f"ale-py {ale_py.__version__} lays its states out in a way unknown here"
            )
        self._text_at = match.start() - 4
        self._text = match.group()
        outer = struct.unpack("<I", data[OUTER_LENGTH])[0] - len(self._text)
        self._outer = struct.pack("<I", outer)
        self.core_size = len(data) - len(self._text)
        self._end_of_frame_at = self._clone_core().index(PROCESSOR) + END_OF_FRAME_AT
        self.game_hash = data[32:64]

    def core(self) -> bytes:
        """The console's state without the generator's text, which ale-py can restore."""
        if self._core is None:
            self._core = self._clone_core()
        return self._core

    def _clone_core(self) -> bytes:
        data = self.ale.cloneState().serialize()
        at = self._text_at
        rest = at + 4 + len(data) - self.core_size  # after the text
        return b"".join((data[:24], self._outer, data[28:at], b"\0\0\0\0", data[rest:]))

    def _with_text(self, core: bytes, text: bytes) -> bytes:
        at = self._text_at
        outer = struct.pack("<I", int.from_bytes(self._outer, "little") + len(text))
        length = struct.pack("<I", len(text))
        return b"".join((core[:24], outer, core[28:at], length, text, core[at + 4 :]))

    def _restore(self, data: bytes) -> None:
        self.ale.restoreState(ale_py.ALEState(data))

    # ---- half-drawn frames --------------------------------------------------------------------

    def _is_partial(self, core: bytes) -> bool:
        return not core[self._end_of_frame_at] & 1

    def _put(self, core: bytes, before: bytes | None = None) -> None:
        """Restore ``core`` and, if the game may stop inside a frame, whether it had stopped.

        ``before``: an earlier core of the same game, if known.
        """
        partial = self._is_partial(core)
        if partial or self._may_be_partial:
            self._may_be_partial = True
            if self._is_partial(self.core()) != partial:
                self._stop_in_frame(partial, core, before)
        self._restore(core)
        self._core = core

    def _stop_in_frame(self, partial: bool, core: bytes, before: bytes | None) -> None:
        """Run some frame that ends in the middle (``partial``), or one that is complete."""
        for start in (self._donors.get(partial), core, before):
            if start is not None:
                self._restore(start)
                if self._run_until(partial, start):
                    return
        self.ale.reset_game()  # a reset of Q*bert ends in the middle
        start = self._clone_core()
        if self._is_partial(start) != partial and not self._run_until(partial, start):
            raise InvalidStateError("found no way to stop as far inside a frame as the state has")

    def _run_until(self, partial: bool, here: bytes) -> bool:
        for _ in range(FRAMES_TO_TRY):
            self.ale.act(ale_py.Action.NOOP)
            after = self._clone_core()
            if after[OUTER_LENGTH.stop :] == here[OUTER_LENGTH.stop :]:
                return False  # game over: no frame was run
            if self._is_partial(after) == partial:
                self._donors[partial] = here
                return True
            here = after
        return False

    # ---- the generators -----------------------------------------------------------------------

    def _reload_generators(self) -> None:
        """Read both generators of a console whose game was just loaded; zero one of them."""
        data = self.ale.cloneState(include_rng=True).serialize()
        texts = MT_TEXT.findall(data)
        self._first_text, self._first_draws = texts[0], int(texts[0].split()[-1])
        self._draws = self._first_draws
        self.mt = _generator_from(texts[-1])
        # A generator of zeros is written faster than one of ten-digit numbers.
        self._restore(self._with_text(self.core(), b"0 " * MT_WORDS + b"0"))

    def _text_after(self, draws: int) -> bytes:
        generator = _generator_from(self._first_text)
        generator.random_raw(draws - self._first_draws, output=False)
        return _generator_text(generator)

    def _reset_from(self, core: bytes, draws: int) -> None:
        self._put(core)
        self._restore(self._with_text(core, self._text_after(draws)))
        self.ale.reset_game()
        data = self.ale.cloneState().serialize()
        position = int(MT_TEXT.search(data).group().split()[-1])  # type: ignore[union-attr]
        self._draws = draws + (position - draws) % MT_WORDS
        self._core = None
        self._restore(self._with_text(self.core(), b"0 " * MT_WORDS + b"0"))


def _generator_text(generator: np.random.MT19937) -> bytes:
    state = generator.state["state"]
    return b" ".join(b"%d" % word for word in (*state["key"].tolist(), state["pos"]))


def _generator_from(text: bytes) -> np.random.MT19937:
    words = [int(word) for word in text.split()]
    return put_generator(np.random.MT19937(0), np.array(words[:MT_WORDS]), words[MT_WORDS])


def put_generator(
    generator: np.random.MT19937, key: np.ndarray, position: int
) -> np.random.MT19937:
    """Set the key and position of ``generator``; return it."""
    state: Any = {"key": key.astype(np.uint32), "pos": position}
    generator.state = {"bit_generator": "MT19937", "state": state}
    return generator

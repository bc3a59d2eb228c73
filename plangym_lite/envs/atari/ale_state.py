"""Console: what an Atari console of ale-py is made of, byte by byte.

What ale-py calls a state is 7.7 KB, of which 6.7 KB are the text of a random generator that only a
console reset ever reads. The other kilobyte is the *core*: ale-py restores it unchanged, several
times quicker than the whole.

One thing is in no state of ale-py (0.12.1): whether the picture chip was stopped half way through a
frame. Where it was, the next frame runs differently. The processor's registers, which are in the
core, tell: it did not come to the frame's end. ``_put`` sets that right.

And one thing is rounded in them: the fraction of a tick in the music clock of Pitfall II's
cartridge. So that a game that was saved runs on as one that was not, ``frame`` rounds it each time.

Sticky actions are on in ale-py, for some games act, and so draw, while they are reset. Outside
resets its generator is kept where no action sticks (``CALM_TEXT``).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import ale_py
import numpy as np

from plangym_lite.envs.atari.mersenne import (
    CALM_FRAMES,
    CALM_TEXT,
    MT_TEXT,
    MT_WORDS,
    ZERO_TEXT,
    draw_until,
    generator_from,
    generator_text,
)
from plangym_lite.errors import InvalidStateError

__all__ = ["Console"]

OUTER_LENGTH = slice(24, 28)  # where ale-py writes the length of what follows
PARTIAL_FRAME_GAMES = frozenset({"qbert", "tetris", "tic_tac_toe_3d"})
"""Games that sometimes stop half way through a frame. Whether they have is not in ale-py's states
(0.12.1), but in the registers of the processor, which are: it did not come to the frame's end."""
FRAMES_TO_TRY = 10
PROCESSOR = b"M6502Low"
END_OF_FRAME_AT = len(PROCESSOR) + 52  # from there
MUSIC_CARTRIDGE = b"CartridgeDPC"
END = 8  # bytes of an ale-py state after its generators: the limits of the paddles
RANDOM_MODE_GAMES = frozenset({"adventure"})
"""Games whose resets draw from the generator of sticky actions even if there are none, except in
mode 0."""

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class Console:
    """A console with a game in it.

    Args:
        ale: the interface, game loaded, with its sticky actions as they shall be.
        game: the game's name in snake case.

    ``frame(action, strength)`` runs one frame and returns its reward.
    """

    def __init__(self, ale: ale_py.ALEInterface, game: str) -> None:
        self.ale = ale
        self.sticky = ale.getFloat("repeat_action_probability")
        draws_anyway = game in RANDOM_MODE_GAMES and ale.cloneState().getCurrentMode() != 0
        self.has_generator = bool(self.sticky) or draws_anyway
        self._calm = 0  # frames in which no action will stick
        self._act: Callable[..., int] = self._calm_act if self.sticky else ale.act
        self._may_be_partial = game in PARTIAL_FRAME_GAMES
        self._donors: dict[bool, bytes] = {}  # cores from which one frame ends partial, or does not
        self._core: bytes | None = None  # the core of here, where it is known
        self._draws = 0  # of the generator that resets read
        self._take_apart(ale.cloneState().serialize())
        self._reload_generators()
        self._rounds = MUSIC_CARTRIDGE in self.core()
        self.frame: Callable[..., int] = self._rounded_frame if self._rounds else self._act

    def _rounded_frame(self, action: Any, strength: float = 1.0) -> int:
        self._restore(self.core())
        self._core = None
        return self._act(action, strength)

    def _calm_act(self, action: Any, strength: float = 1.0) -> int:
        if not self._calm:
            self._restore(self._with_texts(self._clone_core(), b"", CALM_TEXT))
            self._calm = CALM_FRAMES
        self._calm -= 1
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
        """The console's state, without the generator's text, as ale-py can restore it."""
        if self._core is None:
            self._core = self._clone_core()
        return self._core

    def _clone_core(self) -> bytes:
        data = self.ale.cloneState().serialize()
        at = self._text_at
        rest = at + 4 + len(data) - self.core_size  # after the text
        return b"".join((data[:24], self._outer, data[28:at], b"\0\0\0\0", data[rest:]))

    def _with_texts(self, core: bytes, text: bytes, actions: bytes = b"") -> bytes:
        """``core`` with the generator of resets and, if given, that of sticky actions."""
        at, rest = self._text_at, core[self._text_at + 4 :]
        if actions:
            length = struct.pack("<I", len(actions))
            rest = b"".join((rest[: -END - 4], self._included, length, actions, rest[-END:]))
        size = int.from_bytes(self._outer, "little") + len(text) + len(rest) - len(core) + at + 4
        head = core[:24], struct.pack("<I", size), core[28:at], struct.pack("<I", len(text))
        return b"".join((*head, text, rest))

    def _restore(self, data: bytes) -> None:
        self.ale.restoreState(ale_py.ALEState(data))

    # ---- half-drawn frames --------------------------------------------------------------------

    def _is_partial(self, core: bytes) -> bool:
        return not core[self._end_of_frame_at] & 1

    def _put(self, core: bytes, before: bytes | None = None) -> None:
        """Restore ``core`` and, where the game may stop inside a frame, whether it has.

        ``before`` is an earlier core of the same game, if one is known.
        """
        partial = self._is_partial(core)
        if partial or self._may_be_partial:
            self._may_be_partial = True
            if self._is_partial(self.core()) != partial:
                self._stop_in_frame(partial, core, before)
        self._restore(core)
        self._core = core

    def _stop_in_frame(self, partial: bool, core: bytes, before: bytes | None) -> None:
        """Run any frame that ends in the middle (``partial``), or any that does not."""
        for start in (self._donors.get(partial), core, before):
            if start is not None:
                self._restore(start)
                if self._run_until(partial, start):
                    return
        self.ale.reset_game()  # a reset of Q*bert ends in the middle
        self._calm = 0
        start = self._clone_core()
        if self._is_partial(start) != partial and not self._run_until(partial, start):
            raise InvalidStateError("found no way to stop as far inside a frame as the state has")

    def _run_until(self, partial: bool, here: bytes) -> bool:
        for _ in range(FRAMES_TO_TRY):
            self._act(ale_py.Action.NOOP)
            after = self._clone_core()
            if after[OUTER_LENGTH.stop :] == here[OUTER_LENGTH.stop :]:
                return False  # the game is over: no frame was run
            if self._is_partial(after) == partial:
                self._donors[partial] = here
                return True
            here = after
        return False

    # ---- the generators -----------------------------------------------------------------------

    def _reload_generators(self) -> None:
        """Learn both generators from a console whose game was just loaded, and quiet one."""
        data = self.ale.cloneState(include_rng=True).serialize()
        texts = MT_TEXT.findall(data[:-END])
        self._first_text, self._first_draws = texts[0], int(texts[0].split()[-1])
        self._draws = self._first_draws
        self.mt = generator_from(texts[-1])
        flag = len(data) - END - len(texts[-1]) - 8
        self._included = data[flag : flag + 4]  # the mark of a second generator
        self._quiet()

    def _quiet(self) -> None:
        """Leave generators behind that cost little, and by which no action sticks."""
        actions = CALM_TEXT if self.sticky else b""
        self._restore(self._with_texts(self.core(), ZERO_TEXT, actions))
        self._calm = CALM_FRAMES

    def _text_after(self, draws: int) -> bytes:
        generator = generator_from(self._first_text)
        generator.random_raw(draws - self._first_draws, output=False)
        return generator_text(generator)

    def _reset_from(
        self, core: bytes, draws: int, generator: np.random.MT19937 | None = None
    ) -> np.ndarray:
        """Reset the console from ``core``; return what it drew of ``generator``.

        ``generator`` is that of sticky actions; ``None``, of a reset that does not draw from it.
        """
        self._put(core)
        actions = generator_text(generator) if generator is not None else b""
        self._restore(self._with_texts(core, self._text_after(draws), actions))
        self.ale.reset_game()
        data = self.ale.cloneState(include_rng=bool(actions)).serialize()
        texts = MT_TEXT.findall(data[:-END])
        position = int(texts[0].split()[-1])
        self._draws = draws + (position - draws) % MT_WORDS
        self._core = None
        self._quiet()
        if generator is None or texts[-1] == actions:
            return np.empty(0, np.uint64)
        return draw_until(generator, texts[-1])

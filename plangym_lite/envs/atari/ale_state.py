"""Console: the byte layout of the states of an Atari console of ale-py.

A state of ale-py is 7.7 KB, of which 6.7 KB are the text of a random generator that is only used by
a console reset. The other kilobyte is the *core*: ale-py restores it several times faster than the
whole.

States of ale-py (0.12.1) do not contain whether the video chip was stopped within a frame, after
which the next frame runs differently. It follows from the processor's registers, which are in the
core: they have not reached the end of the frame. ``_put`` restores it.

States round the fraction of a tick in the music clock of Pitfall II's cartridge. ``frame`` rounds
it after every frame, so that saving has no effect.

Sticky actions are on in ale-py, because some games act, and so draw, during a reset. Outside resets
its generator is kept in a state in which no action sticks (``CALM_TEXT``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import ale_py
import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = [
    "CALM_FRAMES",
    "CALM_TEXT",
    "MT_WORDS",
    "Console",
    "draw_until",
    "generator_from",
    "generator_text",
    "put_generator",
    "rewind",
]

MT_WORDS = 624
MT_TEXT = re.compile(rb"(?:\d+ ){%d}\d+" % MT_WORDS)
ZERO_TEXT = b"0 " * MT_WORDS + b"0"
"""A generator whose text is short, which is faster than one of ten-digit numbers."""
CALM_TEXT = b"%d " % 0x12DD9BB3 * MT_WORDS + b"0"
"""A generator whose next ``MT_WORDS`` numbers are the largest, so that no action sticks."""
CALM_FRAMES = MT_WORDS // 2  # ale-py draws for two players in each frame
MOST_BLOCKS = 1 << 16  # maximum to draw before the state counts as unreachable
MIDDLE = 397
FACTOR = np.uint32(0x9908B0DF)
UPPER, LOWER = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)
OUTER_LENGTH = slice(24, 28)  # length of the rest
PARTIAL_FRAME_GAMES = frozenset({"qbert", "tetris", "tic_tac_toe_3d"})
"""Games that sometimes stop within a frame, which states of ale-py (0.12.1) do not contain; it
follows from the processor's registers, which have not reached the end of the frame."""
FRAMES_TO_TRY = 10
PROCESSOR = b"M6502Low"
END_OF_FRAME_AT = len(PROCESSOR) + 52  # from there
MUSIC_CARTRIDGE = b"CartridgeDPC"
END = 8  # bytes of an ale-py state after its generators: the limits of the paddles
RANDOM_MODE_GAMES = frozenset({"adventure"})
"""Games whose resets draw from the generator of sticky actions even without sticky actions, except
in mode 0."""

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class Console:
    """A console with a game in it; ``frame(action, strength)`` runs one frame, returns its reward.

    Args:
        ale: the interface with a loaded game and the wanted sticky actions.
        game: the game's name in snake case.
    """

    def __init__(self, ale: ale_py.ALEInterface, game: str) -> None:
        self.ale = ale
        self.sticky = ale.getFloat("repeat_action_probability")
        draws_anyway = game in RANDOM_MODE_GAMES and ale.cloneState().getCurrentMode() != 0
        self.has_generator = bool(self.sticky) or draws_anyway
        self._calm = 0  # remaining frames in which no action sticks
        self._act: Callable[..., int] = self._calm_act if self.sticky else ale.act
        self._may_be_partial = game in PARTIAL_FRAME_GAMES
        self._donors: dict[bool, bytes] = {}  # cores from which a frame ends partial, or does not
        self._core: bytes | None = None  # the current core, if known
        self._draws = 0  # draws of the generator of resets
        self._take_apart(ale.cloneState().serialize())
        self._reload_generators()
        self._rounds = MUSIC_CARTRIDGE in self.core()
        self.frame: Callable[..., int] = self._rounded_frame if self._rounds else self._act

    def _rounded_frame(self, action: Any, strength: float = 1.0) -> int:
        core = self.core()
        if self.sticky and not self._calm:  # restored once only: rounding twice may differ
            core, self._calm = self._with_texts(core, b"", CALM_TEXT), CALM_FRAMES
        self._restore(core)
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
        """The console's state without the generator's text, restorable by ale-py."""
        if self._core is None:
            self._core = self._clone_core()
        return self._core

    def _clone_core(self) -> bytes:
        data = self.ale.cloneState().serialize()
        at = self._text_at
        rest = at + 4 + len(data) - self.core_size  # after the text
        return b"".join((data[:24], self._outer, data[28:at], b"\0\0\0\0", data[rest:]))

    def _with_texts(self, core: bytes, text: bytes, actions: bytes = b"") -> bytes:
        """``core`` with the generator of resets and, if given, of sticky actions."""
        at, rest = self._text_at, core[self._text_at + 4 :]
        if actions:
            length = struct.pack("<I", len(actions))
            rest = b"".join((rest[: -END - 4], self._included, length, actions, rest[-END:]))
        size = int.from_bytes(self._outer, "little") + len(text) + len(rest) - len(core) + at + 4
        head = core[:24], struct.pack("<I", size), core[28:at], struct.pack("<I", len(text))
        return b"".join((*head, text, rest))

    def _restore(self, data: bytes) -> None:
        self.ale.restoreState(ale_py.ALEState(data))

    # ---- partial frames -----------------------------------------------------------------------

    def _is_partial(self, core: bytes) -> bool:
        return not core[self._end_of_frame_at] & 1

    def _put(self, core: bytes, before: bytes | None = None) -> None:
        """Restore ``core``, also within a frame. ``before``: an earlier core, if known."""
        partial = self._is_partial(core)
        if partial or self._may_be_partial:
            self._may_be_partial = True
            if self._is_partial(self.core()) != partial:
                self._stop_in_frame(partial, core, before)
        self._restore(core)
        self._core = core

    def _stop_in_frame(self, partial: bool, core: bytes, before: bytes | None) -> None:
        """Run a frame that ends partial, or one that does not."""
        for start in (self._donors.get(partial), core, before):
            if start is not None:
                self._restore(start)
                if self._run_until(partial, start):
                    return
        self.ale.reset_game()  # a reset of Q*bert ends partial
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
        """Read both generators from a console with a newly loaded game; set the calm one."""
        data = self.ale.cloneState(include_rng=True).serialize()
        texts = MT_TEXT.findall(data[:-END])
        self._first_text, self._first_draws = texts[0], int(texts[0].split()[-1])
        self._draws = self._first_draws
        self.mt = generator_from(texts[-1])
        flag = len(data) - END - len(texts[-1]) - 8
        self._included = data[flag : flag + 4]  # the flag of a second generator
        self._quiet()

    def _quiet(self) -> None:
        """Set generators with short texts, with which no action sticks."""
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
        """Reset the console from ``core``; return the numbers drawn from ``generator``.

        ``generator`` is that of sticky actions; ``None`` for a reset that does not draw from it.
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


# ---- the Mersenne Twister of ale-py --------------------------------------------------------------


def generator_text(generator: np.random.MT19937) -> bytes:
    """``generator`` in the text format of ale-py."""
    state = generator.state["state"]
    return b" ".join(b"%d" % word for word in (*state["key"].tolist(), state["pos"]))


def generator_from(text: bytes) -> np.random.MT19937:
    """The generator of a text of ale-py."""
    words = [int(word) for word in text.split()]
    return put_generator(np.random.MT19937(0), np.array(words[:MT_WORDS]), words[MT_WORDS])


def put_generator(
    generator: np.random.MT19937, key: np.ndarray, position: int
) -> np.random.MT19937:
    """Set the key and position of ``generator``; return it."""
    state: Any = {"key": key.astype(np.uint32), "pos": position}
    generator.state = {"bit_generator": "MT19937", "state": state}
    return generator


def draw_until(generator: np.random.MT19937, text: bytes) -> np.ndarray:
    """Draw from ``generator`` until its state is that of ``text``; return the numbers."""
    target = generator_from(text).state["state"]
    n_draws = (target["pos"] - generator.state["state"]["pos"]) % MT_WORDS
    drawn = [generator.random_raw(n_draws)]
    while not np.array_equal(generator.state["state"]["key"], target["key"]):
        if len(drawn) > MOST_BLOCKS:
            raise InvalidStateError("a reset left ale-py's generator where it never comes by")
        drawn.append(generator.random_raw(MT_WORDS))
    return np.concatenate(drawn)


def rewind(generator: np.random.MT19937, n_draws: int) -> np.random.MT19937:
    """Rewind ``generator`` by ``n_draws`` draws; return it."""
    state = generator.state["state"]
    key, position = state["key"].copy(), state["pos"] - n_draws
    while position < 0:
        key, position = _block_before(key), position + MT_WORDS
    return put_generator(generator, key, position)


def _block_before(new: np.ndarray) -> np.ndarray:
    """The ``MT_WORDS`` words before ``new``."""
    old, split = np.zeros_like(new), MT_WORDS - MIDDLE
    late = _untwist(new[split:] ^ new[:MIDDLE])  # upper bit of one word, the rest of the next
    old[split:] = late & UPPER
    old[split + 1 :] |= late[:-1] & LOWER
    early = _untwist(new[:split] ^ old[MIDDLE:])
    old[:split] = early & UPPER
    old[1 : split + 1] |= early & LOWER
    old[0] |= _untwist(old[-1:] ^ old[MIDDLE - 1 : MIDDLE])[0] & LOWER
    return old


def _untwist(mixed: np.ndarray) -> np.ndarray:
    is_odd = (mixed & UPPER) != 0
    return np.where(is_odd, ((mixed ^ FACTOR) << 1) | 1, mixed << 1).astype(np.uint32)

"""Emulator: one Atari console (ale-py), saved and restored exactly, picture included.

What ale-py calls a state is 7.7 KB, of which 6.7 KB are the text of a random generator that only a
console reset ever reads. Formatting and parsing that text is most of the price of
``cloneState`` and ``restoreState``. Here a state keeps the other kilobyte (the *core*), the
generator as the number of draws it has made, and the way that led to the picture::

    header, with the last actions | core | origin: the core before them | sticky generator

- The generator's text is put back before every console reset, so resets are exact too.
- The picture is not in ale-py's state. Where one is asked for right after a restore, the last
  actions are run again from the origin: nothing is paid for it before that.
- Sticky actions: the console runs with none, and this class draws them from the very sequence that
  the console would have used, so that the action being repeated and the generator are in the state.

Measured over all 104 games of ale-py 0.12.1: stepping never touches the generator of resets, and a
core restored without it runs bit for bit like the whole state.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import ale_py
import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = ["Emulator"]

HEADER = struct.Struct("<IBBBBII")  # tag, ended, kind of origin, actions, sticky, draws, origin's
ACTION = struct.Struct("<IIf")  # action, frames, paddle strength
CORE_AT = 64  # after the header and at most two actions
AT_STATE, BEFORE_RESET = 0, 1  # kinds of origin
MT_WORDS = 624
MT_TEXT = re.compile(rb"(?:\d+ ){%d}\d+" % MT_WORDS)
OUTER_LENGTH = slice(24, 28)  # where ale-py writes the length of what follows
LAST_WITH_PARTIAL_FRAMES = (0, 12, 1)
PARTIAL_FRAME_GAMES = frozenset({"qbert", "tetris"})
"""Games that need a primer frame: a flag of the picture chip is missing from ale-py's states."""
LONG_PICTURE_GAMES = frozenset({"tic_tac_toe_3d", "video_checkers", "yars_revenge"})
"""Games whose first picture after a restore still shows what was there before."""


ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class Emulator:
    """A console with a game in it.

    Args:
        ale: the interface, game loaded, with its own sticky actions off.
        game: the game's name in snake case.
        sticky: probability, for each frame, of repeating the action before.
        pictures: whether pictures will be read on every step.
    """

    def __init__(
        self, ale: ale_py.ALEInterface, game: str, sticky: float, pictures: bool = False
    ) -> None:
        self.ale = ale
        self.sticky = sticky
        version = tuple(int(part) for part in ale_py.__version__.split(".")[:3])
        self._primes = game in PARTIAL_FRAME_GAMES and version <= LAST_WITH_PARTIAL_FRAMES
        self._replays = pictures and game in LONG_PICTURE_GAMES
        self.last_action = 0  # the action that sticks
        self._core: bytes | None = None  # the core of here, where it is known
        self._draws = 0
        self._take_apart(ale.cloneState().serialize())
        self._reload_generators()
        self._origin, self._kind, self._origin_draws = self.core(), AT_STATE, 0
        self._actions: list[tuple[int, int, float]] = []  # from the origin to here
        self._loaded: bytes | None = None  # the state just restored, until something runs
        self._picture_is_old = False  # whether the screen shows what was before the restore

    # ---- the anatomy of ale-py's bytes --------------------------------------------------------

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
        self._origin_at = CORE_AT + self.core_size
        self._sticky_at = self._origin_at + self.core_size
        self.size = self._sticky_at + (4 * (MT_WORDS + 1) if self.sticky else 0)
        options = (ale_py.__version__, data[32:64], self.sticky, self.size)
        self._tag = zlib.crc32(repr(options).encode())

    def core(self) -> bytes:
        """The console's state, without the generator's text, as ale-py can restore it."""
        if self._core is None:
            self._core = self._clone_core()
        return self._core

    def _clone_core(self) -> bytes:
        data = self.ale.cloneState().serialize()
        at = self._text_at
        rest = at + 4 + int.from_bytes(data[at : at + 4], "little")
        return b"".join((data[:24], self._outer, data[28:at], b"\0\0\0\0", data[rest:]))

    def _with_text(self, core: bytes, text: bytes) -> bytes:
        at = self._text_at
        outer = struct.pack("<I", int.from_bytes(self._outer, "little") + len(text))
        length = struct.pack("<I", len(text))
        return b"".join((core[:24], outer, core[28:at], length, text, core[at + 4 :]))

    def _restore(self, data: bytes) -> None:
        self.ale.restoreState(ale_py.ALEState(data))

    def _restore_core(self, core: bytes) -> None:
        self._restore(core)
        if self._primes:
            self.ale.act(ale_py.Action.NOOP)
            self._restore(core)

    # ---- the generators -----------------------------------------------------------------------

    def _reload_generators(self) -> None:
        """Learn both generators from a console whose game was just loaded, and quiet one."""
        data = self.ale.cloneState(include_rng=True).serialize()
        texts = MT_TEXT.findall(data)
        self._first_text, self._first_draws = texts[0], int(texts[0].split()[-1])
        self._draws = self._first_draws
        self.mt = _generator_from(texts[-1])
        # A generator of zeros is quicker to write out than one of ten-digit numbers.
        self._restore(self._with_text(self.core(), b"0 " * MT_WORDS + b"0"))

    def _text_after(self, draws: int) -> bytes:
        generator = _generator_from(self._first_text)
        generator.random_raw(draws - self._first_draws, output=False)
        return _generator_text(generator)

    def reset(self, reload: Any = None) -> None:
        """Reset the console, after loading the game anew by ``reload()`` if that is given."""
        if reload is not None:
            reload()
            self._core = None
            self._reload_generators()
        self._origin, self._kind, self._origin_draws = self.core(), BEFORE_RESET, self._draws
        self._actions = []
        self._reset_from(self._origin, self._draws)
        self.last_action, self._loaded, self._picture_is_old = 0, None, False

    def _reset_from(self, core: bytes, draws: int) -> None:
        self._restore(self._with_text(core, self._text_after(draws)))
        self.ale.reset_game()
        data = self.ale.cloneState().serialize()
        position = int(MT_TEXT.search(data).group().split()[-1])  # type: ignore[union-attr]
        self._draws = draws + (position - draws) % MT_WORDS
        self._core = None
        self._restore(self._with_text(self.core(), b"0 " * MT_WORDS + b"0"))

    # ---- running ------------------------------------------------------------------------------

    def run(
        self, action: Any, n_frames: int, stop_below_lives: int = 0, strength: float = 1.0
    ) -> tuple[int, int]:
        """Hold ``action`` for up to ``n_frames`` frames; return ``(reward, frames run)``.

        Stops when the game is over, or when fewer than ``stop_below_lives`` lives are left.
        """
        self._origin, self._kind, self._origin_draws = self.core(), AT_STATE, 0
        self._core, self._loaded, self._picture_is_old = None, None, False
        if self.sticky:
            return self._run_sticky(action.value, n_frames, stop_below_lives, strength)
        act, game_over = self.ale.act, self.ale.game_over
        total = frames = 0
        while frames < n_frames:
            total += act(action, strength)
            frames += 1
            if game_over() or (stop_below_lives and self.ale.lives() < stop_below_lives):
                break
        self._actions = [(action.value, frames, strength)]
        return total, frames

    def _run_sticky(
        self, wanted: int, n_frames: int, stop_below_lives: int, strength: float
    ) -> tuple[int, int]:
        limit, before, total, frames, stuck = self.sticky * 2**32, self.last_action, 0, 0, 0
        while frames < n_frames:
            if not self.mt.random_raw(2)[0] < limit:  # the second draw is for player B
                self.last_action = wanted
            elif stuck == frames:
                stuck += 1
            total += self.ale.act(self.last_action, strength)
            frames += 1
            if self.ale.game_over() or (stop_below_lives and self.ale.lives() < stop_below_lives):
                break
        self._actions = [(before, stuck, strength), (wanted, frames - stuck, strength)]
        return total, frames

    # ---- the state ----------------------------------------------------------------------------

    def save(self, out: np.ndarray, ended: int) -> None:
        """Write the state into ``out[:size]``."""
        view = out.data
        if self._loaded is not None:
            view[: self.size] = self._loaded
            return
        actions = self._actions
        kind, draws = (
            (self._kind, len(actions), self.last_action),
            (self._draws, self._origin_draws),
        )
        header = HEADER.pack(self._tag, ended, *kind, *draws)
        for action in actions:
            header += ACTION.pack(*action)
        view[:CORE_AT] = header.ljust(CORE_AT, b"\0")
        view[CORE_AT : self._origin_at] = self.core()
        view[self._origin_at : self._sticky_at] = self._origin
        if self.sticky:
            state = self.mt.state["state"]
            out[self._sticky_at : self.size - 4] = state["key"].view(np.uint8)
            struct.pack_into("<I", view, self.size - 4, state["pos"])

    def load(self, state: bytes, generators: bool = True) -> int:
        """Restore what ``save`` wrote; return its ``ended``."""
        tag, ended, self._kind, n_actions, last_action, draws, origin_draws = HEADER.unpack_from(
            state
        )
        if tag != self._tag:
            raise InvalidStateError(
                "a state of another game, of other options or of another version of ale-py"
            )
        self._core = state[CORE_AT : self._origin_at]
        self._restore_core(self._core)
        self._origin = state[self._origin_at : self._sticky_at]
        self._actions = [
            ACTION.unpack_from(state, HEADER.size + k * ACTION.size) for k in range(n_actions)
        ]
        self.last_action, self._draws, self._origin_draws = last_action, draws, origin_draws
        self._loaded = state[: self.size] if generators else None
        self._picture_is_old = True
        if self.sticky and generators:
            words = np.frombuffer(state[self._sticky_at : self.size], "<u4")
            _put_generator(self.mt, words[:MT_WORDS], int(words[MT_WORDS]))
        if self._replays:
            self.refresh_picture()
        return ended

    def refresh_picture(self) -> None:
        """After a restore: bring the picture back by running the last actions again."""
        if not self._picture_is_old:
            return
        core, draws = self.core(), self._draws
        if self._kind == BEFORE_RESET:
            self._reset_from(self._origin, self._origin_draws)
        else:
            self._restore_core(self._origin)
        for action, frames, strength in self._actions:
            for _ in range(frames):
                self.ale.act(action, strength)
        self._core, self._draws, self._picture_is_old = core, draws, False
        self._restore(core)  # does not touch the picture


def _generator_text(generator: np.random.MT19937) -> bytes:
    state = generator.state["state"]
    return b" ".join(b"%d" % word for word in (*state["key"].tolist(), state["pos"]))


def _generator_from(text: bytes) -> np.random.MT19937:
    words = [int(word) for word in text.split()]
    return _put_generator(np.random.MT19937(0), np.array(words[:MT_WORDS]), words[MT_WORDS])


def _put_generator(
    generator: np.random.MT19937, key: np.ndarray, position: int
) -> np.random.MT19937:
    state: Any = {"key": key.astype(np.uint32), "pos": position}
    generator.state = {"bit_generator": "MT19937", "state": state}
    return generator

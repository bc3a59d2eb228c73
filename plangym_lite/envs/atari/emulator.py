"""Emulator: one Atari console, saved and restored exactly, including its image.

::

    header, with the last actions | core | past: the core before them | sticky generator

- The core is the console's state without the text of the generator of resets, which is saved as its
  number of draws, and restored before every reset.
- The image is not in ale-py's state. If it is read right after a restore, the last actions are run
  again from the past; otherwise it costs nothing.
- Sticky actions: frames run without them, and this class draws from the sequence that the console
  would use, so that the repeated action and the generator are in the state. Resets run with those
  of the console, and the sequence continues after them.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import ale_py
import numpy as np

from plangym_lite.envs.atari.ale_state import MT_WORDS, Console, put_generator, rewind
from plangym_lite.errors import InvalidStateError

__all__ = ["EMPTY", "Emulator"]

PAST = struct.Struct("<IIIIfIIf")  # kind and drawn, draws, twice (action, frames, paddle strength)
AT_STATE, BEFORE_RESET = 0, 1  # kinds of past
Held = tuple[int, int, float]  # an action, number of frames, paddle strength
NOTHING: Held = (0, 0, 0.0)
EMPTY = bytes(PAST.size)
HEADER = struct.Struct("<IBBBBI")  # tag, ended, number of pasts, sticky action, unused, draws
LONG_PICTURE_GAMES = frozenset({"qbert", "tetris", "video_checkers", "yars_revenge"})
"""Games whose first images after a restore still show parts of the image before it."""
LONG_RESET_GAMES = frozenset({"amidar", "koolaid", "trondead"})
"""Games with such images only in the first frames after a reset."""
NO_PICTURE_GAMES = frozenset({"tic_tac_toe_3d"})
"""Games that do not draw while they compute a move: the image does not follow from the state."""
ENOUGH_FRAMES = 5  # after which nothing of the old image remains
STICKY = struct.Struct("<If")  # position in the sticky generator, paddle strength that sticks
LONGEST_HOLD = 8  # maximum single frames of one action that are rerun as one run


class Past(NamedTuple):
    """An earlier core and the actions run from it, as stored in a state."""

    core: bytes
    entry: bytes  # a PAST

    @classmethod
    def of(cls, core: bytes, kind: int, draws: int = 0, *actions: Held, drawn: int = 0) -> Past:
        """``kind`` BEFORE_RESET: a reset comes first, with its generator after ``draws`` draws.

        ``drawn``: numbers that this reset drew from the generator of sticky actions.
        """
        first, second = (*actions, NOTHING, NOTHING)[:2]
        return cls(core, PAST.pack(kind | drawn << 8, draws, *first, *second))

    def read(self) -> tuple[int, int, tuple[Held, Held]]:
        kind, draws, *held = PAST.unpack(self.entry)
        return kind & 0xFF, draws, (tuple(held[:3]), tuple(held[3:]))

    @property
    def drawn(self) -> int:
        """Numbers that the reset drew from the generator of sticky actions."""
        return int(PAST.unpack(self.entry)[0]) >> 8

    @property
    def n_frames(self) -> int:
        """Frames to the next past or the current state."""
        return sum(held[1] for held in self.read()[2])


class Emulator(Console):
    """A console with a game in it.

    Args:
        ale: the interface with a loaded game and the wanted sticky actions.
        game: the game's name in snake case.
        pictures: whether images are read in every step.
    """

    def __init__(self, ale: ale_py.ALEInterface, game: str, pictures: bool = False) -> None:
        super().__init__(ale, game)
        self.has_picture = game not in NO_PICTURE_GAMES
        self._depth = ENOUGH_FRAMES if game in LONG_PICTURE_GAMES | LONG_RESET_GAMES else 1
        self._always_replays = pictures and game in LONG_PICTURE_GAMES
        self._replays_resets = pictures and game in LONG_RESET_GAMES
        self.last_action, self.last_strength = 0, 1.0  # repeated by sticky actions
        self._pasts: list[Past] = []  # oldest first, at most _depth
        self._trail: list[tuple[Held, ...]] = []  # the actions run since the last past
        self._behind = 0  # frames since the last past
        self._held: tuple[int, float] | None = None  # action and strength of the current run
        self._loaded: bytes | None = None  # the state just restored, until something runs
        self._origin = b""  # the state restored last
        self._picture_is_old = False  # whether the screen is that before the restore
        self._core_at = HEADER.size + self._depth * PAST.size
        self._pasts_at = self._core_at + self.core_size
        self._sticky_at = self._pasts_at + self._depth * self.core_size
        self.size = self._sticky_at + (4 * MT_WORDS + STICKY.size if self.has_generator else 0)
        options = (ale_py.__version__, self.game_hash, self.sticky, self.size)
        self._tag = zlib.crc32(repr(options).encode())

    def reset(self, reload: Any = None) -> None:
        """Reset the console, after reloading the game by ``reload()`` if given."""
        if reload is not None:
            reload()
            self.reload()
        self._held = None
        core, draws = self.core(), self._draws
        drawn = self._reset_from(core, draws, self.mt if self.has_generator else None)
        self._pasts = [Past.of(core, BEFORE_RESET, draws, drawn=len(drawn))]
        self.last_action, self.last_strength = 0, 1.0  # as in ale-py
        self._loaded, self._picture_is_old = None, False
        self._trail = []

    def reload(self) -> None:
        self.invalidate()
        self._reload_generators()

    def invalidate(self, pasts: bool = False) -> None:
        """Handle changes to the console from outside; with ``pasts``, to another time."""
        self._core = self._loaded = self._held = None
        self._calm = 0
        if pasts:
            self._pasts, self._trail = [], []

    # ---- running ------------------------------------------------------------------------------

    def run(
        self,
        action: Any,
        n_frames: int,
        stop_below_lives: int = 0,
        strength: float = 1.0,
        rerun: int = 0,
    ) -> tuple[int, int]:
        """Hold ``action`` for up to ``n_frames`` frames; return ``(reward, frames run)``.

        Stops when the game is over, or when fewer than ``stop_below_lives`` lives are left.
        ``rerun``: the state will probably not be saved before the next run; if it is, up to
        ``rerun`` frames and the ``n_frames`` are run again.
        """
        before = None if self._behind < rerun and self._can_look_back() else self.core()
        self._held = None
        self._core = before if self._rounds else None
        self._loaded, self._picture_is_old = None, False
        if self.has_generator:
            return self._run_sticky(before, action.value, n_frames, stop_below_lives, strength)
        act, game_over = self.frame, self.ale.game_over
        total = frames = 0
        while frames < n_frames:
            total += act(action, strength)
            frames += 1
            if game_over() or (stop_below_lives and self.ale.lives() < stop_below_lives):
                break
        self._remember(before, (action.value, frames, strength))
        return total, frames

    def _run_sticky(
        self,
        before: bytes | None,
        wanted: int,
        n_frames: int,
        stop_below_lives: int,
        strength: float,
    ) -> tuple[int, int]:
        limit, total, frames, stuck = self.sticky * 2**32, 0, 0, 0
        sticking, its_strength = self.last_action, self.last_strength
        while frames < n_frames:
            if not self.mt.random_raw(2)[0] < limit:  # the second draw is for player B
                self.last_action, self.last_strength = wanted, strength
            elif stuck == frames:
                stuck += 1
            total += self.frame(self.last_action, self.last_strength)
            frames += 1
            if self.ale.game_over() or (stop_below_lives and self.ale.lives() < stop_below_lives):
                break
        held = (sticking, stuck, its_strength), (wanted, frames - stuck, strength)
        self._remember(before, *held)
        return total, frames

    def skip_draws(self, n_frames: int) -> None:
        """Draw for frames that are not run, as ale-py does after the game is over."""
        if self.has_generator and n_frames:
            self.mt.random_raw(2 * n_frames, output=False)

    def act(self, action: Any, strength: float = 1.0) -> int:
        """Run one frame as ale-py does, nothing once the game is over; return the reward.

        Consecutive frames of one action are rerun as one run.
        """
        if self.ale.game_over():
            self.skip_draws(1)
            return 0
        held = action.value, strength
        if self._held != held or self._behind >= LONGEST_HOLD:
            reward, _ = self.run(action, 1, 0, strength)
            self._held = None if self._rounds else held
            return reward
        past = self._pasts[-1]
        kind, draws, (first, second) = past.read()
        self._core = None
        if not self.has_generator:
            first = first[0], first[1] + 1, strength
            reward = self.frame(action, strength)
        else:
            if not self.mt.random_raw(2)[0] < self.sticky * 2**32:
                self.last_action, self.last_strength = held
                second = second[0], second[1] + 1, strength
            elif second[1]:
                second = second[0], second[1] + 1, strength
            else:
                first = first[0], first[1] + 1, first[2]
            reward = self.frame(self.last_action, self.last_strength)
        self._pasts[-1] = Past.of(past.core, kind, draws, first, second)
        self._behind += 1
        return reward

    def _can_look_back(self) -> bool:
        """Whether the core before the next run can be recomputed from an earlier one."""
        if self._core is not None or self._depth > 1 or self._rounds or not self._pasts:
            return False
        return self._pasts[0].entry[0] == AT_STATE

    def _remember(self, core: bytes | None, *actions: Held) -> None:
        frames = sum(held[1] for held in actions)
        if core is None:
            self._trail.append(actions)
            self._behind += frames
            return
        self._behind = frames
        kept = self._pasts[1 - self._depth :] if self._depth > 1 else []
        self._pasts, self._trail = [*kept, Past.of(core, AT_STATE, 0, *actions)], []

    def _look_back(self) -> None:
        """Recompute the core before the last run, by running the actions before it again."""
        here, past = self.core(), self._pasts[0]
        self._put(past.core)
        for actions in (past.read()[2], *self._trail[:-1]):
            self._run_again(actions)
        before, last = self._clone_core(), self._trail[-1]
        self._run_again(last)  # restores the image
        self._restore(here)
        self._core = here
        self._remember(before, *last)

    def _run_again(self, actions: tuple[Held, ...]) -> None:
        for action, frames, strength in actions:
            for _ in range(frames):
                self._act(action, strength)

    # ---- the state ----------------------------------------------------------------------------

    def save(self, out: np.ndarray, ended: int) -> None:
        view = out.data
        if self._loaded is not None:
            view[: self.size] = self._loaded
            return
        if self._trail:
            self._look_back()
        pasts = self._pasts
        header = HEADER.pack(self._tag, ended, len(pasts), self.last_action, 0, self._draws)
        parts = [header, *[past.entry for past in pasts], EMPTY * (self._depth - len(pasts))]
        parts += [self.core(), *[past.core for past in pasts]]
        view[: self._sticky_at] = b"".join(parts).ljust(self._sticky_at, b"\0")
        if self.has_generator:
            state = self.mt.state["state"]
            end = self.size - STICKY.size
            out[self._sticky_at : end] = state["key"].view(np.uint8)
            STICKY.pack_into(view, end, state["pos"], self.last_strength)

    def generators(self) -> list[np.random.MT19937]:
        """The generator of sticky actions, if there is one, to be seeded."""
        self._loaded = None
        return [self.mt] if self.has_generator else []

    def load(self, state: bytes, generators: bool = True) -> int:
        tag, ended, n_pasts, last_action, _, draws = HEADER.unpack_from(state)
        if tag != self._tag:
            raise InvalidStateError(
                "a state of another game, of other options or of another version of ale-py"
            )
        self._pasts, self._trail = [self._read_past(state, row) for row in range(n_pasts)], []
        before = self._pasts[-1].core if self._pasts else None
        self._put(state[self._core_at : self._pasts_at], before)
        self.last_action, self._draws, self._held = last_action, draws, None
        self._origin, self._picture_is_old = state[: self.size], True
        self._loaded = self._origin if generators else None
        if self.has_generator:
            _, self.last_strength = STICKY.unpack_from(state, self.size - STICKY.size)
            if generators:
                self._put_origin(self.mt)
        shows_reset = self._replays_resets and any(
            past.entry[0] == BEFORE_RESET for past in self._seen()
        )
        if self._always_replays or shows_reset:
            self.refresh_picture()
        return ended

    def _put_origin(self, generator: np.random.MT19937) -> np.random.MT19937:
        end = self.size - STICKY.size
        words = np.frombuffer(self._origin[self._sticky_at : end], "<u4")
        return put_generator(generator, words, STICKY.unpack_from(self._origin, end)[0])

    def _read_past(self, state: bytes, index: int) -> Past:
        head = HEADER.size + index * PAST.size
        core = self._pasts_at + index * self.core_size
        return Past(state[core : core + self.core_size], state[head : head + PAST.size])

    def _seen(self) -> list[Past]:
        """The pasts whose frames are visible in the image."""
        first = max(len(self._pasts) - 1, 0)
        while first and sum(past.n_frames for past in self._pasts[first:]) < ENOUGH_FRAMES:
            first -= 1
        return self._pasts[first:]

    def refresh_picture(self) -> None:
        """After a restore: recompute the image by running the last actions again."""
        if not self._picture_is_old:
            return
        core, draws = self.core(), self._draws
        for index, past in enumerate(self._seen()):
            kind, reset_draws, actions = past.read()
            if kind == BEFORE_RESET:
                before = None
                if past.drawn:  # no draws after the reset: such games have one past
                    before = rewind(self._put_origin(np.random.MT19937(0)), past.drawn)
                self._reset_from(past.core, reset_draws, before)
            elif index == 0:
                self._put(past.core)
            self._run_again(actions)
        self._core, self._draws, self._picture_is_old = core, draws, False
        self._restore(core)  # does not change the image

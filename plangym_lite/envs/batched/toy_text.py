"""Toy text: Taxi, FrozenLake, CliffWalking, Blackjack. A state is 52 or 100 bytes.

::

    ended | last action + 1 | flags | chance | elapsed steps | generator | cell
                                                                         | two hands, face-up card

``flags`` are Taxi's: whether the passenger may change the destination, and the taxi's orientation.
``chance`` numbers the probability of the last transition among those of the table, from 1; 0 after
a reset.
An image shows the taxi oriented by its last move, whatever was drawn before.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

import numpy as np

from plangym_lite.envs.batched.env import KernelEnv
from plangym_lite.envs.batched.kernel import Block, Kernel, Parts
from plangym_lite.envs.generators.generator import GENERATOR_WORDS, GeneratorMemory
from plangym_lite.envs.generators.pcg64 import numbers_of, random_of, words_of
from plangym_lite.errors import InvalidStateError
from plangym_lite.simulator import RUNNING

__all__ = ["GridWorld", "ToyText"]

MODULE = "gymnasium.envs.toy_text."
HEAD = struct.Struct("<4BI")
GENERATOR_IN_WORDS = slice(HEAD.size // 4, HEAD.size // 4 + GENERATOR_WORDS)
GENERATOR = slice(HEAD.size, HEAD.size + 4 * GENERATOR_WORDS)
CELL = struct.Struct("<I")
HANDS = struct.Struct("<24s24s2s2x")  # 22 cards always sum to more than 21
CHANCE = 3  # offset of its byte
FICKLE, TURN = 1, 2  # the flags: a bit, and the orientation times two
TURNS = range(4)


class GridWorld(Kernel):
    """FrozenLake, CliffWalking, Taxi.

    Parts: last action + 1, orientation, state and increment of the generator (two words each, the
    higher first), cell, and the probability of the last move.
    """

    def __init__(self, base: Any) -> None:
        super().__init__(base)
        table, cells = base.P, len(base.P)
        actions = len(table[0])
        most = max(len(moves) for row in table.values() for moves in row.values())
        self.table = table
        self.reached = np.full((cells, actions, most), -np.inf)  # sums of probabilities
        self.outcomes = np.zeros((4, cells, actions, most))  # probability, cell, reward, ends
        for cell, row in table.items():
            for action, moves in row.items():
                self.reached[cell, action, : len(moves)] = np.cumsum([move[0] for move in moves])
                self.outcomes[:, cell, action, : len(moves)] = np.transpose(moves)
        self.turns = hasattr(base, "taxi_orientation")
        masked = hasattr(base, "action_mask")
        self.masks = np.stack([base.action_mask(cell) for cell in range(cells)]) if masked else None

    def accepts(self, block: Block) -> bool:
        return self.base.P is self.table and not getattr(self.base, "fickle_passenger", False)

    def step(self, parts: Parts, actions: np.ndarray) -> tuple[Parts, Any, Any]:
        _, orientation, *numbers, cell, _ = parts
        drawn, numbers = random_of(numbers)
        chosen = np.argmax(self.reached[cell, actions] > drawn[:, None], axis=1)
        chance, after, rewards, ends = self.outcomes[:, cell, actions, chosen]
        if self.turns:
            orientation = np.where(actions < 4, actions, orientation)
        cells = after.astype(np.int64)
        return [actions + 1, orientation, *numbers, cells, chance], rewards, ends.astype(bool)

    def observe(self, parts: Parts) -> np.ndarray:
        return parts[-2]

    def told(self, parts: Parts) -> dict[str, Any]:
        told = {"prob": parts[-1].tolist()}
        return told if self.masks is None else {**told, "action_mask": self.masks[parts[-2]]}


class ToyText(KernelEnv):
    """Gymnasium's toy text environments.

    Subclasses, random maps and user wrappers are saved by the generic snapshot instead.
    """

    STATES_NAME: ClassVar[str] = "ToyText"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read

    def adopt_layers(self) -> None:
        self._is_plain = self.has_only_a_limit(MODULE) and not self._has_random_map()
        self._generator = GeneratorMemory(GENERATOR.start // 4)
        self._plays_cards = type(self._base).__name__ == "BlackjackEnv"
        self._body = HANDS if self._plays_cards else CELL
        self._turns = hasattr(self._base, "taxi_orientation")
        has_kernel = self._is_plain and not self._plays_cards
        self._chance = 0
        self._chances: list[Any] = []
        if has_kernel:
            moves = [
                move for row in self._base.P.values() for each in row.values() for move in each
            ]
            self._chances = [1.0 if self._turns else 1, *sorted({move[0] for move in moves})]
            n_actions: int = self.action_space.n  # type: ignore[attr-defined]
            self._most = np.array([3, n_actions, 255, len(self._chances) - 1])  # of the head
        self._chance_values = np.array(self._chances, float)
        self.use_kernel(GridWorld(self._base) if has_kernel else None, self._limits)

    def _has_random_map(self) -> bool:
        """Whether each environment made by this recipe has a different map."""
        if type(self._base).__name__ != "FrozenLakeEnv" or self._engine_kwargs.get("desc"):
            return False
        from gymnasium.envs.toy_text.frozen_lake import MAPS

        rows = ["".join(row) for row in self._base.desc.astype(str)]
        return rows not in MAPS.values()

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        result = super().advance(action, n_frames)
        if self._chances:
            self._chance = self._chances.index(result[-1]["prob"], 1)
        if self._turns and self._base.lastaction in TURNS:
            self._base.taxi_orientation = int(self._base.lastaction)
        return result

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        self._chance = 0
        return super().apply_reset(seed, options)

    def current_info(self) -> dict[str, Any]:
        if not self._is_plain:
            return super().current_info()
        if self._plays_cards:
            return {}
        info = {"prob": self._chances[self._chance]}
        if self._turns:
            info["action_mask"] = self._base.action_mask(self._base.s)
        return info

    # ---- all rows of a batch at once -----------------------------------------------------------

    def take_apart(self, states: np.ndarray, out: np.ndarray | None = None) -> Block | None:
        if not self.clone_seeds:
            return None
        words = states.view("<u4")
        head = states[:, : CHANCE + 1].T.astype(np.int64)
        elapsed, cell = words[:, [1, -1]].T.astype(np.int64)
        if (head > self._most[:, None]).any() or (cell >= len(self._base.P)).any():
            return None
        ended, last, flags, chance = head
        numbers = numbers_of(words[:, GENERATOR_IN_WORDS])
        parts = [last, flags // TURN % 4, *numbers, cell, self._chance_values[chance]]
        return Block(ended, elapsed, parts)

    def put_together(self, block: Block, states: np.ndarray, out: np.ndarray) -> None:
        out[:] = states
        words = out.view("<u4")
        last, orientation, *numbers, cell, chances = block.parts
        out[:, 0], out[:, 1] = block.ended, last
        out[:, 2] = (states[:, 2] & FICKLE) | (TURN * orientation)
        words[:, 1] = block.elapsed if self._limits else 0
        words_of(numbers, words[:, GENERATOR_IN_WORDS])
        words[:, -1] = cell
        codes = 1 + np.searchsorted(self._chance_values[1:], chances)
        out[:, CHANCE] = np.where(states[:, 0] == RUNNING, codes, states[:, CHANCE])

    def generator_words(self, states: np.ndarray) -> np.ndarray:
        return states.view("<u4")[:, GENERATOR_IN_WORDS]

    def random_states(self, draw: np.random.Generator, n_rows: int) -> np.ndarray:
        states = np.tile(self.save_state(), (n_rows, 1))
        states[:, : HEAD.size] = 0
        words = states.view("<u4")
        state_words = slice(GENERATOR_IN_WORDS.start + 2, GENERATOR_IN_WORDS.start + 6)
        words[:, state_words] = draw.integers(2**32, size=(n_rows, 4))
        words[:, -1] = draw.integers(len(self._base.P), size=n_rows)
        return states

    # ---- the state -----------------------------------------------------------------------------

    def save_state(self, out: np.ndarray | None = None) -> Any:
        if not self._is_plain:
            return super().save_state(out)
        base = self._base
        if out is None:
            out = np.empty(GENERATOR.stop + self._body.size, np.uint8)
        last = flags = 0
        if not self._plays_cards:
            last = 0 if base.lastaction is None else base.lastaction + 1
        if self._turns:
            flags = FICKLE * bool(getattr(base, "fickle_step", False))
            flags |= TURN * base.taxi_orientation
        elapsed = self._limits[0]._elapsed_steps if self._limits else 0
        buffer: Any = out
        HEAD.pack_into(buffer, 0, self._ended, last, flags, self._chance, elapsed or 0)
        if self.clone_seeds:
            self._generator.save(base.np_random, out.view(np.uint32))
        else:
            out[GENERATOR] = 0
        body = self._hands() if self._plays_cards else (base.s,)
        self._body.pack_into(buffer, GENERATOR.stop, *body)
        return out

    def load_state(self, state: Any) -> None:
        if not self._is_plain:
            super().load_state(state)
            return
        base = self._base
        ended, last, flags, chance, elapsed = HEAD.unpack_from(state)
        n_actions, n_chances = self.action_space.n, len(self._chances)  # type: ignore[attr-defined]
        if ended > 3 or last > n_actions or chance >= max(n_chances, 1):
            raise InvalidStateError(f"not a state of {self!r}: its first bytes are {state[:4]}")
        if self._plays_cards:
            self._take_hands(*HANDS.unpack_from(state, GENERATOR.stop))
        else:
            (cell,) = CELL.unpack_from(state, GENERATOR.stop)
            if cell not in base.P:
                raise InvalidStateError(f"not a state of {self!r}: it has no cell {cell}")
            base.s = self._obs = cell
            base.lastaction = last - 1 if last else None
        self._ended, self._chance = ended, chance
        if self._turns:
            base.fickle_step, base.taxi_orientation = bool(flags & FICKLE), flags // TURN % 4
        if self._limits:
            self._limits[0]._elapsed_steps = elapsed
        if self.clone_seeds:
            self._generator.load(state.view(np.uint32), base.np_random)

    def _hands(self) -> tuple[bytes, bytes, bytes]:
        base = self._base
        face_up = base.dealer_top_card_suit + base.dealer_top_card_value_str
        return bytes(base.player), bytes(base.dealer), face_up.encode()

    def _take_hands(self, player: bytes, dealer: bytes, face_up: bytes) -> None:
        hands = [list(hand.rstrip(b"\0")) for hand in (player, dealer)]
        if any(len(hand) < 2 or max(hand) > 10 for hand in hands):
            raise InvalidStateError(f"not a state of {self!r}: its hands are {hands}")
        base = self._base
        base.player, base.dealer = hands
        base.dealer_top_card_suit = chr(face_up[0])
        base.dealer_top_card_value_str = chr(face_up[1])
        self._obs = base._get_obs()

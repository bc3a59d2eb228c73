"""Environments as users write them. What each must give comes from plain Gymnasium."""

import collections
import functools
import random
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import NotCloneableError, make

SEED, MOVES, SAVED_AT = 3, 24, 9


class Game(gym.Env):
    """A number that a move changes, somehow."""

    observation_space = spaces.Box(-1e9, 1e9, (1,), np.float64)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        self.begin()
        return np.array([self.x]), {}

    def begin(self):
        pass

    def step(self, action):
        self.go(int(action))
        return np.array([self.x]), self.x, False, False, {}


class DefaultOfALambda(Game):
    def begin(self):
        self.counts = collections.defaultdict(lambda: 0)

    def go(self, action):
        self.counts[action] += 1
        self.x += self.counts[action]


class QueueOfLambdas(Game):
    def begin(self):
        self.queue = collections.deque()

    def go(self, action):
        self.queue.append(lambda: action * 2)
        self.x += self.queue[0]()
        if len(self.queue) > 2:
            self.queue.popleft()


class Generator(Game):
    def begin(self):
        self.numbers = self.count()

    def count(self):
        number = 0
        while True:
            number += 1
            yield number

    def go(self, action):
        self.x += next(self.numbers) * action


class LocalClass(Game):
    def begin(self):
        class Piece:
            n = 0

        self.piece = Piece()

    def go(self, action):
        self.piece.n += action
        self.x += self.piece.n


class Slots(Game):
    __slots__ = ("place", "speed")

    def begin(self):
        self.place = self.speed = 0

    def go(self, action):
        self.speed += action
        self.place += self.speed
        self.x = float(self.place)


def walk(game, action):
    game.x += action + 1


def fly(game, action):
    game.x += 2 * action


class Mode(Game):
    def begin(self):
        self.mode = walk

    def go(self, action):
        if action == 2:
            self.mode = fly if self.mode is walk else walk
        self.mode(self, action)


class Cache(Game):
    def begin(self):
        self.asked = 0

        @functools.lru_cache
        def answer(question):
            self.asked += 1
            return self.asked

        self.answer = answer

    def go(self, action):
        self.x += self.answer(action)
        if action == 0:
            self.answer.cache_clear()


class Border(Game):
    def __init__(self):
        self.whole = np.zeros((6, 6))
        self.board, self.rows = self.whole[1:-1, 1:-1], list(self.whole)

    def begin(self):
        self.whole[:] = 0

    def go(self, action):
        self.board[action, 1] += action + 1
        self.rows[3] += 1
        self.x = float(self.whole[1:4].sum() + 3 * self.board[2, 1])


class Callbacks(Game):
    def __init__(self):
        self.calls = [self.up, self.down]
        self.more = functools.partial(self.add, 3)

    def up(self):
        self.x += 1

    def down(self):
        self.x -= 1

    def add(self, number, action):
        self.x += number * action

    def go(self, action):
        self.calls[action % 2]()
        self.more(action)


class PythonsNumbers(Game):
    def reset(self, *, seed=None, options=None):
        random.seed(seed)
        return super().reset(seed=seed)

    def go(self, action):
        self.x += random.randint(0, 5) + action


class SharedNumbersMuchLater(Game):
    """That it draws stands in its code; no short verification sees it."""

    def reset(self, *, seed=None, options=None):
        self.n = 0
        if seed is not None:
            np.random.seed(seed)
        return super().reset(seed=seed)

    def go(self, action):
        self.n += 1
        self.x += np.random.randint(5) if self.n > 16 else action


class PoppingSet(Game):
    def begin(self):
        self.names = {number * 7919 % 1000 for number in range(30)}

    def go(self, action):
        if action:
            self.x += self.names.pop()
        self.names.add(int(self.x) % 977)


class Enclosed(Game):
    """A closure that lives as long as the environment."""

    def __init__(self):
        count = [0]

        def more(by):
            count[0] += by
            return count[0]

        self.more, self.count = more, count

    def begin(self):
        self.count[0] = 0

    def go(self, action):
        self.x += self.more(action)


SAVED = {
    DefaultOfALambda: "replay",
    QueueOfLambdas: "replay",
    Generator: "replay",
    LocalClass: "replay",
    Slots: "snapshot",
    Mode: "snapshot",
    Cache: "replay",
    Border: "snapshot",
    Callbacks: "snapshot",
    PythonsNumbers: "snapshot",
    SharedNumbersMuchLater: "snapshot",
    PoppingSet: "replay",
    Enclosed: "snapshot",
}


def check(kind, method, **options):
    plain, draw = kind(), np.random.default_rng(0)
    actions = draw.integers(3, size=MOVES).tolist()
    expected = [plain.reset(seed=SEED)[0], *(plain.step(action)[0] for action in actions)]
    random.seed(1)
    np.random.seed(1)
    numbers = random.getstate(), np.random.get_state()[1].tolist()
    with make(kind, **options) as env:
        assert env.state_method == method
        seen = [env.reset(seed=SEED)[1]]
        for number, action in enumerate(actions, 1):
            seen.append(env.step(action).obs)
            if number == SAVED_AT:
                state = env.get_state()
        assert np.array_equal(seen, expected)
        env.reset(seed=9)
        env.step(1)
        env.set_state(state)
        assert np.array_equal(env.observe(), expected[SAVED_AT])
        for number in range(SAVED_AT, MOVES):
            batch = env.step_batch([actions[number]] * 3, [state] * 3)
            assert np.array_equal(batch.observs, [expected[number + 1]] * 3), number
            state = batch.states[1]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == numbers


@pytest.mark.parametrize(("kind", "method"), SAVED.items())
def test_as_plain_gymnasium(kind, method):
    check(kind, method)


@pytest.mark.parametrize("kind", [Border, Cache, PythonsNumbers])
def test_with_workers(kind):
    check(kind, SAVED[kind], n_workers=2)


def test_it_may_be_chosen():
    check(Border, "replay", state_method="replay")
    with pytest.raises(ValueError, match="state_method='snapshot' cannot be had"):
        make(Cache, state_method="snapshot")
    with pytest.raises(ValueError, match="state_method must be None or one of"):
        make("ALE/Pong-v5", state_method="replay")
    with make("CartPole-v1", state_method="snapshot") as env:
        assert env.state_method == "snapshot"


def test_a_callable_that_returns_one_environment_is_refused():
    for one in (gym.make("CartPole-v1"), Border()):
        with pytest.raises(NotCloneableError, match="same environment twice"):
            make(lambda one=one: one)


def test_what_a_callable_built_first_is_kept():
    built = []

    def build():
        built.append(Border())
        return built[-1]

    make(build).close()
    first = len(built)
    with make(build) as env:
        assert env.gym_env is built[-1]
    assert len(built) == first + 1


class World(Game):
    """A model of a million weights, which no step changes."""

    def __init__(self):
        self.weights = np.random.default_rng(0).normal(size=(1000, 1000))

    def begin(self):
        self.vector = np.ones(1000)

    def go(self, action):
        self.vector = np.tanh(self.weights @ self.vector / 30 + action)
        self.x = float(self.vector.sum())


def test_weights_stay_with_the_environment():
    check(World, "snapshot")
    with make(World) as env:
        state = env.reset(seed=0)[0]
        assert state.nbytes < 50_000
        weights = env.gym_env.weights
        weights += 1  # as training does
        env.set_state(state)
        assert env.gym_env.weights is weights
        assert weights[0, 0] > 0.5


class Large(Game):
    def begin(self):
        self.ground = np.zeros((500, 500))

    def go(self, action):
        self.ground[action] += 1
        self.x += self.ground.sum()


def test_large_states_are_told():
    with pytest.warns(UserWarning, match=r"2\.0 MB \(Large\.ground: 2\.0 MB"):
        make(Large).close()


def test_states_may_outgrow_their_arrays():
    class Grows(Game):
        def begin(self):
            self.moves = []

        def go(self, action):
            self.moves += [action] * 100
            self.x = float(len(self.moves))

    for n_workers in (None, 2):
        with make(Grows, n_workers=n_workers) as env:
            first = state = env.reset(seed=0)[0]
            assert env.STATE_IS_ARRAY
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for number in range(60):
                    state = env.step_batch([1, 2], [state, state]).states[1]
                    assert env.step_batch([1], [state]).observs[0] == 100 * (number + 2)
            assert sum("opaque" in str(each.message) for each in caught) == 1
            assert not env.STATE_IS_ARRAY
            batch = env.step_batch([1, 1], [first, state])
            assert batch.observs[:, 0].tolist() == [100, 6100]
            env.set_state(first)
            assert env.step(0).obs == 100
        with make(Grows, n_workers=n_workers) as another:
            assert another.step_batch([1], [state]).observs[0] == 6100
        with make(Grows, n_workers=n_workers) as another:
            another.set_state(state)
            assert another.step(1).obs == 6100

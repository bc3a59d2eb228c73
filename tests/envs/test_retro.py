"""stable-retro: its bundled game, bit for bit what stable-retro plays, and exact."""

import importlib.util
from typing import ClassVar

import numpy as np
import pytest

if importlib.util.find_spec("stable_retro") is None:
    pytest.skip("no stable-retro", allow_module_level=True)

import stable_retro

from plangym_lite import InvalidStateError, NotCloneableError, make
from plangym_lite.envs import retro as adapter
from plangym_lite.envs.retro import RetroEnv
from plangym_lite.testing import ContractSuite, check_exact
from tests.same import assert_same

GAME = "Airstriker-Genesis-v0"
SHORT = {"depths": (0, 9), "length": 12, "reach": 0}
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.mark.slow
class TestPictures(ContractSuite):
    depths, length, reach = (0, 20), 20, 0

    def make_env(self):
        return make(GAME)


class TestMemories(ContractSuite):
    """Eight frames a step: through ends of episodes."""

    depths, length, reach = (0, 20), 15, 200
    n_workers: ClassVar[int | None] = 2

    def make_env(self):
        return make(GAME, obs_type="ram", frameskip=8)

    def test_there_is_an_end(self):
        assert any(entry.terminated for entry in self.contract.reference.recording)


def test_compressed_states():
    report = check_exact(lambda: make(GAME, array_state=False), **SHORT)
    assert report.exact, report
    with (
        make(GAME, array_state=False) as env,
        pytest.raises(InvalidStateError, match="not a state"),
    ):
        env.set_state(b"\5\0\0\0nothing")
    with make(GAME) as env:
        assert env.get_state().nbytes > 3 * report.state_bytes


def test_a_plain_walk_is_stable_retros():
    raw = stable_retro.make(GAME, render_mode="rgb_array")
    raw.action_space.seed(1)
    actions = [raw.action_space.sample() for _ in range(300)]
    expected = [raw.reset(seed=0)[0], *(raw.step(action) for action in actions)]
    raw.close()
    with make(GAME) as env:
        assert type(env) is RetroEnv
        assert_same(expected[0], env.reset(return_state=False, seed=0)[0])
        for action, (obs, reward, terminated, truncated, info) in zip(
            actions, expected[1:], strict=True
        ):
            step = env.step(action, env.get_state())
            assert_same((obs, float(reward), terminated, truncated), step[1:5])
            assert step.info.items() >= info.items()


def test_the_picture_is_that_of_the_state():
    for options in ({}, {"obs_type": "ram"}):
        with make(GAME, **options) as env:
            state = env.reset(seed=0)[0]
            after = env.step(env.sample_action(), state, dt=90).state
            image = env.get_image()
            env.set_state(state)
            assert not np.array_equal(env.get_image(), image)
            env.set_state(after)
            assert_same(image, env.get_image())


def test_a_callable():
    with make(lambda: stable_retro.make(GAME, render_mode="rgb_array")) as env:
        assert type(env) is RetroEnv
        assert env.SINGLETON


def test_a_second_one_in_a_process_is_refused():
    with make(GAME), pytest.raises(RuntimeError, match="multiple emulator"):
        make(GAME)
    with make(GAME, obs_type="ram") as env:
        assert env.observe().ndim == 1


def test_films_are_refused():
    with pytest.raises(NotCloneableError, match="film"):
        make(GAME, record=True)


def test_games_that_are_installed():
    assert GAME in adapter.games()
    assert adapter.is_game("1942-Nes-v0")
    assert not adapter.is_game("CartPole-v1")


@pytest.mark.timeout(180)  # on a busy machine
@pytest.mark.parametrize(
    "part",
    [
        "memory",
        pytest.param("rewards", marks=pytest.mark.slow),
        pytest.param("picture", marks=pytest.mark.slow),
    ],
)
def test_what_is_dropped_is_missed(part, monkeypatch):
    load = RetroEnv.load_bytes

    class Nothing:
        def __getattr__(self, name):
            return lambda *args: None

    def forgetful(self, data):
        base = self._base
        data_of_game, em, img = base.data, base.em, base.img
        if part == "rewards":
            base.data = Nothing()
        if part == "memory":

            class Deaf:
                get_state = staticmethod(em.get_state)
                set_state = staticmethod(lambda state: None)

            base.em = Deaf()
        try:
            load(self, data)
        finally:
            base.data, base.em = data_of_game, em
        if part == "picture":
            base.img = self._obs = img

    monkeypatch.setattr(RetroEnv, "load_bytes", forgetful)
    how = ((100,), 60) if part == "rewards" else ((12, 30), 20)  # until something is shot
    report = check_exact(
        lambda: make(GAME, certify=False, frameskip=8), depths=how[0], length=how[1], reach=0
    )
    assert not report.exact
    assert report.error is None

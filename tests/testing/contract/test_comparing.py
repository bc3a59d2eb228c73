"""Comparing: bit for bit, without what is known as noise; holding on; plain observations."""

import random
import threading
from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite.testing.contract.comparing import Difference, Noise, differences, noise_between
from plangym_lite.testing.contract.keeping import LARGE, Keeper, OwnNumbers, copy_of
from plangym_lite.testing.contract.plain import _in_space
from plangym_lite.testing.contract.walking import _widened


def noise_of(one, other):
    return noise_between([(one, other, "info")])


class TestNoise:
    def test_one_element_of_an_array(self):
        noise = noise_of({"a": np.arange(4)}, {"a": np.array([0, 9, 2, 3])})
        assert noise.names() == ["info['a'][1]"]
        assert not list(
            differences({"a": np.arange(4)}, {"a": np.array([0, 5, 2, 3])}, "info", noise)
        )
        ((path, text),) = differences(
            {"a": np.arange(4)}, {"a": np.array([0, 5, 2, 4])}, "info", noise
        )
        assert (path, text) == ("info['a']", "expected 3, got 4 at [3]; 1 of 4 numbers differ")

    def test_places_add_up(self):
        pairs = [
            (np.arange(3), np.array([7, 1, 2]), "obs"),
            (np.arange(3), np.array([0, 1, 7]), "obs"),
            (1.0, 2.0, "reward"),
        ]
        assert noise_between(pairs).names() == ["reward", "obs[0]", "obs[2]"]

    def test_many_places_are_counted(self):
        noise = noise_of(np.zeros((9, 9)), np.ones((9, 9)))
        assert noise.names() == ["info (81 of 81 numbers)"]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"a": 1}, {}),
            ({"a": 1.5}, {"a": 2.5}),
            ({"a": 1}, {"a": 1.0}),
            ({"a": np.zeros(2)}, {"a": np.zeros(3)}),
            ({"a": np.zeros(2)}, {"a": np.ones(2, np.float32)}),
        ],
    )
    def test_whole_leaves(self, one, other):
        noise = noise_of(one, other)
        assert noise == Noise(frozenset({"info['a']"}))
        assert not list(differences(one, other, "info", noise))
        assert list(differences({"b": 1}, {"b": 2}, "info", noise))

    def test_none(self):
        assert not noise_of({"a": [1, (2.0, np.nan)]}, {"a": [1, (2.0, np.nan)]})


class TestKeeper:
    @pytest.mark.parametrize("size", [3, LARGE])
    def test_what_changes_is_told(self, size):
        keeper, value = Keeper(), {"deep": [{"rows": np.zeros(size)}]}
        kept = keeper.keep("step 3", "info", value)
        keeper.check()
        assert kept is not value
        value["deep"][0]["rows"][1] = 1
        with pytest.raises(Difference, match="a held info changed: step 3"):
            keeper.check()

    def test_what_cannot_be_copied_or_compared_tells_nothing(self):
        class Odd:
            def __eq__(self, other):
                raise ValueError

        keeper = Keeper()
        keeper.keep("step 1", "info", {"lock": threading.Lock(), "odd": Odd(), "n": 1})
        keeper.sum("step 1", "state", threading.Lock())
        keeper.check()

    def test_copies_share_nothing(self):
        value = {
            "a": (np.zeros(2), [OrderedDict(b=np.zeros(1))]),
            "objects": np.array([[], {}], object),
        }
        copied = copy_of(value)
        assert not list(differences(value, copied, "info"))
        value["a"][0][0] = value["a"][1][0]["b"][0] = 1
        assert [path for path, _ in differences(value, copied, "info")] == [
            "info['a'][0]",
            "info['a'][1][0]['b']",
        ]


def test_own_numbers():
    random.seed(3)
    np.random.seed(3)
    want = [random.random(), np.random.random(), random.random(), np.random.random()]
    random.seed(3)
    np.random.seed(3)
    got, own = [random.random(), np.random.random()], []
    for numbers in (OwnNumbers(), OwnNumbers()):
        for _ in range(2):
            with numbers:
                own.append((random.random(), np.random.random()))
    assert own[:2] == own[2:]
    assert own[0] != own[1]  # entered again, they run on
    assert [*got, random.random(), np.random.random()] == want


class TestPlainObservations:
    def test_rounded_to_the_floats_of_the_space(self):
        seen = _in_space(spaces.Box(-1, 1, (2,), np.float32), [0.1, 0.2])
        assert seen.dtype == np.float32
        assert seen.tolist() == np.float32([0.1, 0.2]).tolist()

    def test_integers_keep_their_values(self):
        assert _in_space(spaces.Discrete(5), 3).dtype == np.int64
        space = spaces.Box(0, 255, (1,), np.uint8)
        assert _in_space(space, np.array([200])).dtype == np.uint8
        for outside in (np.array([0.5]), np.array([256])):
            assert _in_space(space, outside) is outside  # which no answer of ours can equal

    def test_nested(self):
        space = spaces.Dict(a=spaces.Tuple((spaces.Discrete(3), spaces.Text(4))))
        (number, text) = _in_space(space, {"a": (1, "abc")})["a"]
        assert (number.dtype, text) == (np.int64, "abc")


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 1.0), (0.5, 3.0), (-np.inf, np.inf), (-np.inf, -2.0), (1.0, 1.0)]
)
def test_wide_actions_are_inside_and_no_float32(low, high):
    space = spaces.Box(low, high, (3,), np.float32, seed=1)
    for _ in range(20):
        action = space.sample()
        wide = _widened(space, action)
        assert wide.dtype == np.float64
        assert (wide >= space.low).all()
        assert (wide <= space.high).all()
        assert low == high or (wide != wide.astype(np.float32)).all()
    assert _widened(spaces.Discrete(3), 2) == 2

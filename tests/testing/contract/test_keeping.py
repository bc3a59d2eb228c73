"""Holding on to what came back; plain observations; wide actions."""

import threading
from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite.nested import Difference, differences, own_copy
from plangym_lite.testing.contract.plain import _in_space
from plangym_lite.testing.contract.walking import LARGE, Keeper, _widened


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
        copied = own_copy(value)
        assert not list(differences(value, copied, "info"))
        value["a"][0][0] = value["a"][1][0]["b"][0] = 1
        assert [path for path, _ in differences(value, copied, "info")] == [
            "info['a'][0]",
            "info['a'][1][0]['b']",
        ]


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

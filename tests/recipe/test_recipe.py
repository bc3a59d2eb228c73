"""Recipes: how an environment was made, so that it can be made again."""

import collections
import dataclasses
import functools
import pickle
import types

import cloudpickle
import numpy as np
import pytest

from plangym_lite import ParallelEnv
from plangym_lite.recipe.recipe import Recipe, freeze, original_of
from plangym_lite.testing.toy import ToyEnv


def cook(first, second=2, *, third=3, **others):
    return first, second, third, others


def gather(*things):
    return things


def test_a_recipe_repeats_the_call():
    assert Recipe(cook, (1,), {"third": 4, "more": 5})() == (1, 2, 4, {"more": 5})
    assert Recipe(gather, (1, 2))() == (1, 2)


def test_overrides_win_over_positions_and_names():
    recipe = Recipe(cook, (1, 7), {"third": 4, "more": 5})
    assert recipe.replace(second=8, more=6)() == (1, 8, 4, {"more": 6})
    assert recipe() == (1, 7, 4, {"more": 5})
    assert Recipe(cook, (), {"first": 1}).replace(first=2)() == (2, 2, 3, {})


def test_no_overrides_is_the_same_recipe():
    recipe = Recipe(gather, (1,))
    assert recipe.replace() is recipe


def test_open_ended_positions_cannot_be_replaced_by_name():
    with pytest.raises(TypeError, match=r"takes \*things"):
        Recipe(gather, (1,)).replace(things=2)


def test_recipes_pickle():
    recipe = Recipe(cook, (1,), {"third": 4})
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_every_environment_knows_its_recipe_whatever_its_init_does():
    class Mine(ToyEnv):
        def __init__(self, cells):
            super().__init__(size=cells)

    env = Mine(cells=9)
    assert type(env.clone()) is Mine
    assert env.clone().size == 9
    assert env.clone(cells=10).size == 10


# ---- what is changed after make -----------------------------------------------------------------


class Config:
    """No container: it stays the object that it is."""


@dataclasses.dataclass
class Level:
    size: int
    walls: list


def test_containers_are_as_they_were_at_any_depth():
    inner, model, big = [1, [2]], Config(), np.zeros(1 << 18)
    value = {"a": inner, "b": (inner, {3}), "c": np.arange(3), "model": model, "big": big}
    value["level"], value["space"] = Level(3, [4]), types.SimpleNamespace(x=[5])
    value["queue"], value["self"] = collections.deque([6]), value
    frozen = freeze(value)
    inner[1].append(7)
    value["b"][1].add(8)
    value["c"][0] = 9
    value["level"].walls.append(10)
    value["level"].size = 11
    value["space"].x.append(12)
    value["queue"].append(13)
    value["new"] = 14
    assert frozen["a"] == [1, [2]]
    assert frozen["b"] == ([1, [2]], {3})
    assert frozen["b"][0] is frozen["a"]  # what was one stays one
    assert frozen["c"].tolist() == [0, 1, 2]
    assert frozen["level"] == Level(3, [4])
    assert frozen["space"].x == [5]
    assert list(frozen["queue"]) == [6]
    assert frozen["self"] is frozen
    assert "new" not in frozen
    assert frozen["model"] is model
    assert frozen["big"] is big


@pytest.mark.parametrize(
    "value", [7, "text", Config, Config(), (1, "a", Config), len, cook, frozenset({1}), None]
)
def test_what_holds_nothing_to_copy_is_itself(value):
    assert freeze(value) is value


def test_kinds_of_containers_stay():
    pair = collections.namedtuple("Pair", "left right")([1], 2)
    counts = collections.defaultdict(int, a=1)
    frozen, counted = freeze(pair), freeze(counts)
    pair.left.append(3)
    counts["a"] += 1
    assert type(frozen) is type(pair)
    assert frozen == ([1], 2)
    assert (counted["a"], counted["new"]) == (1, 0)


def closure(config, count=0):
    def other():
        return count

    def function(first, options={"x": [1]}, *, more=(["y"],)):  # noqa: B006
        """What it does."""
        nonlocal count
        count += 1
        return config, options, more, first, other()

    return function


def test_closures_defaults_and_partials():
    config = {"walls": [1]}
    function = closure(config)
    partial = functools.partial(function, [2])
    frozen = freeze(partial)
    config["walls"].append(3)
    partial.args[0].append(4)
    function.__defaults__[0]["x"].append(5)
    function.__kwdefaults__["more"][0].append(6)
    assert partial()[:4] == ({"walls": [1, 3]}, {"x": [1, 5]}, (["y", 6],), [2, 4])
    assert frozen() == ({"walls": [1]}, {"x": [1]}, (["y"],), [2], 2)  # one counter for both
    assert original_of(frozen) is partial
    assert original_of(frozen.func) is function
    assert freeze(frozen).func.__doc__ == "What it does."
    assert (frozen.func.__qualname__, frozen.func.__module__) == (
        function.__qualname__,
        function.__module__,
    )
    assert cloudpickle.loads(cloudpickle.dumps(frozen))()[0] == {"walls": [1]}
    assert original_of(7) == 7
    assert original_of([]) == []


def test_closures_keep_what_they_fill():
    calls, log = [], []
    writes, shows = (lambda: calls.append(1)), (lambda: log)
    assert freeze(writes) is writes
    assert freeze(shows) is shows


def test_a_function_that_holds_itself():
    names = ["a"]

    def function(depth):
        return names if depth == 0 else function(depth - 1)

    frozen = freeze(function)
    names.append("b")
    assert frozen(2) == ["a"]


def test_a_config_that_is_changed_after_make():
    size, options = [7], {"size": 7}
    by_call = ToyEnv(**options)
    far = ParallelEnv(lambda: ToyEnv(size=size[0]), n_workers=1, use_caller=False)
    size[0] = options["size"] = 5
    with by_call, far, by_call.clone() as copy:
        assert copy.size == 7
        far.batch_env[0].restart()
        far.sync_states()
        assert far.step_batch([2]).observs.shape == (1, *far.plan_env.obs_shape)
        assert far.batch_env[0].call("get_state")().tolist() == far.get_state().tolist()
        assert far.plan_env.size == 7
    held = {"levels": [7]}

    class Configured(ToyEnv):
        def __init__(self, config):
            super().__init__(size=config["levels"][0])

    with Configured(held) as env:
        held["levels"][0] = 5
        with env.clone() as copy:
            assert copy.size == 7

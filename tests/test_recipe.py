"""Recipes: how an environment was made, so that it can be made again."""

import pickle

import pytest

from plangym_lite.recipe import Recipe
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
    assert env._recipe == Recipe(Mine, (), {"cells": 9})
    assert env.clone().size == 9
    assert env.clone(cells=10).size == 10

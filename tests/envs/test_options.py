"""Options of ``make`` that change what a state must hold: each is exact, by the contract."""

import gymnasium as gym
import pytest

from plangym_lite import make
from plangym_lite.testing import check_exact

BRIEF = {"depths": (0, 6), "length": 12, "reach": 20}
BREAKOUT = "ALE/Breakout-v5"
GRAY = {"obs_type": "grayscale", "frameskip": 4, "full_action_space": True}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (BREAKOUT, {"obs_type": "rgb", "frameskip": (2, 5), "episodic_life": True}),
        pytest.param(BREAKOUT, GRAY, marks=pytest.mark.slow),
        (
            BREAKOUT,
            {
                "obs_type": "ram",
                "episodic_life": True,
                "remove_time_limit": False,
                "certify": False,
            },
        ),
        ("CartPole-v1", {"certify": False, "wrappers": [gym.wrappers.NormalizeReward]}),
        ("FrozenLake-v1", {"certify": False, "array_state": False}),
        ("Taxi-v4", {"is_rainy": True, "fickle_passenger": True}),
    ],
)
def test_options_together(name, options):
    report = check_exact(lambda: make(name, **options), **BRIEF)
    assert report.exact, report


@pytest.mark.parametrize(
    ("name", "options", "action"),
    [
        ("FrozenLake-v1", {}, 2),
        ("FrozenLake-v1", {"array_state": False}, 2),
        (BREAKOUT, {"obs_type": "ram", "frameskip": (2, 9)}, 3),
        ("CartPole-v1", {"wrappers": [(gym.wrappers.StickyAction, 0.5)]}, 1),
    ],
)
@pytest.mark.parametrize("clone_seeds", [True, False])
def test_one_state_can_be_sampled(name, options, action, clone_seeds):
    """With the generator left running the rows differ; with it in the state they are the same."""
    with make(name, clone_seeds=clone_seeds, **options) as env:
        state = env.step(0, env.reset(seed=0)[0]).state
        observs = env.step_batch([action] * 24, [state] * 24, dt=4).observs
        assert (len({row.tobytes() for row in observs}) > 1) == (not clone_seeds)

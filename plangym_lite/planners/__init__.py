"""Reference planners. They know :class:`~plangym_lite.core.PlanEnv` and nothing else.

Each is a function ``planner(env, state, *, ..., rng) -> PlanOutput``: knobs are keyword-only, the
same generator gives the same plan with any number of workers, and the environment's own current
state stays where it is.
"""

from plangym_lite.planners.features import Features
from plangym_lite.planners.mcts import mcts
from plangym_lite.planners.output import PlanOutput
from plangym_lite.planners.random_shooting import Shots, random_shooting
from plangym_lite.planners.rollout_iw import rollout_iw
from plangym_lite.planners.simulator import OnBatch, Simulator, ValueFn
from plangym_lite.planners.tree import Tree

__all__ = [
    "Features",
    "OnBatch",
    "PlanOutput",
    "Shots",
    "Simulator",
    "Tree",
    "ValueFn",
    "mcts",
    "random_shooting",
    "rollout_iw",
]

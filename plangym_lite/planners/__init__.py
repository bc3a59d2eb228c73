"""Reference planners. They know :class:`~plangym_lite.core.PlanEnv` and nothing else.

Each is a function ``planner(env, state, *, ..., rng) -> PlanOutput``: options are keyword-only, the
same generator gives the same plan with any number of workers, and the environment's own current
state stays where it is::

    random_shooting   any actions        many random sequences, the best of them
    mcts              discrete           UCT, or PUCT with a network
    rollout_iw        discrete           go where something is new
    fractal           any actions        walkers that clone each other
    go_explore        any actions        an archive of places, and random steps from them
    cem, mppi         bounded numbers    sequences around the best so far
"""

from plangym_lite.planners.cem import cem
from plangym_lite.planners.features import Features
from plangym_lite.planners.fractal import Swarm, fractal
from plangym_lite.planners.go_explore import CellFn, Cells, go_explore
from plangym_lite.planners.mcts import mcts
from plangym_lite.planners.mppi import mppi
from plangym_lite.planners.random_shooting import Shots, random_shooting
from plangym_lite.planners.rollout_iw import rollout_iw
from plangym_lite.planners.sequences import Sequences
from plangym_lite.planners.simulator import (
    LegalFn,
    OnBatch,
    PlanOutput,
    PolicyFn,
    Simulator,
    ValueFn,
)
from plangym_lite.planners.tree import Tree

__all__ = [
    "CellFn",
    "Cells",
    "Features",
    "LegalFn",
    "OnBatch",
    "PlanOutput",
    "PolicyFn",
    "Sequences",
    "Shots",
    "Simulator",
    "Swarm",
    "Tree",
    "ValueFn",
    "cem",
    "fractal",
    "go_explore",
    "mcts",
    "mppi",
    "random_shooting",
    "rollout_iw",
]

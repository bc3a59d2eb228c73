"""SimulatorEnv: one simulator, its hooks, and the loop over the rows of a batch."""

from plangym_lite.simulator.env import SimulatorEnv
from plangym_lite.simulator.rows import RUNNING, TERMINATED, TRUNCATED

__all__ = ["RUNNING", "TERMINATED", "TRUNCATED", "SimulatorEnv"]

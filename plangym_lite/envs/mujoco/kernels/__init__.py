"""Kernels for Gymnasium's MuJoCo environments: numpy does on columns what each does in Python."""

from plangym_lite.envs.mujoco.kernels.bodies import (
    Ant,
    AntV4,
    Humanoid,
    HumanoidV4,
    Standup,
    StandupV4,
)
from plangym_lite.envs.mujoco.kernels.robot import Robot
from plangym_lite.envs.mujoco.kernels.runners import (
    Hopper,
    HopperV4,
    Runner,
    RunnerV4,
    Swimmer,
    SwimmerV4,
    Walker,
    WalkerV4,
)
from plangym_lite.envs.mujoco.kernels.targets import (
    DoublePendulum,
    DoublePendulumV4,
    Pendulum,
    PendulumV4,
    Pusher,
    Reacher,
    ReacherV4,
)

__all__ = ["KERNELS", "Robot"]

KERNELS: dict[str, type[Robot]] = {
    f"gymnasium.envs.mujoco.{module}_{version}.{name}Env": kind
    for module, name, *kinds in (
        ("ant", "Ant", AntV4, Ant),
        ("half_cheetah", "HalfCheetah", RunnerV4, Runner),
        ("hopper", "Hopper", HopperV4, Hopper),
        ("humanoid", "Humanoid", HumanoidV4, Humanoid),
        ("humanoidstandup", "HumanoidStandup", StandupV4, Standup),
        ("inverted_double_pendulum", "InvertedDoublePendulum", DoublePendulumV4, DoublePendulum),
        ("inverted_pendulum", "InvertedPendulum", PendulumV4, Pendulum),
        ("pusher", "Pusher", None, Pusher),  # v4 needs a mujoco older than 3
        ("reacher", "Reacher", ReacherV4, Reacher),
        ("swimmer", "Swimmer", SwimmerV4, Swimmer),
        ("walker2d", "Walker2d", WalkerV4, Walker),
    )
    for version, kind in zip(("v4", "v5"), kinds, strict=True)
    if kind is not None
}
"""Kernels by the class of the environment."""

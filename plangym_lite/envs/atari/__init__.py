"""Atari games, whose states are those of the emulator."""

from plangym_lite.envs.atari.env import AtariEnv

__all__ = ["AtariEnv"]

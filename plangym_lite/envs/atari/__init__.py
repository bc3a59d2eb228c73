"""Atari games, saved as states of the emulator."""

from plangym_lite.envs.atari.env import AtariEnv

__all__ = ["AtariEnv"]

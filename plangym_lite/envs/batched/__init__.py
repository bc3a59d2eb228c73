"""Environments that step many rows at once with numpy."""

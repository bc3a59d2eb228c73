"""Environments that step many rows at once, by numpy."""

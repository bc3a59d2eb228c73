"""The generic snapshot of an environment that is written in Python."""

"""The generic snapshot of environments written in Python."""

"""Keeping states: in memory, in columns, in files."""

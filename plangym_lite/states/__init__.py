"""Storage of states: archives, columns and files."""

"""What only developers run: surveys. Nothing here is part of the test suite."""

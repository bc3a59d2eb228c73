"""After each test no process and no shared memory is left behind."""

from tests.vectorization.conftest import new_children

__all__ = ["new_children"]

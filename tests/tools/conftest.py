"""A user's module of environments that fail in every way that a survey must survive."""

import sys

import pytest

USER_MODULE = """
import os, time
from plangym_lite.errors import NotCloneableError
from plangym_lite.testing.toy import ToyEnv

class Fine(ToyEnv):
    def __init__(self, size=8):
        super().__init__("fine", size=size, time_limit=9)

class Forgetful(Fine):
    def load_state(self, state):
        super().load_state(state)
        self._elapsed = 0

class Stubborn(ToyEnv):
    def build_engine(self):
        raise NotCloneableError("its state is in the cloud")

class Broken(ToyEnv):
    def build_engine(self):
        raise RuntimeError("out of order")

class Dying(ToyEnv):
    def build_engine(self):
        print("last words")
        os._exit(3)

class Hanging(ToyEnv):
    def build_engine(self):
        if os.fork():
            time.sleep(1000)
        time.sleep(1000)  # a process of its own, which must end as well
"""


@pytest.fixture
def user_games(tmp_path, monkeypatch):
    """The module's folder, which is the current one."""
    (tmp_path / "user_games.py").write_text(USER_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("user_games", None)

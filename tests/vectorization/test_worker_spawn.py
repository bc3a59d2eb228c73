"""The workers' suite, on processes started by spawn."""

from plangym_lite.testing.remote_workers import RemoteWorkerSuite
from plangym_lite.vectorization import ExternalProcess


class TestSpawn(RemoteWorkerSuite):
    def make_worker(self, constructor):
        return ExternalProcess(constructor, start_method="spawn")

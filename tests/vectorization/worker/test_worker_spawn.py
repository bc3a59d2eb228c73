"""The workers' suite, on processes started by spawn."""

from plangym_lite.testing.workers.remote_suite import RemoteWorkerSuite
from plangym_lite.vectorization import ExternalProcess


class TestSpawn(RemoteWorkerSuite):
    def make_worker(self, constructor):
        return ExternalProcess(constructor, start_method="spawn")

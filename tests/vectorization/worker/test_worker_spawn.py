"""The workers' suite, on processes started by spawn."""

from plangym_lite.vectorization import ExternalProcess
from tests.vectorization.worker.remote_suite import RemoteWorkerSuite


class TestSpawn(RemoteWorkerSuite):
    def make_worker(self, constructor):
        return ExternalProcess(constructor, start_method="spawn")

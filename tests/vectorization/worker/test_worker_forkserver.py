"""The workers' suite, on processes started by forkserver."""

from plangym_lite.vectorization import ExternalProcess
from tests.vectorization.worker.remote_suite import RemoteWorkerSuite


class TestForkserver(RemoteWorkerSuite):
    def make_worker(self, constructor):
        return ExternalProcess(constructor, start_method="forkserver")

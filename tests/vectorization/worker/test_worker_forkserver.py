"""The workers' suite, on processes started by forkserver."""

from plangym_lite.testing.workers.remote_suite import RemoteWorkerSuite
from plangym_lite.vectorization import ExternalProcess


class TestForkserver(RemoteWorkerSuite):
    def make_worker(self, constructor):
        return ExternalProcess(constructor, start_method="forkserver")

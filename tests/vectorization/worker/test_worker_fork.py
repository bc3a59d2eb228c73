"""The workers' suite, on processes started by fork."""

import pytest

from plangym_lite.vectorization import ExternalProcess
from tests.vectorization.worker.remote_suite import RemoteWorkerSuite


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestFork(RemoteWorkerSuite):
    def make_worker(self, constructor):
        return ExternalProcess(constructor, start_method="fork")

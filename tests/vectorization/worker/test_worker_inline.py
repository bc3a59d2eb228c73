"""The workers' suite, on the worker without a process."""

from plangym_lite.vectorization import InlineWorker
from tests.vectorization.worker.suite import WorkerSuite


class TestInline(WorkerSuite):
    def make_worker(self, constructor):
        return InlineWorker(constructor)

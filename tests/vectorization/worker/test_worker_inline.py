"""The workers' suite, on the worker without a process."""

from plangym_lite.testing.workers.suite import WorkerSuite
from plangym_lite.vectorization import InlineWorker


class TestInline(WorkerSuite):
    def make_worker(self, constructor):
        return InlineWorker(constructor)

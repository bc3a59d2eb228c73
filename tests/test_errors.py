"""The tree of errors."""

import inspect
import multiprocessing
import pickle

import gymnasium
import pytest

from plangym_lite import errors
from plangym_lite.vectorization.worker.messages import dump_error, load_error

ALL = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("kind", ALL)
def test_one_root_and_a_docstring(kind):
    assert issubclass(kind, errors.PlangymError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", ALL)
def test_errors_travel(kind):
    error = pickle.loads(pickle.dumps(kind("what", "step")))
    assert (type(error), str(error)) == (kind, str(kind("what", "step")))
    assert error.args in [("what", "step"), ("what",)]
    assert getattr(error, "name", None) in ("step", None)  # None: an ImportError's


def test_old_habits_still_catch_them():
    assert issubclass(errors.InvalidStateError, ValueError)
    assert issubclass(errors.InvalidBatchError, ValueError)
    assert issubclass(errors.UnknownEnvironmentError, ValueError)
    assert issubclass(errors.ClosedError, RuntimeError)
    assert issubclass(errors.WorkerDiedError, errors.WorkerError)


def test_the_drawing_is_complete():
    drawing = errors.__doc__
    for kind in ALL:
        assert kind.__name__ in drawing
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert set(found) == set(ALL)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (errors.ClosedError, gymnasium.error.ClosedEnvironmentError),
        (errors.AlreadySteppingError, gymnasium.error.AlreadyPendingCallError),
        (errors.NotSteppingError, gymnasium.error.NoAsyncCallError),
        (errors.AnswerTimeoutError, multiprocessing.TimeoutError),
        (errors.AnswerTimeoutError, TimeoutError),
        (errors.MissingPackageError, ImportError),
        (errors.MissingPackageError, gymnasium.error.DependencyNotInstalled),
        (errors.SpacesDifferError, RuntimeError),
        (errors.SpacesDifferError, ValueError),
        (errors.InvalidBatchError, TypeError),
    ],
)
def test_those_of_gymnasium_catch_ours(ours, theirs):
    with pytest.raises(theirs, match="what"):
        raise ours("what")


def test_a_remote_error_begins_with_what_was_raised():
    try:
        raise ValueError("no such\ncolour")
    except ValueError as caught:
        error = load_error(dump_error(caught))
    words = str(error.__cause__)
    assert words.startswith("ValueError: no such\ncolour\n\nTraceback (most recent call last):\n")
    assert "test_errors.py" in words

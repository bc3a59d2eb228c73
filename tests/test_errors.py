"""The tree of errors."""

import inspect
import pickle

import pytest

from plangym_lite import errors

ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", ALL)
def test_one_root_and_a_docstring(kind):
    assert issubclass(kind, errors.PlangymError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", ALL)
def test_errors_travel(kind):
    error = pickle.loads(pickle.dumps(kind("what", 2)))
    assert (type(error), error.args) == (kind, ("what", 2))


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


def test_a_remote_error_prints_the_childs_traceback():
    assert str(errors.RemoteError("Traceback: there\n")) == "\nTraceback: there\n"

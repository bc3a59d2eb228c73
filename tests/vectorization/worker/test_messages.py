"""Messages: what is written on one side is what is read on the other."""

import pickle
import sys
import threading

import pytest

from plangym_lite import RemoteError
from plangym_lite.vectorization.worker.messages import (
    Message,
    dump,
    dump_error,
    load,
    load_error,
)


class TwoArgumentsError(Exception):
    """Cannot be unpickled: its constructor wants what pickle does not know."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def caught(error):
    """The error after it was raised, with a traceback."""
    try:
        raise error
    except BaseException as raised:
        return raised


def test_kinds_have_plangyms_numbers():
    assert {kind.name: kind.value for kind in Message} == {
        "ACCESS": 1,
        "CALL": 2,
        "RESULT": 3,
        "EXCEPTION": 4,
        "CLOSE": 5,
        "READY": 6,
    }


def test_values_that_pickle_refuses_travel_by_value():
    factor = 3

    class Local:
        value = 7

    assert load(dump(lambda x: x * factor))(2) == 6
    assert load(dump(Local)).value == 7


def test_what_cannot_travel_at_all_raises():
    with pytest.raises(TypeError, match="lock"):
        dump(threading.Lock())


def test_error_comes_back_as_itself_with_the_traceback_as_cause():
    error = load_error(dump_error(caught(KeyError("a", 1))))
    assert type(error) is KeyError
    assert error.args == ("a", 1)
    assert isinstance(error.__cause__, RemoteError)
    assert "in caught" in str(error.__cause__)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_notes_travel():
    error = caught(ValueError("x"))
    error.add_note("in row 3")
    assert load_error(dump_error(error)).__notes__ == ["in row 3"]


def test_error_whose_constructor_takes_other_arguments():
    class OfFileError(FileNotFoundError):
        def __init__(self, path):
            super().__init__(2, "gone", path)
            self.path = path

    arrived = load_error(dump_error(caught(TwoArgumentsError(1, 2))))
    assert (type(arrived), str(arrived)) == (TwoArgumentsError, str(TwoArgumentsError(1, 2)))
    arrived = load_error(dump_error(caught(OfFileError("a.txt"))))
    assert str(arrived) == str(OfFileError("a.txt"))
    assert (arrived.errno, arrived.path) == (2, "a.txt")


def test_error_that_cannot_travel_becomes_its_traceback():
    error = ValueError(threading.Lock())
    arrived = load_error(dump_error(caught(error)))
    assert type(arrived) is RemoteError
    assert type(error).__name__ in str(arrived)
    assert "in caught" in str(arrived)


def test_error_that_cannot_be_unpickled_here():
    arrived = load_error(
        pickle.dumps((ValueError("x"), "text")).replace(b"ValueError", b"NoSuchName")
    )
    assert type(arrived) is RemoteError
    assert "could not be unpickled here" in str(arrived)

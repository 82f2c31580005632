"""What errors of the server mean."""

import pytest
from asyncmy import errors

from zart.errors import SchemaMismatch, StorageUnavailable
from zart.schedulers.mysql.faults import Unstorable, is_sound_after, of_storage
from zart.schedulers.sql.again import Passing

AGAIN = [1020, 1040, 1047, 1053, 1205, 1213, 1290, 1317, 1792, 1836, 1927, 2003, 2006, 2013, 3101, 4031]


def of_server(number, state=None):
    error = errors.OperationalError(number, "said")
    error.sqlstate = state
    return error


@pytest.mark.parametrize("number", AGAIN)
def test_what_passes_is_worth_another_try(number):
    assert isinstance(of_storage(of_server(number), "here"), Passing)


@pytest.mark.parametrize("state", ["40001", "08S01", "08004"])
def test_what_the_standard_says_passes_is_worth_another_try(state):
    assert isinstance(of_storage(of_server(9999, state), "here"), Passing)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InterfaceError(0, "Not connected"), Passing),
        (errors.InternalError("Packet sequence number wrong"), Passing),
        (ConnectionResetError("reset"), Passing),
        (TimeoutError("late"), StorageUnavailable),
        (of_server(1045), StorageUnavailable),
        (of_server(1114), StorageUnavailable),
        (of_server(1146), SchemaMismatch),
        (of_server(1050), SchemaMismatch),
        (of_server(1406), Unstorable),
        (of_server(1153, "08S01"), Unstorable),
        (of_server(3819), Unstorable),
        (of_server(1064), type(None)),
        (LookupError(), type(None)),
    ],
)
def test_the_rest_is_told_as_what_it_is(error, kind):
    assert type(of_storage(error, "here")) is kind


@pytest.mark.parametrize(
    ("error", "sound"),
    [
        (of_server(1213), True),
        (of_server(1205), True),
        (of_server(1406), True),
        (of_server(3101), True),
        (ValueError(), True),
        (of_server(1290), False),
        (of_server(1153), False),
        (of_server(2013), False),
        (errors.InterfaceError(0, "x"), False),
        (TimeoutError(), False),
    ],
)
def test_which_connections_are_used_again(error, sound):
    assert is_sound_after(error) is sound

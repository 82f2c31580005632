"""What errors of MariaDB and MySQL mean: try again, storage is unavailable, the schema is not ours, the row is at fault."""

from asyncmy import errors

from zart.errors import SchemaMismatch, StorageUnavailable
from zart.schedulers.sql.again import Passing

DUPLICATE = 1062
LOCKED = 1205
NO_SAVEPOINT = 1305
_PACKET_TOO_LARGE = 1153

_ENDS_A_TRANSACTION = frozenset(
    {
        1020,  # the row has changed since it was read
        LOCKED,  # lock wait timeout: only the statement was undone, and the transaction is open, half applied
        1213,  # deadlock; also a conflict with another node of a cluster
        1614,  # deadlock of a distributed transaction
        3101,  # rolled back while it was being committed
    }
)
"""After these a connection is as good as before, once its transaction has been rolled back."""
_ENDS_A_CONNECTION = frozenset(
    {
        1040,  # too many connections
        1047,  # this node of a cluster is not ready
        1053,  # the server shuts down
        1152,  # connection aborted
        1158,  # and the next three: trouble in the network
        1159,
        1160,
        1161,
        1290,  # read-only: a replica that is not to be written to, or no longer the primary
        1317,  # the query was killed
        1792,  # read-only transaction
        1836,  # read-only mode
        1927,  # the connection was killed
        2002,  # cannot connect, by a socket
        2003,  # cannot connect
        2006,  # the server has gone away
        2013,  # connection lost
        2014,  # out of step with the server
        2055,  # connection lost at a system call
        4031,  # idle for too long
    }
)
_MENDS = {
    1021: "make room on the server's disk; nothing of this call was written",
    1028: "make room on the server's disk; nothing of this call was written",
    1030: "look at the server's log and its disk",
    1037: "give the server more memory",
    1038: "give the server more memory",
    1041: "give the server more memory",
    1044: "grant this user the database",
    1045: "look at the user and the password",
    1049: "make the database, or name another one",
    1114: "make room for the table; nothing of this call was written",
    1129: "unblock this host with FLUSH HOSTS",
    1130: "allow this user to connect from this host",
    1142: "grant this user what it needs",
    1143: "grant this user what it needs",
    1206: "give InnoDB a larger buffer pool",
    1226: "raise the limit of this user",
    1227: "grant this user what it needs",
    1370: "grant this user what it needs",
    1665: "set binlog_format to MIXED or ROW",
    1698: "look at the user and the password",
    1969: "it took longer than it may; look for locks and load. Nothing of this call was written",
    3024: "it took longer than it may; look for locks and load. Nothing of this call was written",
    3159: "connect with TLS: ssl_mode=required",
}
_MISSING = frozenset({1051, 1054, 1146})
_IN_THE_WAY = frozenset({1050, 1060, 1061})
_UNSTORABLE = frozenset(
    {
        DUPLICATE,
        1048,  # no value
        1118,  # row too large
        _PACKET_TOO_LARGE,
        1264,  # number out of range
        1265,  # cut off
        1300,  # invalid text
        1366,  # wrong text or number
        1406,  # too long
        3819,  # a check has failed
        4025,  # a check has failed, in MariaDB's words
    }
)


class Unstorable(ValueError):
    """A row that this database cannot hold."""


UNSTORABLE = (Unstorable, UnicodeEncodeError, OverflowError)
"""What is raised over a row that cannot be stored, text without UTF-8 among it; anything else is storage's fault."""


def number_of(error: BaseException) -> int | None:
    """Return the number of an error of the driver's or the server's."""
    if isinstance(error, errors.MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return None


def is_sound_after(error: BaseException) -> bool:
    """Whether a connection can be used again after this, and a rollback."""
    if isinstance(error, errors.InterfaceError | errors.InternalError | TimeoutError | OSError):
        return False
    number = number_of(error)
    return number is None or number not in _ENDS_A_CONNECTION | {_PACKET_TOO_LARGE}


def of_storage(error: BaseException, place: str) -> Exception | None:
    """Return what to raise for an error; None when neither storage nor schema, but the data or the code is at fault."""
    if isinstance(error, TimeoutError):  # before OSError, which it is
        return StorageUnavailable(
            f"{place} did not answer in time; look at the server, its load and the network, or allow more than `timeout`"
        )
    if isinstance(error, OSError | errors.InterfaceError | errors.InternalError):
        return Passing(f"{place} cannot be reached: {error}")
    if isinstance(error, errors.MySQLError):
        return _of_server(error, number_of(error) or 0, place)
    return None


def _of_server(error: errors.MySQLError, number: int, place: str) -> Exception | None:
    said = error.args[-1] if error.args else error
    state = getattr(error, "sqlstate", None) or ""
    if number in _UNSTORABLE:
        return Unstorable(f"{said} ({number})")
    if number in _ENDS_A_TRANSACTION | _ENDS_A_CONNECTION or state == "40001" or state.startswith("08"):
        what = "cannot be reached" if number in {2002, 2003} else "had to give up"
        return Passing(f"{place} {what}: {said} ({number})")
    if number in _MENDS:
        return StorageUnavailable(f"{place} cannot be used: {said} ({number}); {_MENDS[number]}")
    if number in _MISSING:
        return SchemaMismatch(f"{place} has not the schema that it says it has: {said}; restore it, or name another prefix")
    if number in _IN_THE_WAY:
        return SchemaMismatch(f"{place} cannot be migrated: {said}; rename what is in the way, or name another prefix")
    return None

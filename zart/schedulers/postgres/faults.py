"""What PostgreSQL's errors mean: try again, storage is unavailable, the schema is not ours, or the row is at fault."""

import ssl

import asyncpg

from zart.errors import SchemaMismatch, StorageUnavailable
from zart.schedulers.postgres.queries import Unstorable
from zart.schedulers.sql.again import Passing

UNSTORABLE = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    Unstorable,
    UnicodeEncodeError,  # text that has no UTF-8
    OverflowError,
)
"""What is raised over a row that cannot be stored, before it is; anything else is storage's fault.

No other ValueError: one over an answer would have what is written told to be refused.
"""

_PASSING = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "25006",  # read-only: a standby that has not been told yet, or is no longer one to write to
        "25P03",  # idle in transaction for too long
        "53300",  # too many connections
        "55000",  # object in use, e.g. while the server starts
        "57P01",  # administrator shutdown
        "57P02",  # crash shutdown
        "57P03",  # cannot connect now
        "57P05",  # idle session timeout
    }
)
_MENDS = {
    "3D000": "make the database, or name another one",
    "3F000": "make the schema, or name another one",
    "28000": "look at the user, the password and pg_hba.conf",
    "28P01": "look at the user and the password",
    "42501": "grant this user what it needs",
    "53100": "make room on the server's disk; nothing of this call was written",
    "53200": "give the server more memory",
    "55P03": "end the transaction that keeps a lock; nothing of this call was written",
    "57014": "it took longer than it may; look for locks and load. Nothing of this call was written",
    "58030": "look at the server's disk",
    "XX001": "restore it from a backup",
    "XX002": "rebuild the index that it names with REINDEX",
}
_TRUST = "name its authority with sslrootcert in the URL, or correct the host; sslmode=require asks nobody who it is"
_MISSING = frozenset({"42P01", "42703"})
_IN_THE_WAY = frozenset({"42P07", "42710"})


def of_storage(error: BaseException, place: str) -> Exception | None:
    """Return what to raise for an error; None when neither storage nor schema, but the data or the code is at fault."""
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, place)
    if isinstance(error, TimeoutError):  # before OSError, which it is
        return StorageUnavailable(
            f"{place} did not answer in time; look at the server, its load and the network, or allow more than `timeout`"
        )
    if isinstance(error, ssl.SSLCertVerificationError):  # before ValueError, which it is too
        return StorageUnavailable(f"{place} does not show whom it is: {error.verify_message}; {_TRUST}")
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return StorageUnavailable(f"{place} does not encrypt; give it a certificate, or say sslmode=disable in the URL")
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError) and not isinstance(error, ValueError):
        return Passing(f"{place} cannot be reached: {str(error) or type(error).__name__}")
    return None


def _of_server(error: asyncpg.PostgresError, place: str) -> Exception | None:
    code = error.sqlstate or ""
    if code in _PASSING or code.startswith("08"):
        return Passing(f"{place} had to give up: {error}")
    if code in _MENDS:
        return StorageUnavailable(f"{place} cannot be used: {error}; {_MENDS[code]}")
    if code in _MISSING:
        return SchemaMismatch(f"{place} has not the schema that it says it has: {error}; restore it, or name another prefix")
    if code in _IN_THE_WAY:
        return SchemaMismatch(f"{place} cannot be migrated: {error}; rename what is in the way, or name another prefix")
    return None

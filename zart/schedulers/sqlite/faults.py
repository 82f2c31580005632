"""What SQLite's errors mean: try again, storage is unavailable, the schema is not ours, or the row is at fault."""

import sqlite3

from zart.errors import SchemaMismatch, StorageUnavailable

_PRIMARY = 0xFF  # the low byte of an error code; the rest is detail
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

_MENDS = {
    sqlite3.SQLITE_PERM: "let this user read and write the file and its folder",
    sqlite3.SQLITE_READONLY: "let this user write the file and its folder",
    sqlite3.SQLITE_AUTH: "let this user read and write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "look whether its folder exists, whether it is a file, and whether this user may write both",
    sqlite3.SQLITE_FULL: "make room on the disk; nothing of this call was written",
    sqlite3.SQLITE_IOERR: "look at the disk; a network file system is no place for SQLite",
    sqlite3.SQLITE_CORRUPT: "restore it from a backup, or save what can be read with `sqlite3 FILE .recover`",
    sqlite3.SQLITE_NOTADB: "name a SQLite database, or a file that does not exist yet",
    sqlite3.SQLITE_NOMEM: "give the process more memory",
}


class Busy(Exception):
    """Somebody else held the lock for longer than the busy timeout."""


def of_storage(error: Exception, path: str) -> Exception | None:
    """Return what to raise for an error of SQLite's; None when neither storage nor schema, but the data is at fault."""
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or code is None:
        return None
    primary = code & _PRIMARY
    if primary in _BUSY:
        return Busy(str(error))
    if primary in _MENDS:
        return StorageUnavailable(f"the SQLite database {path!r} cannot be used: {error}; {_MENDS[primary]}")
    if primary == sqlite3.SQLITE_ERROR and "no such" in str(error):
        return SchemaMismatch(f"{path!r} has not the schema that it says it has: {error}; restore it from a backup")
    if primary == sqlite3.SQLITE_ERROR and "already exists" in str(error):
        return SchemaMismatch(f"{path!r} cannot be migrated: {error}; rename what is in the way, or name another file")
    return None

"""A SQLite file: how it is made, opened, checked and migrated. All of it runs in a lane."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from zart.clock import Instant
from zart.errors import NotSupported, StorageUnavailable
from zart.schedulers.sql.migrate import missing, outdated
from zart.schedulers.sqlite.faults import of_storage
from zart.schedulers.sqlite.queries import statements

OLDEST = (3, 35, 0)
"""The first SQLite with all that the statements use."""

_FOR_ALL = ("PRAGMA foreign_keys = ON", "PRAGMA temp_store = MEMORY", "PRAGMA cache_size = -32000")
_FOR_WRITING = (
    "PRAGMA synchronous = FULL",  # NORMAL may lose acknowledged work when the machine loses power
    "PRAGMA wal_autocheckpoint = 4000",  # pages: what is busy is written over many times before it is copied into the file
)
_EPOCH_NOW = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000"
_PREPARED = 256  # statements per connection: every operation in every size


@frozen
class Database:
    """A SQLite file; `create` says to migrate one without any tables when it is opened."""

    path: str
    busy_timeout: float = 2.5
    create: bool = False

    def open(self, now: Instant) -> sqlite3.Connection:
        """Return the connection that writes; makes the file if it is absent.

        Raises:
            StorageUnavailable: no such folder, not a database, no permission.
            NotSupported: the SQLite library is too old.
        """
        _check_library()
        self._make()
        with self._explained():
            connection = self._connect()
            try:
                _set_up(connection, *_FOR_ALL, *_FOR_WRITING)
                if self.create and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    self.migrate(connection, now)
            except BaseException:
                connection.close()
                raise
        return connection

    def open_for_reading(self) -> sqlite3.Connection:
        """Return a connection that cannot write."""
        with self._explained():
            connection = self._connect()
            _set_up(connection, *_FOR_ALL, "PRAGMA query_only = ON")
        return connection

    def check(self, connection: sqlite3.Connection) -> str | None:
        """Prepare the connection for writing; or say what is wrong with the schema, if migrating can mend it.

        Raises:
            SchemaMismatch: the schema is newer than this code.
        """
        with self._explained():
            version = self.version(connection)
            if missing("sqlite", version, repr(self.path)):
                return outdated("sqlite", version, repr(self.path))
            # Kept in the file: it is changed but once, and only where Zart lives.
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise NotSupported(f"{self.path!r} stays in journal mode {mode!r}, Zart needs WAL; put it on a local disk")
            prepared = connection.execute("SELECT count(*) FROM temp.sqlite_schema WHERE name = 'zart_words'").fetchone()[0]
            if not prepared:
                connection.executescript(statements("commit")["prepare"].sql)
        return None

    def migrate(self, connection: sqlite3.Connection, now: Instant) -> None:
        """Bring the schema to this version; a second process that does the same waits and finds it done.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        with self._explained():
            connection.execute("BEGIN IMMEDIATE")
            try:
                for migration in missing("sqlite", self.version(connection), repr(self.path)):
                    for statement in migration.statements():
                        connection.execute(statement)
                    connection.execute("INSERT INTO zart_schema VALUES (?, ?, ?)", (migration.version, migration.name, now))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def script(self, version: int) -> str:
        """Return what `migrate` would do to tables of this version, for people who do it themselves."""
        parts = [
            f"{each.sql}\nINSERT INTO zart_schema VALUES ({each.version}, '{each.name}', {_EPOCH_NOW});\n"
            for each in missing("sqlite", version, repr(self.path))
        ]
        return "\n".join(["BEGIN IMMEDIATE;\n", *parts, "COMMIT;\n"]) if parts else ""

    def is_absent(self) -> bool:
        """Whether opening would make the file."""
        file = Path(self.path)
        return file.parent.is_dir() and not file.exists()

    def version(self, connection: sqlite3.Connection) -> int:
        """Return the schema's version; 0 where there is none yet."""
        if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'zart_schema'").fetchone()[0]:
            return 0
        return int(connection.execute("SELECT coalesce(max(version), 0) FROM zart_schema").fetchone()[0])

    def _make(self) -> None:
        """Make the file readable for its owner only, before SQLite makes it readable for all; its -wal and -shm take after it.

        Only a file that is new is ever opened here: closing a file that SQLite has open drops its locks, all over the process.
        """
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise StorageUnavailable(
                f"the SQLite database {self.path!r} cannot be made: {error.strerror}; make its folder, or name another file"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path, timeout=self.busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=_PREPARED
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            fault = of_storage(error, self.path)
            if fault is None:
                raise
            raise fault from error


def _set_up(connection: sqlite3.Connection, *pragmas: str) -> None:
    for pragma in pragmas:
        connection.execute(pragma)
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # what is no database shows only now
    try:
        connection.execute("SELECT json_array()").fetchone()
    except sqlite3.OperationalError as error:
        raise NotSupported("this Python's SQLite was built without JSON; use another build, or another backend") from error


def _check_library() -> None:
    if sqlite3.sqlite_version_info < OLDEST:
        raise NotSupported(
            f"this Python has SQLite {sqlite3.sqlite_version}, Zart needs 3.35 or later; use a newer Python, or another backend"
        )

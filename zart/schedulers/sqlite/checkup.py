"""What can be wrong with a SQLite file: one function for each thing to look at."""

import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define

from zart.checkup import Finding, Verdict
from zart.clock import Clock, SystemClock, instant, pause
from zart.errors import SchedulerError, SchemaMismatch
from zart.schedulers.sql import findings
from zart.schedulers.sql.indexes import indexes
from zart.schedulers.sql.migrate import missing, outdated
from zart.schedulers.sqlite.database import Database
from zart.schedulers.sqlite.queries import statements
from zart.schedulers.sqlite.reader import Reader
from zart.spawner import Spawner

_LOOKS, _GAP = 10, 0.1
"""How often, and at what distance in seconds, it is looked whether a reader has gone on."""

MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux says what is mounted where; other systems have no such file, and then nothing is said of it."""
_FAR = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "9p", "virtiofs", "davfs", "fuse.sshfs", "fuse.s3fs"})
"""File systems whose files lie on another machine, or are shared with one."""
_FLEETING = frozenset({"tmpfs", "ramfs"})
_ESCAPED = re.compile(r"\\([0-7]{3})")
_FULL = 2
"""What `PRAGMA synchronous` says of FULL; EXTRA is more."""


@define(eq=False)
class Patient:
    """A file on the table, with a connection that writes nothing into it."""

    database: Database
    reader: Reader
    clock: Clock
    """Storage's."""

    async def rows(self, name: str) -> list[Any]:
        """Return the rows of a statement."""
        asked = {"now": instant(self.clock.now())}
        sql = statements("checkup")[name].sql
        return await self.reader.call(lambda connection: connection.execute(sql, asked).fetchall())


async def examine(database: Database, spawner: Spawner, clock: Clock) -> list[Finding]:
    """Look at everything, as far as it can be looked at; a file that is absent stays so."""
    if database.is_absent():
        hint = "make it with `zart migrate`, or name another file"
        return [Finding("database", Verdict.FAIL, f"there is no file {database.path!r}", hint)]
    reader = Reader(database, spawner)
    try:
        patient = Patient(database, reader, clock)
        found = [await _looked_at("database", file, patient)]
        if found[0].verdict is Verdict.FAIL:
            return found
        for name, look in _FILE.items():
            found.append(await _looked_at(name, look, patient))
        if found[-1].verdict is Verdict.OK:
            found += [await _looked_at(name, look, patient) for name, look in _TABLES.items()]
        return found
    finally:
        await reader.close()


async def _looked_at(name: str, look: "Look", patient: Patient) -> Finding:
    try:
        return await look(patient)
    except (SchedulerError, sqlite3.Error) as error:
        message, _, mend = str(error).rpartition("; ")
        return Finding(name, Verdict.FAIL, message or mend, mend if message else "mend that first, then look again")


async def file(patient: Patient) -> Finding:
    """Whether the file can be opened, and is a database."""
    mode = await patient.reader.call(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()[0])
    return Finding(
        "database", Verdict.OK, f"SQLite {sqlite3.sqlite_version} reads {patient.database.path!r}, journal mode {mode}"
    )


async def durability(patient: Patient) -> Finding:
    """Whether the file lies where what was written stays, and locks hold."""

    def look(connection: sqlite3.Connection) -> tuple[int, str | None]:
        return connection.execute("PRAGMA synchronous").fetchone()[0], filesystem(Path(patient.database.path), MOUNTS)

    level, kind = await patient.reader.call(look)
    place = repr(patient.database.path)
    if kind in _FAR:
        said = f"{place} lies on {kind}, whose locks cannot be trusted: two programs at once may damage the file"
        return Finding("durability", Verdict.FAIL, said, "put the file on a local disk, or use a server, such as PostgreSQL")
    if kind in _FLEETING:
        said = f"{place} lies in memory ({kind}), and is gone when the machine restarts"
        return Finding("durability", Verdict.WARN, said, "put the file on a disk")
    if level < _FULL:
        said = "this SQLite's default is less than synchronous=FULL: Zart sets that, but not for connections of your own"
        hint = "run PRAGMA synchronous = FULL on connections of your own that start executions or send events"
        return Finding("durability", Verdict.WARN, said, hint)
    where = "" if kind is None else f", on {kind}"
    return Finding("durability", Verdict.OK, f"what was acknowledged is on the disk (synchronous=FULL{where})")


def filesystem(path: Path, mounts: Path) -> str | None:
    """Return the kind of the file system that a file lies on; None where the system does not tell."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
        file = path.resolve()
    except OSError:
        return None
    found: tuple[int, str] | None = None
    for line in lines:
        mounted, _, about = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), mounted.split()[4]))
        if file.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):  # the last one covers the others
            found = len(point.parts), about.split()[0]
    return None if found is None else found[1]


async def write_lock(patient: Patient) -> Finding:
    """Whether the one write lock can be had."""

    def take(connection: sqlite3.Connection) -> str | None:
        connection.execute("PRAGMA query_only = OFF")  # for who may not write there is no such lock
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return str(error)
        finally:
            connection.execute("PRAGMA query_only = ON")
        return None

    refused = await patient.reader.call(take)
    if refused is None:
        return Finding("write lock", Verdict.OK, "it can be had")
    said = f"it cannot be had within {patient.database.busy_timeout:g} s: {refused}"
    hint = (
        "end the transaction, or the program, that keeps it (`fuser` on the file tells which), and see who may write the file"
    )
    return Finding("write lock", Verdict.FAIL, said, hint)


async def snapshots(patient: Patient) -> Finding:
    """Whether what was written can be moved from the log into the file: a reader that stays in its transaction stops that."""

    def move(connection: sqlite3.Connection) -> tuple[int, int]:
        _, logged, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return logged, moved

    logged, moved = first, _ = await patient.reader.call(move)
    for _ in range(_LOOKS):
        # A log that has become shorter was begun anew: then all of it had been moved.
        if moved >= first or logged < first:
            return Finding("snapshots", Verdict.OK, "none is held")
        await pause(SystemClock(), _GAP)
        logged, moved = await patient.reader.call(move)
    said = (
        f"somebody reads an old state of the file: {first - moved:,} pages of its log cannot be moved, and the log only grows"
    )
    hint = "end the transaction, or the program, that reads (`fuser` on the file tells which)"
    return Finding("snapshots", Verdict.WARN, said, hint)


async def schema_version(patient: Patient) -> Finding:
    """Whether the tables are those of this version."""
    version = await patient.reader.call(patient.database.version)
    place = repr(patient.database.path)
    try:
        mismatch = outdated("sqlite", version, place) if missing("sqlite", version, place) else None
    except SchemaMismatch as error:
        mismatch = str(error)
    return findings.schema(version, mismatch)


async def all_indexes(patient: Patient) -> Finding:
    """Whether all indexes are there."""
    made = indexes("sqlite")
    there = {name for (name,) in await patient.rows("indexes")}
    return findings.indexes(len(made), {f"{name} is missing": sql for name, sql in made.items() if name not in there})


async def stored_times(patient: Patient) -> Finding:
    """Whether time has gone back since something was stored."""
    ((ahead,),) = await patient.rows("future")
    return findings.stored_times(ahead)


async def unserved(patient: Patient) -> Finding:
    """Whether there is a worker for all that is due."""
    return findings.unserved(await patient.rows("unserved"))


Look = Callable[[Patient], Awaitable[Finding]]

_FILE: Mapping[str, Look] = {
    "durability": durability,
    "write lock": write_lock,
    "snapshots": snapshots,
    "schema": schema_version,
}
"""The last one says whether the tables can be looked at."""
_TABLES: Mapping[str, Look] = {"indexes": all_indexes, "stored times": stored_times, "workers": unserved}

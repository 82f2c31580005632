"""What can be wrong with a PostgreSQL database, and with the way to it: one function for each thing to look at."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import asyncpg
from attrs import define, evolve, field

from zart.checkup import Finding, Verdict, told
from zart.clock import Clock, SystemClock, limited
from zart.errors import NotSupported, SchemaMismatch
from zart.ids import Randomness, SystemRandomness
from zart.schedulers.postgres.connections import Connection, Row, Server
from zart.schedulers.postgres.faults import of_storage
from zart.schedulers.postgres.schema import Schema
from zart.schedulers.sql import findings
from zart.schedulers.sql.indexes import indexes, primary_keys

_FAULTS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_NAME = "zart doctor"
_PATIENCE = 2.0
"""Seconds that a notification may take."""
_SOURCES: Mapping[str, str] = {
    "database": "a setting of the database",
    "user": "a setting of the role",
    "database user": "a setting of the role in this database",
    "client": "the URL",
    "environment variable": "the server's environment",
}
"""What PostgreSQL calls the place where something was set -> the same in words."""
_USE_POOLER = "add pooler=true to the URL, or lead it past the pooler"


@define(eq=False)
class Patient:
    """A database on the table: a connection on which nothing is set or kept, so that it works through any pooler."""

    server: Server
    schema: Schema
    queries: Mapping[str, str]
    listens: bool
    connection: Connection
    held_for: timedelta = timedelta(minutes=1)
    clock: Clock = field(factory=SystemClock)
    randomness: Randomness = field(factory=SystemRandomness)

    async def rows(self, name: str, *arguments: Any) -> list[Row]:
        """Return the rows of a statement, asked for in a transaction of its own."""
        async with self.connection.transaction():
            return await self.connection.fetch(self.queries[f"checkup.{name}"], *arguments, timeout=self.server.timeout)

    async def process(self) -> int:
        """Return the id of the server process that a transaction comes to."""
        (row,) = await self.rows("session")
        pid: int = row["pid"]
        return pid


async def examine(
    server: Server, schema: Schema, queries: Mapping[str, str], *, listens: bool, held_for: timedelta
) -> list[Finding]:
    """Look at everything, as far as it can be looked at."""
    try:
        connection = await evolve(server, pooler=True).connect()
    except (*_FAULTS, NotSupported, ValueError) as error:
        return [findings.not_reached(of_storage(error, server.place) or error)]
    try:
        patient = Patient(server, schema, queries, listens, connection, held_for)
        found = [await _looked_at(name, look, patient) for name, look in _WAY.items()]
        tables = await _looked_at("schema", schema_version, patient)
        found.append(tables)
        if tables.verdict is Verdict.OK:
            found += [await _looked_at(name, look, patient) for name, look in _TABLES.items()]
        return found
    finally:
        connection.terminate()


async def _looked_at(name: str, look: "Look", patient: Patient) -> Finding:
    try:
        return await look(patient)
    except _FAULTS as error:
        return findings.unseen(name, of_storage(error, patient.server.place) or error)


# ---- the way to it ------------------------------------------------------------------------------------------------------


async def database(patient: Patient) -> Finding:
    """Whether the server answers, and takes writes."""
    began = patient.clock.monotonic()
    (row,) = await patient.rows("session")
    took = (patient.clock.monotonic() - began) * 1000
    version = patient.connection.get_server_version()
    said = f"PostgreSQL {version.major}.{version.minor} answers {row['role']} in {took:.1f} ms"
    if row["standby"]:
        hint = "name the primary, or all servers with target_session_attrs=read-write"
        return Finding("database", Verdict.FAIL, f"{said}, and is a standby that takes no writes", hint)
    return Finding("database", Verdict.OK, said)


async def durability(patient: Patient) -> Finding:
    """Whether what was acknowledged is on the disk, and the data outlive a crash."""
    settings = {row["name"]: row for row in await patient.rows("durability")}
    lost: dict[str, str] = {}
    if settings["fsync"]["setting"] == "off":
        lost["fsync is off: a crash of the machine may destroy the database"] = "fsync to on"
    if settings["full_page_writes"]["setting"] == "off":
        lost["full_page_writes is off: a crash may leave half of a page"] = "full_page_writes to on"
    if lost:
        hint = f"set {' and '.join(lost.values())} in the server's configuration, and reload it"
        return Finding("durability", Verdict.FAIL, ", and ".join(lost), hint)
    commit = settings["synchronous_commit"]
    if commit["setting"] == "off":
        where = _SOURCES.get(commit["source"], "the server's configuration")
        said = (
            f"synchronous_commit is off, by {where}: Zart sets it on for what it saves itself, not in transactions of your own"
        )
        hint = f"set synchronous_commit to on there, or in every transaction that starts an execution ({where})"
        return Finding("durability", Verdict.WARN, said, hint)
    return Finding("durability", Verdict.OK, "what was acknowledged is on the disk")


async def pooler(patient: Patient) -> Finding:
    """Whether what stands before the server is what the URL says."""
    claimed = patient.server.pooler
    try:
        process = await patient.process()
    except asyncpg.ProtocolViolationError as error:
        said = f"what stands before the server refuses transactions: {error}"
        return Finding(
            "pooler", Verdict.FAIL, said, "set it to pool_mode = transaction or session, and add pooler=true to the URL"
        )
    between = process != patient.connection.get_server_pid()
    if await _moves(patient, process):
        if claimed:
            return Finding("pooler", Verdict.OK, "a transaction pooler stands before the server, as the URL says")
        said = (
            "a transaction pooler stands before the server, and the URL does not say so: what one connection sets is on others'"
        )
        return Finding("pooler", Verdict.FAIL, said, _USE_POOLER)
    if claimed:
        if between:
            return Finding("pooler", Verdict.OK, "a pooler stands before the server, as the URL says")
        said = "no pooler stands before the server: LISTEN and prepared statements are given up for nothing"
        return Finding("pooler", Verdict.WARN, said, "leave pooler=true out of the URL")
    return await _settings(patient, between=between)


async def _moves(patient: Patient, process: int) -> bool:
    """Whether transactions of one connection come to different server processes, or those of two to the same."""
    other = await evolve(patient.server, pooler=True).connect()
    try:
        async with other.transaction():
            taken = await other.fetchval("SELECT pg_backend_pid()", timeout=patient.server.timeout)
            return taken == process or await patient.process() != process
    finally:
        other.terminate()


async def _settings(patient: Patient, *, between: bool) -> Finding:
    """Whether a connection takes and keeps the settings that the scheduler gives it."""
    try:
        connection = await patient.server.connect(name=_NAME)
    except asyncpg.PostgresError as error:
        said = f"what stands before the server refuses the settings of a connection: {error}"
        return Finding("pooler", Verdict.FAIL, said, _USE_POOLER)
    try:
        kept = await connection.fetchval("SHOW application_name", timeout=patient.server.timeout) == _NAME
        if (
            not kept
            or await connection.fetchval("SHOW plan_cache_mode", timeout=patient.server.timeout) != "force_generic_plan"
        ):
            said = "what stands before the server drops the settings of a connection"
            return Finding("pooler", Verdict.FAIL, said, _USE_POOLER)
    finally:
        connection.terminate()
    said = "a pooler that keeps connections apart stands before the server" if between else "nothing stands before the server"
    return Finding("pooler", Verdict.OK, said)


async def notify(patient: Patient) -> Finding:
    """Whether a notification comes to who listens."""
    if patient.server.pooler or not patient.listens:
        why = "pooler=true" if patient.server.pooler else "listen=false"
        return Finding("notify", Verdict.OK, f"not used, as the URL says ({why}): work of other processes is found by looking")
    channel = f"zart_doctor_{patient.randomness.uuid().hex}"
    heard = asyncio.Event()
    began = patient.clock.monotonic()
    listener: Connection | None = None
    try:
        listener = await patient.server.connect(name=_NAME)
        async with limited(patient.clock, _PATIENCE, f"a notification did not come within {told(_PATIENCE)}"):
            await listener.add_listener(channel, lambda *_: heard.set())
            async with patient.connection.transaction():
                await patient.connection.execute(f"NOTIFY {channel}", timeout=patient.server.timeout)
            await heard.wait()
    except (*_FAULTS, TimeoutError) as error:
        hint = (
            "let LISTEN through, or say listen=false, or pooler=true, in the URL; until then work is found by looking (--poll)"
        )
        return Finding("notify", Verdict.WARN, str(error), hint)
    finally:
        if listener is not None:
            listener.terminate()
    return Finding("notify", Verdict.OK, f"a notification came within {(patient.clock.monotonic() - began) * 1000:.0f} ms")


# ---- time ---------------------------------------------------------------------------------------------------------------


async def clock(patient: Patient) -> Finding:
    """Whether the server's clock and this machine's agree."""
    began = patient.clock.monotonic()
    (row,) = await patient.rows("session")
    here, took = patient.clock.now(), patient.clock.monotonic() - began
    ahead = (row["now"] - here).total_seconds()
    way = "ahead of" if ahead > 0 else "behind"
    if abs(ahead) <= findings.SKEW + took:
        return Finding("clock", Verdict.OK, f"the server's clock and this machine's agree within {told(abs(ahead) + took)}")
    said = f"the server's clock is {told(abs(ahead))} {way} this machine's; it alone decides when something is due"
    return Finding(
        "clock", Verdict.WARN, said, "set both by NTP; times that this machine shows, or sends with --at, are off by that"
    )


async def stored_times(patient: Patient) -> Finding:
    """Whether time has gone back since something was stored."""
    (row,) = await patient.rows("future")
    return findings.stored_times(row["ahead"])


# ---- the tables ---------------------------------------------------------------------------------------------------------


async def schema_version(patient: Patient) -> Finding:
    """Whether the tables are those of this version."""
    version = 0
    try:
        async with patient.connection.transaction():
            version = await patient.schema.version(patient.connection)
            mismatch = await patient.schema.check(patient.connection)
    except SchemaMismatch as error:
        mismatch = str(error)
    return findings.schema(version, mismatch)


async def all_indexes(patient: Patient) -> Finding:
    """Whether all indexes are there, and valid."""
    names = patient.schema.names
    made = {names.prefix + name.removeprefix("zart_"): sql for name, sql in indexes("postgres").items()}
    made |= {f"{names.prefix}{name.removeprefix('zart_')}_pkey": sql for name, sql in primary_keys("postgres").items()}
    wrong: dict[str, str] = {}
    for row in await patient.rows("missing", list(made)):
        if row["absent"]:
            wrong[f"{row['name']} is missing"] = names.apply(made[row["name"]]).replace(" INDEX ", " INDEX CONCURRENTLY ")
        else:
            wrong[f"{row['name']} is not valid"] = f"REINDEX INDEX CONCURRENTLY {_qualified(patient, row['name'])}"
    return findings.indexes(len(made), wrong)


def _qualified(patient: Patient, name: str) -> str:
    names = patient.schema.names
    return names.apply(f"zart_{name.removeprefix(names.prefix)}")


async def snapshots(patient: Patient) -> Finding:
    """Whether somebody keeps old versions of rows from being removed."""
    rows = await patient.rows("snapshots", patient.held_for.total_seconds())
    if not rows:
        return Finding("snapshots", Verdict.OK, f"none is held for more than {told(patient.held_for.total_seconds())}")
    said = "; ".join(map(_holder, rows))
    mends = {
        "session": "end the transaction, or its session with SELECT pg_terminate_backend(pid)",
        "prepared": "COMMIT PREPARED or ROLLBACK PREPARED it",
        "slot": "let its reader catch up, or SELECT pg_drop_replication_slot(name)",
    }
    hint = ", or ".join(dict.fromkeys(mends[row["kind"]] for row in rows))
    return Finding("snapshots", Verdict.WARN, f"old versions of rows cannot be removed while it is open: {said}", hint)


def _holder(row: Row) -> str:
    since = "" if row["held"] is None else f" for {told(row['held'])}"
    match row["kind"]:
        case "session":
            about = f" ({row['about']})" if row["about"] else ""
            return f"session {row['name']}{about} is {row['state']}, in a transaction{since}"
        case "prepared":
            return f"transaction {row['name']!r} is prepared{since}"
        case _:
            return f"replication slot {row['name']!r} ({row['about']}, {row['state']}) is far behind"


async def dead_rows(patient: Patient) -> Finding:
    """Whether vacuum keeps up."""
    rows = await patient.rows("dead")
    if not rows:
        return Finding("dead rows", Verdict.OK, "vacuum keeps up")
    said = ", ".join(
        f"{row['name']} has {row['dead']:,} dead rows beside {row['live']:,} living ones, and was last vacuumed "
        f"{'never' if row['cleaned'] is None else format(row['cleaned'], '%Y-%m-%d %H:%M')}"
        for row in rows
    )
    tables = "; ".join(f"VACUUM (ANALYZE) {_qualified(patient, row['name'])}" for row in rows)
    return Finding("dead rows", Verdict.WARN, said, f"see that no snapshot is held and autovacuum is on, and run {tables}")


async def unserved(patient: Patient) -> Finding:
    """Whether there is a worker for all that is due."""
    rows = await patient.rows("unserved")
    return findings.unserved([(row["queue"], row["task"], row["number"], row["waited"]) for row in rows])


Look = Callable[[Patient], Awaitable[Finding]]

_WAY: Mapping[str, Look] = {
    "database": database,
    "durability": durability,
    "pooler": pooler,
    "notify": notify,
    "clock": clock,
    "snapshots": snapshots,
}
_TABLES: Mapping[str, Look] = {
    "indexes": all_indexes,
    "stored times": stored_times,
    "dead rows": dead_rows,
    "workers": unserved,
}
"""What can be looked at only where the tables are."""

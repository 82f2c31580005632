"""What can be wrong with a MySQL or MariaDB database, and with the way to it: one function for each thing to look at."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from asyncmy.errors import MySQLError
from attrs import define, field

from zart.checkup import Finding, Verdict, told
from zart.clock import Clock, SystemClock, moment
from zart.errors import NotSupported, SchedulerError, SchemaMismatch
from zart.schedulers.mysql.connections import FLUSHED, Server
from zart.schedulers.mysql.faults import number_of, of_storage
from zart.schedulers.mysql.queries import Statement
from zart.schedulers.mysql.schema import Schema, made_tables
from zart.schedulers.mysql.talk import Row, Talk
from zart.schedulers.sql import findings

_FAULTS = (OSError, TimeoutError, MySQLError, NotSupported)
_PACKET = 4 * 1024 * 1024
"""Bytes that a server should take at once: twice what a worker lets a value be."""
_FORBIDDEN = frozenset({1142, 1143, 1044, 1227})
"""Errors that say that the user may not do that."""
_TRIED = (
    "checkup.may_delete_worker_tasks",
    "checkup.may_delete_workers",
    "checkup.may_insert_executions",
    "checkup.may_insert_mail",
    "checkup.may_insert_settings",
    "checkup.may_insert_steps",
    "checkup.may_insert_worker_tasks",
    "checkup.may_insert_workers",
    "checkup.may_update_executions",
    "checkup.may_update_settings",
    "checkup.may_update_steps",
    "checkup.may_update_workers",
)
"""The statements that try a privilege: what is done, and to which table."""
_KEY = re.compile(r"^ +(?P<made>(?:UNIQUE )?KEY (?P<name>\w+) \([^)]*\)|PRIMARY KEY \([^)]*\))", re.MULTILINE)


@define(eq=False)
class Patient:
    """A database on the table, and a connection as the scheduler would have one."""

    server: Server
    schema: Schema
    talk: Talk
    settings: Mapping[str, str]
    """The server's, as far as they are of interest."""
    held_for: timedelta
    clock: Clock = field(factory=SystemClock)

    async def rows(self, name: str, **values: object) -> list[Row]:
        """Return the rows of a statement."""
        (answer,) = await self.talk.ask(self.talk.say(name, **values))
        return list(answer.rows)

    @property
    def is_node(self) -> bool:
        """Whether the server is a node of a Galera cluster."""
        return self.on("wsrep_on")

    def on(self, name: str) -> bool:
        """Whether a setting is there, and on."""
        return self.settings.get(name, "OFF").upper() not in {"OFF", "0"}


async def examine(server: Server, schema: Schema, queries: Mapping[str, Statement], held_for: timedelta) -> list[Finding]:
    """Look at everything, as far as it can be looked at; nothing is changed."""
    server = Server(server.address, server.timeout, has_warned=True)  # what it would warn of is looked at below
    try:
        connection = await server.connect()
    except (*_FAULTS, ValueError) as error:
        return [findings.not_reached(of_storage(error, server.place) or error)]
    try:
        talk = Talk(connection, queries, None, server.timeout, server.place, server.largest, server.cluster)
        (answer,) = await talk.ask(talk.say("checkup.settings"))
        settings = {name.lower(): value for name, value in answer.rows}
        patient = Patient(server, schema, talk, settings, held_for)
        found = [await _looked_at(name, look, patient) for name, look in _WAY.items()]
        if found[-1].verdict is Verdict.OK:
            found += [await _looked_at(name, look, patient) for name, look in _TABLES.items()]
    except _FAULTS as error:  # it has gone away meanwhile
        return [findings.not_reached(of_storage(error, server.place) or error)]
    else:
        return found
    finally:
        connection.close()


async def _looked_at(name: str, look: "Look", patient: Patient) -> Finding:
    try:
        return await look(patient)
    except (*_FAULTS, SchedulerError) as error:
        return findings.unseen(name, of_storage(error, patient.server.place) or error)


# ---- the way to it ------------------------------------------------------------------------------------------------------


async def database(patient: Patient) -> Finding:
    """Whether the server answers, and takes writes."""
    began = patient.clock.monotonic()
    ((role, _),) = await patient.rows("checkup.session")
    took = (patient.clock.monotonic() - began) * 1000
    kind = "MariaDB" if patient.server.is_mariadb else "MySQL"
    said = f"{kind} {patient.settings['version']} answers {role} in {took:.1f} ms"
    refusing = [name for name in ("read_only", "super_read_only", "innodb_read_only") if patient.on(name)]
    if refusing:
        hint = f"name the server that takes writes, or set {' and '.join(refusing)} to OFF"
        return Finding("database", Verdict.FAIL, f"{said}, and is read-only ({', '.join(refusing)})", hint)
    return Finding("database", Verdict.OK, said)


async def durability(patient: Patient) -> Finding:
    """Whether what was acknowledged is on the disk."""
    settings = patient.settings
    wrong: dict[str, str] = {}
    if (flush := settings.get("innodb_flush_log_at_trx_commit", "1")) not in FLUSHED:
        wrong[f"innodb_flush_log_at_trx_commit is {flush}"] = "set innodb_flush_log_at_trx_commit to 1"
    if patient.on("log_bin") and (sync := settings.get("sync_binlog", "1")) != "1":
        wrong[f"sync_binlog is {sync}"] = "set sync_binlog to 1"
    if (method := settings.get("innodb_flush_method", "")).lower() == "nosync":
        wrong[f"innodb_flush_method is {method}"] = "leave innodb_flush_method out of the server's options"
    lost = f"{', '.join(wrong)}: acknowledged work is lost when the server's machine crashes"
    mends = list(wrong.values())
    if settings.get("innodb_doublewrite", "ON").upper() in {"OFF", "0"}:
        said = "innodb_doublewrite is OFF: a crash may leave half of a page"
        lost = f"{lost}; {said}" if wrong else said
        mends.append("set innodb_doublewrite to ON, unless the disk writes pages whole")
    if not mends:
        return Finding("durability", Verdict.OK, "what was acknowledged is on the disk")
    if patient.is_node:
        return Finding("durability", Verdict.WARN, f"{lost}, unless another node has it", " and ".join(mends))
    return Finding("durability", Verdict.FAIL if wrong else Verdict.WARN, lost, " and ".join(mends))


async def session(patient: Patient) -> Finding:
    """Whether a connection keeps what it is set to, and the server's settings let Zart write."""
    ((name, level), *_) = await patient.rows("checkup.isolation")
    if level != "READ-COMMITTED":
        said = (
            f"{name} is {level} though READ COMMITTED was set: what stands before the server drops the settings of a connection"
        )
        return Finding("settings", Verdict.FAIL, said, "lead the URL past it, or have it keep connections apart")
    form = patient.settings.get("binlog_format", "")
    if patient.on("log_bin") and form.upper() == "STATEMENT":
        said = f"binlog_format is {form}, with which the server refuses to write at READ COMMITTED"
        return Finding("settings", Verdict.FAIL, said, "set binlog_format to MIXED or ROW")
    if patient.talk.largest < _PACKET:
        said = f"max_allowed_packet is {patient.talk.largest:,} bytes, and values may be larger: they are refused"
        return Finding("settings", Verdict.WARN, said, f"set max_allowed_packet to {_PACKET} or more")
    return Finding("settings", Verdict.OK, "isolation level, binary log and size of packets are as they must be")


async def cluster(patient: Patient) -> Finding:
    """Whether a node of a cluster is one of its majority."""
    if not patient.is_node:
        return Finding("cluster", Verdict.OK, "the server is no node of a Galera cluster")
    status = {name.lower(): value for name, value in await patient.rows("checkup.cluster")}
    said = (
        f"the server is a node of a Galera cluster of {status.get('wsrep_cluster_size')},"
        f" {status.get('wsrep_cluster_status')}, {status.get('wsrep_local_state_comment')}"
    )
    if status.get("wsrep_ready") == "ON" and status.get("wsrep_cluster_status") == "Primary":
        return Finding("cluster", Verdict.OK, said)
    hint = "see that it reaches the others, or name a node that does"
    return Finding("cluster", Verdict.FAIL, f"{said}: it has lost the others and takes no writes", hint)


async def clock(patient: Patient) -> Finding:
    """Whether the server's clock and this machine's agree."""
    began = patient.clock.monotonic()
    ((_, now),) = await patient.rows("checkup.session")
    here, took = patient.clock.now(), patient.clock.monotonic() - began
    ahead = (moment(int(now)) - here).total_seconds()
    if abs(ahead) <= findings.SKEW + took:
        return Finding("clock", Verdict.OK, f"the server's clock and this machine's agree within {told(abs(ahead) + took)}")
    way = "ahead of" if ahead > 0 else "behind"
    said = f"the server's clock is {told(abs(ahead))} {way} this machine's; it alone decides when something is due"
    return Finding(
        "clock", Verdict.WARN, said, "set both by NTP; times that this machine shows, or sends with --at, are off by that"
    )


async def snapshots(patient: Patient) -> Finding:
    """Whether somebody keeps old versions of rows from being removed."""
    try:
        rows = await patient.rows("checkup.snapshots", held=int(patient.held_for.total_seconds()))
    except MySQLError as error:
        if number_of(error) not in _FORBIDDEN:
            raise
        said = "not looked at: this user may not see other sessions' transactions (PROCESS)"
        return Finding("snapshots", Verdict.OK, said)
    if not rows:
        return Finding("snapshots", Verdict.OK, f"none is held for more than {told(patient.held_for.total_seconds())}")
    said = "; ".join(
        f"session {number} of {user or 'somebody'} ({command or 'hidden'}) is in a transaction for {told(held)}"
        for number, user, command, held in rows
    )
    hint = "end the transaction, or its session with KILL and its number"
    return Finding("snapshots", Verdict.WARN, f"old versions of rows cannot be removed while it is open: {said}", hint)


# ---- the tables ---------------------------------------------------------------------------------------------------------


async def schema_version(patient: Patient) -> Finding:
    """Whether the tables are those of this version."""
    version = 0
    try:
        version = await patient.schema.version(patient.talk)
        mismatch = await patient.schema.check(patient.talk)
    except SchemaMismatch as error:
        mismatch = str(error)
    return findings.schema(version, mismatch)


async def all_indexes(patient: Patient) -> Finding:
    """Whether all indexes are there."""
    names = patient.schema.names
    tables: dict[str, str] = {}
    made: dict[tuple[str, str], str] = {}
    for table, body in made_tables().items():
        tables[names.apply(table).strip("`")] = table
        for key in _KEY.finditer(body):
            made[table, key["name"] or "PRIMARY"] = key["made"]
    there = {(tables[table], name) for table, name in await patient.rows("checkup.keys", tables=list(tables))}
    wrong = {
        f"{name} of {names.apply(table).strip('`')} is missing": names.apply(f"ALTER TABLE {table} ADD {sql}")
        for (table, name), sql in made.items()
        if (table, name) not in there
    }
    return findings.indexes(len(made), wrong)


async def privileges(patient: Patient) -> Finding:
    """Whether this user may do what a worker does. It is tried on no row at all, in a transaction that is taken back."""
    talk, refused = patient.talk, list[str]()
    for name in _TRIED:
        try:
            await talk.begin(talk.say(name))
        except MySQLError as error:
            if number_of(error) not in _FORBIDDEN:
                raise
            verb, _, table = name.removeprefix("checkup.may_").partition("_")
            refused.append(f"{verb.upper()} on {patient.schema.names.prefix}{table}")
        finally:
            await talk.roll_back()
    if not refused:
        return Finding("privileges", Verdict.OK, "this user may do all that a worker does")
    hint = f"grant it {', '.join(refused)}, or use a user that has them"
    return Finding("privileges", Verdict.FAIL, f"this user may not {', '.join(refused)}: a worker needs that", hint)


async def stored_times(patient: Patient) -> Finding:
    """Whether time has gone back since something was stored."""
    ((latest, now),) = await patient.rows("checkup.future")
    return findings.stored_times((latest - now) / 1e6)


async def unserved(patient: Patient) -> Finding:
    """Whether there is a worker for all that is due."""
    rows: list[Any] = await patient.rows("checkup.unserved")
    return findings.unserved([(queue, task, int(number), float(waited)) for queue, task, number, waited in rows])


Look = Callable[[Patient], Awaitable[Finding]]

_WAY: Mapping[str, Look] = {
    "database": database,
    "durability": durability,
    "settings": session,
    "cluster": cluster,
    "clock": clock,
    "snapshots": snapshots,
    "schema": schema_version,
}
"""The last one says whether the tables can be looked at."""
_TABLES: Mapping[str, Look] = {
    "indexes": all_indexes,
    "privileges": privileges,
    "stored times": stored_times,
    "workers": unserved,
}

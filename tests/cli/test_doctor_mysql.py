"""`zart doctor` on a real MariaDB with real faults: each is found, named, and what the hint says mends it."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from asyncmy.errors import OperationalError
from attrs import evolve, frozen

from tests.cli.conftest import Zart
from tests.cli.flows import Echo, registry
from tests.cli.test_doctor import by_check, wrong
from tests.servers.mariadb import MariaDbServer
from tests.servers.present import need
from zart import DurableScheduler, Worker, WorkerConfig, connect
from zart.checkup import Finding
from zart.cli.errors import Exit
from zart.cli.examining import examined
from zart.clock import SystemClock
from zart.durations import to_timedelta
from zart.records import Commit, Demand, Fate, StepRecord, WorkerBeat
from zart.schedulers.mysql import MySqlScheduler, checkup
from zart.schedulers.mysql.address import Address
from zart.schedulers.mysql.connections import Server
from zart.schedulers.mysql.queries import Names
from zart.schedulers.mysql.schema import Schema
from zart.status import Phase, StepKind

_numbers = count(1)
CHECKS = {
    "database",
    "durability",
    "settings",
    "cluster",
    "clock",
    "snapshots",
    "schema",
    "indexes",
    "privileges",
    "stored times",
    "workers",
}


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDbServer]:
    """A server that keeps what it acknowledges: those of the other suites are not healthy."""
    need("MariaDB")
    with MariaDbServer(fsync=True, options={"innodb_buffer_pool_size": "64M", "log_bin": "binlog", "sync_binlog": "1"}) as it:
        yield it


@pytest.fixture
def url(server: MariaDbServer) -> str:
    """A database without tables of that prefix."""
    return f"{server.url}?prefix=doctor{next(_numbers)}_"


@asynccontextmanager
async def talking(server: MariaDbServer, *statements: str) -> AsyncIterator[Any]:
    connection = await server.session()
    try:
        async with connection.cursor() as cursor:
            for each in statements:
                await cursor.execute(each)
            yield cursor
    finally:
        connection.close()


async def found_in(url: str, held_for: str = "1m") -> list[Finding]:
    return list(await examined(url, to_timedelta(held_for)))


def prefix(url: str) -> str:
    return url.rpartition("=")[2]


async def test_a_healthy_database_is_well_in_every_respect(url: str) -> None:
    async with connect(url) as storage:
        await storage.migrate()
        async with Worker(storage, registry):
            await DurableScheduler(storage).start_and_wait_for(Echo, "one", 1, timeout="10s")
            await DurableScheduler(storage).start("later", "nobody-knows-it", delay="1h")
            findings = await found_in(url)
    assert wrong(findings) == {}
    assert {each.check for each in findings} == CHECKS


def test_what_it_prints_and_how_it_leaves(zart: Zart) -> None:
    missing = zart("doctor")
    assert missing.exit == Exit.CONFIGURATION
    assert "zart migrate" in next(each["hint"] for each in missing.data if each["check"] == "schema")
    assert "indexes" not in {each["check"] for each in missing.data}, "of tables that are not there nothing is known"
    zart("migrate")
    well = zart("doctor")
    assert (well.exit, well.err) == (Exit.DONE, "")
    assert all(each["ok"] and each["detail"] and not each["hint"] for each in well.data)
    zart("schedule", "unheard-of")
    ill = zart("doctor", "-o", "table")
    assert (ill.exit, ill.err) == (Exit.FAILED, "")
    assert "1 of unheard-of for" in ill.out


def test_a_server_that_is_away_cannot_be_reached(zart: Zart) -> None:
    answer = zart("doctor", "--database-url", "mysql://ann:s3cret@127.0.0.1:1/zart")
    assert (answer.exit, [each["check"] for each in answer.data]) == (Exit.UNAVAILABLE, ["database"])
    assert "s3cret" not in answer.out


async def test_a_user_who_is_not_let_in_is_told_what_to_do(url: str) -> None:
    (found,) = await found_in(url.replace("root@", "nobody:s3cret@"))
    assert (found.check, found.verdict, "password" in found.hint) == ("database", "fail", True)
    assert "s3cret" not in found.detail


async def test_work_that_no_worker_serves_is_found_until_one_does(url: str) -> None:
    async with connect(url) as storage:
        await storage.migrate()
        client = DurableScheduler(storage)
        await client.start("one", "echo", queue="nights")
        await client.start("two", "misspelt")
        found = by_check(await found_in(url))["workers"]
        assert found.verdict == "fail"
        assert "1 of echo in queue nights for" in found.detail
        assert "1 of misspelt for" in found.detail
        async with Worker(storage, [Echo()]):
            assert "echo in queue nights" in by_check(await found_in(url))["workers"].detail
        async with Worker(storage, [Echo()], WorkerConfig(queues=("nights",))):
            await client.wait("one", "10s")
            assert "echo" not in by_check(await found_in(url))["workers"].detail


async def test_what_a_dead_worker_holds_is_found_when_nobody_else_could_take_it(url: str) -> None:
    async with connect(url) as storage:
        await storage.migrate()
        await DurableScheduler(storage).start("one", "echo")
        await storage.beat(WorkerBeat("gone", 50_000, ("default",), ("echo",), register=True))
        await storage.claim(Demand("gone", ("default",), {"echo": None}, 1))
        await storage.wait(["one"], timedelta(milliseconds=60))  # longer than the lease
        assert "1 of echo for" in by_check(await found_in(url))["workers"].detail


class Ahead(SystemClock):
    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


async def test_a_clock_that_was_set_back_is_found(url: str, server: MariaDbServer) -> None:
    async with MySqlScheduler(server.url, prefix=prefix(url), clock=Ahead()) as storage:
        await storage.migrate()
        await DurableScheduler(storage).start("one", "echo", delay="1h")
    found = by_check(await found_in(url))["stored times"]
    assert (found.verdict, "60 min in the future" in found.detail) == ("fail", True)


async def test_clocks_that_do_not_agree_are_found(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await connect(url).migrate()
    monkeypatch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + timedelta(minutes=5))
    findings = await found_in(url)
    assert wrong(findings) == {"clock": "warn"}
    assert "5 min behind this machine's" in by_check(findings)["clock"].detail


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ALTER TABLE {0}executions DROP KEY due", "due of {0}executions is missing"),
        ("ALTER TABLE {0}executions DROP KEY start_key", "start_key of {0}executions is missing"),
        ("ALTER TABLE {0}mail DROP PRIMARY KEY", "PRIMARY of {0}mail is missing"),
    ],
)
async def test_an_index_that_was_dropped_is_found_and_the_hint_makes_it_again(
    url: str, server: MariaDbServer, damage: str, said: str
) -> None:
    await connect(url).migrate()
    async with talking(server, damage.format(prefix(url))) as cursor:
        found = by_check(await found_in(url))["indexes"]
        assert found.verdict == "fail"
        assert found.detail.startswith(said.format(prefix(url)))
        await cursor.execute(found.hint.removeprefix("run "))
    assert wrong(await found_in(url)) == {}


@pytest.mark.parametrize(
    ("settings", "check", "verdict", "said"),
    [
        ({"innodb_flush_log_at_trx_commit": "2"}, "durability", "fail", "innodb_flush_log_at_trx_commit is 2"),
        ({"sync_binlog": "0"}, "durability", "fail", "sync_binlog is 0"),
        ({"max_allowed_packet": "1048576"}, "settings", "warn", "1,048,576 bytes"),
        ({"binlog_format": "STATEMENT"}, "settings", "fail", "binlog_format is STATEMENT"),
        ({"read_only": "1"}, "database", "fail", "is read-only (read_only)"),
    ],
)
async def test_a_server_that_is_not_set_as_it_must_be_is_found(
    url: str, server: MariaDbServer, settings: dict[str, str], check: str, verdict: str, said: str
) -> None:
    await connect(url).migrate()
    ((name, value),) = settings.items()
    async with talking(server, f"SELECT @@GLOBAL.{name}") as cursor:
        ((before,),) = await cursor.fetchall()
        try:
            await cursor.execute(f"SET GLOBAL {name} = {value}")
            findings = by_check(await found_in(url))
        finally:
            await cursor.execute(f"SET GLOBAL {name} = {before}")
    assert findings[check].verdict == verdict
    assert said in findings[check].detail
    assert name in findings[check].hint
    assert wrong(await found_in(url)) == {}


async def test_a_server_that_never_syncs_or_writes_pages_only_once_is_found(caplog: pytest.LogCaptureFixture) -> None:
    with MariaDbServer(options={"innodb_doublewrite": "OFF"}) as careless, caplog.at_level(logging.WARNING):
        found = by_check(await found_in(careless.url))["durability"]
    assert not caplog.records, "what is wrong is a finding, not a warning in the log"
    assert found.verdict == "fail"
    for each in ("innodb_flush_log_at_trx_commit is 0", "innodb_flush_method is nosync", "innodb_doublewrite is OFF"):
        assert each in found.detail


async def test_a_transaction_that_is_held_is_found(url: str, server: MariaDbServer) -> None:
    await connect(url).migrate()
    statements = ("START TRANSACTION WITH CONSISTENT SNAPSHOT", f"SELECT * FROM {prefix(url)}executions")
    async with talking(server, *statements) as cursor:
        await cursor.execute("SELECT CONNECTION_ID()")
        ((number,),) = await cursor.fetchall()
        assert wrong(await found_in(url, "1m")) == {}
        findings = await found_in(url, "0s")
        assert wrong(findings) == {"snapshots": "warn"}
        assert f"session {number} of root" in by_check(findings)["snapshots"].detail
    assert wrong(await found_in(url, "1m")) == {}


async def test_rights_that_a_worker_lacks_are_found_and_nothing_is_changed(url: str, server: MariaDbServer) -> None:
    await connect(url).migrate()
    name, tables = prefix(url).rstrip("_"), prefix(url)
    made = (f"CREATE USER {name}", f"GRANT SELECT, INSERT, UPDATE ON zart.* TO {name}")
    async with talking(server, *made) as cursor:
        theirs = url.replace("root@", f"{name}@")
        findings = await found_in(theirs)
        assert wrong(findings) == {"privileges": "fail"}
        found = by_check(findings)["privileges"]
        assert f"may not DELETE on {tables}worker_tasks, DELETE on {tables}workers:" in found.detail
        assert "PROCESS" in by_check(findings)["snapshots"].detail
        for each in ("workers", "worker_tasks"):
            await cursor.execute(f"GRANT DELETE ON zart.{tables}{each} TO {name}")
        assert wrong(await found_in(theirs)) == {}
        for each in ("executions", "steps", "mail", "workers", "settings"):
            await cursor.execute(f"SELECT COUNT(*) FROM {tables}{each}")
            assert await cursor.fetchall() == ((0,),)


async def test_a_user_with_just_the_rights_that_are_tried_does_all_that_a_worker_does(url: str, server: MariaDbServer) -> None:
    await connect(url).migrate()
    name, tables = prefix(url).rstrip("_"), prefix(url)
    rights = [each.removeprefix("checkup.may_").partition("_") for each in checkup._TRIED]
    granted = [f"GRANT {verb} ON zart.{tables}{table} TO {name}" for verb, _, table in rights]
    async with talking(server, f"CREATE USER {name}", f"GRANT SELECT ON zart.* TO {name}", *granted) as cursor:
        theirs = url.replace("root@", f"{name}@")
        assert wrong(await found_in(theirs)) == {}
        async with MySqlScheduler(server.url.replace("root@", f"{name}@"), prefix=tables) as storage:
            client = DurableScheduler(storage)
            async with Worker(storage, registry):
                await client.start_and_wait_for(Echo, "one", 1, timeout="10s")
            await client.start("two", "echo")
            await client.offer_event("two", "any", "!")
            await storage.beat(WorkerBeat("w", 10_000_000, ("default",), ("echo",), register=True))
            (claimed,) = await storage.claim(Demand("w", ("default",), {"echo": None}, 1))
            record = StepRecord(1, "s", StepKind.STEP, Phase.OUTCOME, True, "1", 1)
            for _ in range(2):
                (answer,) = await storage.commit([Commit(claimed.token, [record], 1)])
                assert answer.fate is Fate.APPLIED
            assert [await storage.remember("x", each) for each in "yz"] == ["y", "y"]
            await client.cancel("two")
            await storage.beat(WorkerBeat("w", 10_000_000, ("default",), ("echo",), leaving=True))
        for right in ("UPDATE on {}steps", "UPDATE on {}settings"):
            verb, _, table = right.format(tables).partition(" on ")
            await cursor.execute(f"REVOKE {verb} ON zart.{table} FROM {name}")
            assert right.format(tables) in by_check(await found_in(theirs))["privileges"].detail


async def test_what_is_as_safe_on_mariadb_is_no_finding() -> None:
    assert (await checkup.durability(patient({"innodb_flush_log_at_trx_commit": "3"}))).verdict == "ok"


# ---- what this machine has no server for --------------------------------------------------------------------------------


@frozen
class Answer:
    rows: list[tuple[Any, ...]]


class Scripted:
    """Answers statements by their names."""

    largest = 16 * 1024 * 1024

    def __init__(self, **rows: list[tuple[Any, ...]] | Exception) -> None:
        self.rows = rows

    def say(self, name: str, **_: object) -> str:
        return name.partition(".")[2]

    async def ask(self, name: str) -> list[Answer]:
        found = self.rows[name]
        if isinstance(found, Exception):
            raise found
        return [Answer(found)]


def patient(settings: dict[str, str], **rows: list[tuple[Any, ...]] | Exception) -> checkup.Patient:
    server = Server(Address.of("mysql://h/d"), 1.0)
    talk: Any = Scripted(**rows)
    return checkup.Patient(server, Schema(server, Names()), talk, settings, timedelta(minutes=1))


async def test_a_node_of_a_cluster_must_be_one_of_its_majority() -> None:
    status = [("wsrep_cluster_size", "3"), ("wsrep_cluster_status", "Primary"), ("wsrep_local_state_comment", "Synced")]
    well = await checkup.cluster(patient({"wsrep_on": "ON"}, cluster=[*status, ("wsrep_ready", "ON")]))
    assert (well.verdict, "cluster of 3, Primary, Synced" in well.detail) == ("ok", True)
    alone = [("wsrep_cluster_size", "1"), ("wsrep_cluster_status", "non-Primary"), ("wsrep_ready", "OFF")]
    assert (await checkup.cluster(patient({"wsrep_on": "ON"}, cluster=alone))).verdict == "fail"
    assert (await checkup.cluster(patient({}))).verdict == "ok"


async def test_a_node_may_leave_it_to_the_others_what_is_on_a_disk() -> None:
    careless = {"innodb_flush_log_at_trx_commit": "0"}
    assert (await checkup.durability(patient(careless))).verdict == "fail"
    found = await checkup.durability(patient({**careless, "wsrep_on": "ON"}))
    assert (found.verdict, "unless another node has it" in found.detail) == ("warn", True)


async def test_a_proxy_that_drops_what_a_session_is_set_to_is_found() -> None:
    found = await checkup.session(patient({}, isolation=[("tx_isolation", "REPEATABLE-READ")]))
    assert (found.verdict, "REPEATABLE-READ" in found.detail) == ("fail", True)
    assert (await checkup.session(patient({}, isolation=[("transaction_isolation", "READ-COMMITTED")]))).verdict == "ok"


async def test_packets_that_are_too_small_are_told_of_only_when_they_are() -> None:
    one = patient({}, isolation=[("tx_isolation", "READ-COMMITTED")])
    small: Any = evolve(one).talk
    small.largest = 1024
    assert (await checkup.session(one)).verdict == "warn"


async def test_what_cannot_be_looked_at_says_why_and_stops_nothing() -> None:
    lost = OperationalError(2013, "Lost connection to server during query")
    found = await checkup._looked_at("clock", checkup.clock, patient({}, session=lost))
    assert (found.verdict, "could not be looked at" in found.detail) == ("fail", True)

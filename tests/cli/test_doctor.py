"""`zart doctor` on real databases with real faults: each is found, named, and what the hint says mends it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from tests.cli.conftest import Zart, on_both
from tests.cli.flows import Echo, registry
from tests.servers.pgbouncer import PgBouncer
from tests.servers.pooler import TransactionPooler
from tests.servers.postgres import PostgresServer
from tests.servers.present import need, newest_postgres
from zart import DurableScheduler, Worker, WorkerConfig, connect
from zart.checkup import Finding
from zart.cli.errors import Exit
from zart.clock import SystemClock
from zart.durations import to_timedelta
from zart.records import Demand, WorkerBeat
from zart.schedulers.postgres import PostgresScheduler
from zart.schedulers.sql.migrate import Migration, migrations
from zart.schedulers.sqlite import SqliteScheduler

_numbers = count(1)
ON_SQLITE = {"database", "durability", "write lock", "snapshots", "schema", "indexes", "stored times", "workers"}
ON_POSTGRES = (ON_SQLITE - {"write lock"}) | {"pooler", "notify", "clock", "dead rows"}


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """A server that keeps what it acknowledges: those of the other suites are not healthy."""
    with PostgresServer(newest_postgres(), fsync=True, options={"shared_buffers": "64MB"}) as server:
        yield server


@pytest.fixture(autouse=True)
def on_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where it is said what is mounted, so that it does not matter where the tests' files are."""
    told = tmp_path / "mounted"
    told.write_text("1 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    monkeypatch.setattr("zart.schedulers.sqlite.checkup.MOUNTS", told)
    return told


class Ahead(SystemClock):
    """A clock that goes an hour ahead of the machine's."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


def by_check(findings: Sequence[Finding]) -> Mapping[str, Finding]:
    assert len({each.check for each in findings}) == len(findings)
    return {each.check: each for each in findings}


def wrong(findings: Sequence[Finding]) -> dict[str, str]:
    """Return what is not well: check to verdict."""
    assert all(bool(each.hint) is (each.verdict != "ok") for each in findings), findings
    return {each.check: each.verdict.value for each in findings if each.verdict != "ok"}


async def examined(url: str, held_for: str = "1m") -> Sequence[Finding]:
    storage = connect(url)
    assert isinstance(storage, PostgresScheduler | SqliteScheduler)
    return await storage.examine(to_timedelta(held_for))


# ---- on both ------------------------------------------------------------------------------------------------------------


@on_both
async def test_a_healthy_database_is_well_in_every_respect(url: str) -> None:
    async with connect(url) as storage:
        await storage.migrate()
        async with Worker(storage, registry):
            await DurableScheduler(storage).start_and_wait_for(Echo, "one", 1, timeout="10s")
            await DurableScheduler(storage).start("later", "nobody-knows-it", delay="1h")
            findings = await examined(url)
    assert wrong(findings) == {}
    assert {each.check for each in findings} == (ON_SQLITE if url.startswith("sqlite") else ON_POSTGRES)


@on_both
def test_what_it_prints_and_how_it_leaves(zart: Zart) -> None:
    zart("migrate")
    well = zart("doctor")
    assert (well.exit, well.err) == (Exit.DONE, "")
    assert all(set(each) == {"check", "ok", "result", "detail", "hint"} for each in well.data)
    assert all(each["ok"] and each["detail"] and not each["hint"] for each in well.data)
    zart("schedule", "unheard-of")
    ill = zart("doctor", "-o", "jsonl")
    assert ill.exit == Exit.FAILED
    assert ill.out.count('"ok":false,"result":"fail"') == 1
    shown = zart("doctor", "-o", "table")
    assert shown.exit == Exit.FAILED
    assert "1 of unheard-of for" in shown.out
    assert "-> start `zart worker`" in shown.out


@on_both
async def test_work_that_no_worker_serves_is_found_until_one_does(url: str) -> None:
    async with connect(url) as storage:
        await storage.migrate()
        client = DurableScheduler(storage)
        await client.start("one", "echo", queue="nights")
        await client.start("two", "misspelt")
        found = by_check(await examined(url))["workers"]
        assert found.verdict == "fail"
        assert "1 of echo in queue nights for" in found.detail
        assert "1 of misspelt for" in found.detail
        async with Worker(storage, [Echo()]):
            assert "echo in queue nights" in by_check(await examined(url))["workers"].detail
        async with Worker(storage, [Echo()], WorkerConfig(queues=("nights",))):
            await client.wait("one", "10s")
            assert "echo" not in by_check(await examined(url))["workers"].detail


@on_both
async def test_what_a_dead_worker_holds_is_found_when_nobody_else_could_take_it(url: str) -> None:
    async with connect(url) as storage:
        await storage.migrate()
        await DurableScheduler(storage).start("one", "echo")
        await storage.beat(WorkerBeat("gone", 50_000, ("default",), ("echo",), register=True))
        await storage.claim(_demand("gone"))
        await storage.wait(["one"], timedelta(milliseconds=60))  # longer than the lease
        assert "1 of echo for" in by_check(await examined(url))["workers"].detail


def _demand(worker: str) -> Demand:
    return Demand(worker, ("default",), {"echo": None}, 1)


@on_both
async def test_a_clock_that_was_set_back_is_found(url: str) -> None:
    async with _with_clock(url, Ahead()) as storage:
        await storage.migrate()
        await DurableScheduler(storage).start("one", "echo", delay="1h")
    found = by_check(await examined(url))["stored times"]
    assert found.verdict == "fail"
    assert "60 min in the future" in found.detail


def _with_clock(url: str, clock: SystemClock) -> PostgresScheduler | SqliteScheduler:
    if url.startswith("sqlite"):
        return SqliteScheduler(url.removeprefix("sqlite:///"), clock=clock)
    dsn, _, schema = url.partition("?schema=")
    return PostgresScheduler(dsn, schema=schema, clock=clock)


@on_both
async def test_a_schema_that_is_missing_older_or_newer_is_found(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = "sqlite" if url.startswith("sqlite") else "postgres"
    if dialect == "sqlite":
        async with SqliteScheduler(url.removeprefix("sqlite:///")):  # makes the file, and no tables
            pass
    missing = by_check(await examined(url))["schema"]
    assert (missing.verdict, "zart migrate" in missing.hint) == ("fail", True)
    async with connect(url) as storage:
        await storage.migrate()
    known = migrations(dialect)
    newer = Migration(known[-1].version + 1, "9999_newer.sql", "CREATE TABLE zart_newer (x integer);\n")
    with monkeypatch.context() as patch:
        patch.setattr("zart.schedulers.sql.migrate.migrations", lambda _: (*known, newer))
        older = by_check(await examined(url))
        assert (older["schema"].verdict, "zart migrate" in older["schema"].hint) == ("fail", True)
        assert f"has schema version {known[-1].version}" in older["schema"].detail
        async with connect(url) as storage:
            await storage.migrate()
    found = by_check(await examined(url))
    assert found["schema"].verdict == "fail"
    assert f"has schema version {newer.version}" in found["schema"].detail
    assert "newer" in found["schema"].hint
    assert "indexes" not in found, "of tables that are not ours nothing is known"


@on_both
def test_a_wrong_schema_is_bad_configuration(zart: Zart, tmp_path: Path) -> None:
    (tmp_path / "zart.db").touch()
    answer = zart("doctor")
    assert (answer.exit, answer.err) == (Exit.CONFIGURATION, "")


# ---- SQLite -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zart.db"


@contextmanager
def held_open(path: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for each in statements:
            connection.execute(each).fetchall()
        yield connection
    finally:
        connection.close()


def test_a_file_that_is_absent_or_no_database_cannot_be_reached(zart: Zart, path: Path) -> None:
    absent = zart("doctor")
    assert (absent.exit, [each["check"] for each in absent.data]) == (Exit.UNAVAILABLE, ["database"])
    assert not path.exists()
    path.write_text("no database " * 1000)
    broken = zart("doctor")
    assert (broken.exit, [each["check"] for each in broken.data]) == (Exit.UNAVAILABLE, ["database"])


def test_a_backend_in_memory_has_nothing_to_examine(zart: Zart) -> None:
    answer = zart("doctor", "--database-url", "memory://")
    assert (answer.exit, answer.problem["code"]) == (Exit.FAILED, "not_supported")


async def test_an_index_that_was_dropped_is_found_and_the_hint_makes_it_again(url: str, path: Path) -> None:
    await connect(url).migrate()
    with held_open(path, "DROP INDEX zart_executions_due") as connection:
        found = by_check(await examined(url))["indexes"]
        assert found.verdict == "fail"
        assert found.detail.startswith("zart_executions_due is missing:")
        connection.execute(found.hint.removeprefix("run "))
    assert wrong(await examined(url)) == {}


async def test_a_write_lock_that_somebody_keeps_is_found(url: str, path: Path) -> None:
    await connect(url).migrate()
    with held_open(path, "BEGIN IMMEDIATE"):
        assert wrong(await examined(url)) == {"write lock": "fail"}
    assert wrong(await examined(url)) == {}


async def test_a_reader_of_an_old_state_is_found(url: str, path: Path) -> None:
    await connect(url).migrate()
    with held_open(path, "BEGIN", "SELECT * FROM zart_executions"):
        assert wrong(await examined(url)) == {}, "of the newest state it holds up nothing"
        async with connect(url) as storage:
            await DurableScheduler(storage).start("one", "echo", delay="1h")
        assert wrong(await examined(url)) == {"snapshots": "warn"}
    assert wrong(await examined(url)) == {}


@pytest.mark.parametrize(
    ("kind", "verdict"), [("nfs4", "fail"), ("cifs", "fail"), ("tmpfs", "warn"), ("ext4", None), ("overlay", None)]
)
async def test_where_a_file_lies_is_looked_at(
    url: str, tmp_path: Path, on_a_disk: Path, kind: str, verdict: str | None
) -> None:
    await connect(url).migrate()
    point = str(tmp_path.parent).replace("_", "\\137")
    elsewhere = "1 1 8:1 / / rw - xfs /dev/sda1 rw\n3 1 0:4 / /elsewhere rw - nfs server:/x rw\n"
    on_a_disk.write_text(  # noqa: ASYNC240 # nobody else is on this loop
        f"{elsewhere}2 1 0:3 / {point} rw shared:1 - {kind} server:/x rw\n"
    )
    findings = await examined(url)
    assert wrong(findings) == ({} if verdict is None else {"durability": verdict})
    assert kind in by_check(findings)["durability"].detail
    on_a_disk.unlink()  # noqa: ASYNC240 # as above
    assert wrong(await examined(url)) == {}, "where the system does not tell"


async def test_a_library_that_saves_less_surely_by_itself_is_found(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await connect(url).migrate()
    monkeypatch.setattr("zart.schedulers.sqlite.database._FOR_ALL", ("PRAGMA synchronous = NORMAL",))
    findings = await examined(url)
    assert wrong(findings) == {"durability": "warn"}
    assert "synchronous = FULL" in by_check(findings)["durability"].hint


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def schema(postgres_server: PostgresServer) -> str:
    """The name of a schema with Zart's tables."""
    name = f"doctor_{next(_numbers)}"
    await PostgresScheduler(postgres_server.dsn, schema=name).migrate()
    return name


@asynccontextmanager
async def talking(server: PostgresServer, *statements: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(server.dsn)
    try:
        for each in statements:
            await connection.execute(each)
        yield connection
    finally:
        await connection.close()


def test_a_server_that_is_away_cannot_be_reached(zart: Zart) -> None:
    answer = zart("doctor", "--database-url", "postgresql://ann:s3cret@127.0.0.1:1/zart")
    assert (answer.exit, [each["check"] for each in answer.data]) == (Exit.UNAVAILABLE, ["database"])
    assert "s3cret" not in answer.out


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DROP INDEX {0}.zart_executions_due", "zart_executions_due is missing"),
        ("ALTER TABLE {0}.zart_mail DROP CONSTRAINT zart_mail_pkey", "zart_mail_pkey is missing"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{0}.zart_executions_task'::regclass",
            "zart_executions_task is not valid",
        ),
    ],
)
async def test_an_index_that_is_not_there_or_not_valid_is_found_and_the_hint_mends_it(
    postgres_server: PostgresServer, schema: str, damage: str, said: str
) -> None:
    url = f"{postgres_server.dsn}?schema={schema}"
    async with talking(postgres_server, damage.format(schema)) as connection:
        found = by_check(await examined(url))["indexes"]
        assert found.verdict == "fail"
        assert found.detail.startswith(f"{said}:")
        await connection.execute(found.hint.removeprefix("run "))
    assert wrong(await examined(url)) == {}


async def test_tables_with_a_prefix_have_indexes_with_that_prefix(postgres_server: PostgresServer, schema: str) -> None:
    url = f"{postgres_server.dsn}?schema={schema}&prefix=orders_"
    await connect(url).migrate()
    assert wrong(await examined(url)) == {}
    async with talking(postgres_server, f"DROP INDEX {schema}.orders_executions_due") as connection:
        found = by_check(await examined(url))["indexes"]
        assert found.detail.startswith("orders_executions_due is missing:")
        await connection.execute(found.hint.removeprefix("run "))
    assert wrong(await examined(url)) == {}


@pytest.mark.parametrize(
    "transaction",
    [
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM pg_class"),
        ("BEGIN", "CREATE TEMPORARY TABLE mine (x integer)"),
    ],
)
async def test_a_snapshot_that_is_held_is_found(
    postgres_server: PostgresServer, schema: str, transaction: tuple[str, ...]
) -> None:
    url = f"{postgres_server.dsn}?schema={schema}"
    async with talking(postgres_server, "SET application_name TO 'report'", *transaction) as connection:
        assert wrong(await examined(url, "1m")) == {}
        findings = await examined(url, "0s")
        assert wrong(findings) == {"snapshots": "warn"}
        found = by_check(findings)["snapshots"]
        assert f"session {connection.get_server_pid()} (report) is idle in transaction" in found.detail
    assert wrong(await examined(url, "0s")) == {}


async def test_a_transaction_that_was_prepared_and_forgotten_is_found() -> None:
    options = {"max_prepared_transactions": "2", "shared_buffers": "64MB"}
    with PostgresServer(newest_postgres(), fsync=True, options=options) as server:
        await PostgresScheduler(server.dsn).migrate()
        async with talking(server, "BEGIN", "CREATE TABLE mine (x integer)", "PREPARE TRANSACTION 'forgotten'"):
            pass
        findings = await examined(server.dsn, "0s")
        assert wrong(findings) == {"snapshots": "warn"}
        assert "transaction 'forgotten' is prepared" in by_check(findings)["snapshots"].detail


async def test_a_server_that_may_lose_what_it_acknowledges_is_found(postgres_server: PostgresServer, schema: str) -> None:
    url = f"{postgres_server.dsn}?schema={schema}"
    with PostgresServer(newest_postgres(), options={"full_page_writes": "on"}) as careless:
        found = by_check(await examined(careless.dsn))["durability"]
        assert (found.verdict, "full_page_writes" in found.detail) == ("fail", False)
        assert "fsync is off" in found.detail
        assert "fsync to on" in found.hint
    with PostgresServer(newest_postgres(), options={"fsync": "on"}) as careless:
        found = by_check(await examined(careless.dsn))["durability"]
        assert (found.verdict, "fsync" in found.detail) == ("fail", False)
        assert "full_page_writes is off" in found.detail
    for place, said in (("DATABASE postgres", "a setting of the database"), ("ROLE zart", "a setting of the role")):
        async with talking(postgres_server, f"ALTER {place} SET synchronous_commit TO off") as connection:
            try:
                findings = await examined(url)
                assert wrong(findings) == {"durability": "warn"}
                assert said in by_check(findings)["durability"].detail
            finally:
                await connection.execute(f"ALTER {place} RESET synchronous_commit")
    assert wrong(await examined(url)) == {}


async def test_dead_rows_that_nobody_removes_are_found(postgres_server: PostgresServer, schema: str) -> None:
    url = f"{postgres_server.dsn}?schema={schema}"
    statements = (
        f"ALTER TABLE {schema}.zart_workers SET (autovacuum_enabled = false)",
        f"""INSERT INTO {schema}.zart_workers (id, state, lease_until, lease, registered_at, queues, tasks, about)
            SELECT number::text, 'left', 0, 0, 0, '[]', '[]', '' FROM generate_series(1, 12000) AS number""",
        f"UPDATE {schema}.zart_workers SET about = 'x'",
        "SELECT pg_stat_force_next_flush()",
    )
    async with talking(postgres_server, *statements) as connection:
        findings = await examined(url)
        assert wrong(findings) == {"dead rows": "warn"}
        found = by_check(findings)["dead rows"]
        assert "zart_workers has 12,000 dead rows" in found.detail
        await connection.execute(found.hint.rpartition(" run ")[2])
        await connection.execute("SELECT pg_stat_force_next_flush()")
    assert wrong(await examined(url)) == {}


def test_clocks_that_do_not_agree_are_found(
    zart: Zart, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{postgres_server.dsn}?schema=doctor_{next(_numbers)}"
    zart("migrate", "--database-url", url)
    monkeypatch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + timedelta(minutes=5))
    answer = zart("doctor", "--database-url", url)
    assert answer.exit == Exit.DONE, "it works all the same"
    (found,) = [each for each in answer.data if not each["ok"]]
    assert (found["check"], found["result"]) == ("clock", "warn")
    assert "5 min behind this machine's" in found["detail"]


async def test_a_pooler_that_nobody_speaks_of_is_found_and_so_is_that_notifications_do_not_come(
    postgres_server: PostgresServer, schema: str
) -> None:
    async with TransactionPooler(postgres_server.port) as pooler:
        url = f"{pooler.dsn}?schema={schema}"
        findings = await examined(url)
        assert wrong(findings) == {"pooler": "fail", "notify": "warn"}
        assert "a transaction pooler stands before the server" in by_check(findings)["pooler"].detail
        assert "pooler=true" in by_check(findings)["pooler"].hint
        assert wrong(await examined(f"{url}&listen=false")) == {"pooler": "fail"}
        assert wrong(await examined(f"{url}&pooler=true")) == {}


async def test_a_pooler_that_is_spoken_of_and_not_there_is_found(postgres_server: PostgresServer, schema: str) -> None:
    url = f"{postgres_server.dsn}?schema={schema}&pooler=true"
    assert wrong(await examined(url)) == {"pooler": "warn"}


# ---- PgBouncer itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        ({"pool_mode": "transaction"}, "", {"pooler": "fail", "notify": "warn"}),
        ({"pool_mode": "transaction"}, "&pooler=true", {}),
        ({"pool_mode": "transaction", "default_pool_size": "1"}, "&pooler=true", {}),
        ({"pool_mode": "session"}, "", {"pooler": "fail", "notify": "warn"}),
        ({"pool_mode": "session"}, "&pooler=true", {}),
        ({"pool_mode": "session", "ignore": "true"}, "", {"pooler": "fail"}),
        ({"pool_mode": "statement"}, "&pooler=true", {"pooler": "fail"}),
    ],
)
async def test_each_mode_of_pgbouncer_is_told_from_the_others(
    postgres_server: PostgresServer, schema: str, settings: dict[str, str], options: str, expected: dict[str, str]
) -> None:
    need("PgBouncer")
    with PgBouncer(postgres_server.port, settings) as bouncer:
        found = wrong(await asyncio.wait_for(examined(f"{bouncer.dsn}?schema={schema}{options}"), 60))
    assert found["pooler"] == "fail" if settings["pool_mode"] == "statement" else found == expected

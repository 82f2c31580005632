"""What MariaDB and MySQL do by default, or are known for, and Zart does not let happen."""

import asyncio

import pytest

from tests.contract.conftest import MySqlPlace
from tests.servers.mariadb import MariaDbServer
from zart.errors import NotSupported, StorageUnavailable
from zart.records import Commit, Fate, Query
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.mysql import claim as claiming
from zart.schedulers.mysql.address import Address
from zart.schedulers.mysql.connections import Server
from zart.status import ExecutionStatus
from zart.testing.contract.scene import (
    beat,
    claim,
    commit,
    completed,
    crashed,
    deliver,
    demand,
    event,
    history,
    new,
    outcome,
    read,
    register,
    running,
)

STATUS = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status WHERE variable_name = "
BLOCKED = f"{STATUS}'innodb_row_lock_current_waits'"
DEADLOCKS = f"{STATUS}'innodb_deadlocks'"


async def work(scheduler, *said):
    """Run statements in one transaction of the scheduler's own."""

    async def one(talk):
        answers = await talk.begin(*said)
        await talk.end()
        return answers

    return await scheduler._connections.run(one)


# ---- (a) claims and starts do not lock each other out ---------------------------------------------------------------


async def test_what_one_claim_has_locked_hides_nothing_else_from_another_and_blocks_no_start(mysql_place):
    async with mysql_place.open() as scheduler, mysql_place.session() as other:
        await register(scheduler)
        await scheduler.start([new(each) for each in "abcd"])
        keys = [row[0] for row in await other.ask("SELECT `key` FROM zart_executions WHERE id IN ('a', 'b')")]
        lock = scheduler._connections.queries["claim.lock"]
        said = lock.say(repr, {"keys": keys, "now": 1 << 60, "suspect": 0})
        assert len(await other.ask("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION", said)) == 2
        claims = await scheduler.claim(demand(limit=2))
        assert sorted(each.token.execution_id for each in claims) == ["c", "d"]
        assert [each.accepted for each in await scheduler.start([new("e"), new("aa")])] == [True, True]
        await other.ask("ROLLBACK")
        claims = await scheduler.claim(demand())
        assert sorted(each.token.execution_id for each in claims) == ["a", "aa", "b", "e"]


async def test_a_claim_locks_no_more_than_it_takes(mysql_place, monkeypatch):
    locked = []
    take = claiming._take

    async with mysql_place.open() as scheduler, mysql_place.session() as other:
        await register(scheduler)
        await scheduler.start([new(f"x{number:02}") for number in range(40)])

        async def watched(*given):
            locked.append(40 - len(await other.ask("SELECT id FROM zart_executions FOR UPDATE SKIP LOCKED")))
            return await take(*given)

        monkeypatch.setattr(claiming, "_take", watched)
        assert len(await scheduler.claim(demand(limit=5))) == 5
    assert locked == [5]


# ---- (b) nobody's update is lost ------------------------------------------------------------------------------------


async def test_each_statement_sees_what_was_committed_before_it(mysql_place):
    async with mysql_place.open() as scheduler, mysql_place.session() as other:
        await scheduler.start([new()])
        seen = []

        async def look(talk):
            for _ in range(2):
                (answer,) = await (talk.ask if talk.is_open else talk.begin)(talk.say("wait.places"))
                seen.append([row[1] for row in answer.rows])
                await other.ask("UPDATE zart_executions SET task = 'other'")
            await talk.end()

        await scheduler._connections.run(look)
        assert seen == [["t"], ["other"]]


async def test_no_count_of_mail_is_lost_between_many(mysql_place):
    async with mysql_place.open() as scheduler:
        await scheduler.start([new()])
        await asyncio.gather(*(deliver(scheduler, event(event_id=f"e{number}")) for number in range(30)))
        assert (await read(scheduler)).mail == 30
        assert [each.seq for each in (await scheduler.history("a")).mail] == list(range(1, 31))


# ---- (c) a transaction that had an error is never gone on with ------------------------------------------------------


async def test_after_a_lock_that_was_not_to_be_had_nothing_of_the_transaction_stays(mysql_place):
    async with mysql_place.open(timeout=2, pool_size=1) as scheduler, mysql_place.session() as other:
        await scheduler.start([new("a"), new("b")])
        await other.ask("START TRANSACTION", "UPDATE zart_executions SET attempt = 1 WHERE id = 'b'")
        half = [f"UPDATE {mysql_place.prefix}executions SET attempt = 7 WHERE id = '{each}'" for each in "ab"]
        with pytest.raises(StorageUnavailable, match="Lock wait timeout exceeded"):
            await work(scheduler, *half)
        await other.ask("COMMIT")
        await scheduler.start([new("c")])  # on the same connection, whose next COMMIT would keep the half
        found = await other.ask("SELECT id, attempt FROM zart_executions ORDER BY id")
        assert [tuple(row) for row in found] == [("a", 0), ("b", 1), ("c", 0)]


async def test_the_victim_of_a_deadlock_says_the_whole_of_it_again(mysql_place):
    async with mysql_place.open() as scheduler, mysql_place.session() as other, mysql_place.session() as watch:
        await scheduler.start([new("a"), new("b"), *(new(f"x{number}") for number in range(200))])
        before = (await watch.ask(DEADLOCKS))[0][0]
        # Whoever has changed less becomes the victim: that is to be the scheduler.
        await other.ask("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION")
        await other.ask("UPDATE zart_executions SET attempt = 1 WHERE id LIKE 'x%'")
        await other.ask("SELECT * FROM zart_executions WHERE id = 'b' FOR UPDATE")
        cancelling = asyncio.create_task(scheduler.cancel(["b", "a"]))  # in the order of the keys: it gets a, and waits for b
        await watch.until(BLOCKED)
        await other.ask("SELECT * FROM zart_executions WHERE id = 'a' FOR UPDATE", "COMMIT")
        assert await cancelling == dict.fromkeys("ab", (ExecutionStatus.CANCELLED, True))
        assert (await watch.ask(DEADLOCKS))[0][0] == before + 1
        assert {(await read(scheduler, each)).fence for each in "ab"} == {1}, "it was done once"


async def test_starts_of_the_same_new_ids_in_other_orders_all_get_answers(mysql_place):
    async with mysql_place.open() as scheduler:
        for number in range(5):
            starts = [new(f"{number}-{each}") for each in range(50)]
            answers = await asyncio.gather(*(scheduler.start(starts[:: 1 if turn % 2 else -1]) for turn in range(6)))
            assert all(each.accepted for answer in answers for each in answer)
        assert sum((await scheduler.count(Query())).values()) == 250


# ---- (d) what changes nothing counts as found -----------------------------------------------------------------------


async def test_an_update_that_changes_nothing_has_found_its_row(mysql_place):
    async with mysql_place.open() as scheduler:
        await scheduler.start([new()])
        same = f"UPDATE {mysql_place.prefix}executions SET attempt = attempt WHERE id = 'a'"
        (answer,) = await work(scheduler, same)
        assert answer.count == 1


async def test_a_beat_that_changes_nothing_is_one(mysql_place):
    async with mysql_place.open() as scheduler:
        await register(scheduler)
        assert [(await scheduler.beat(beat())).alive for _ in range(3)] == [True] * 3, "on a clock that stands still"


# ---- (e) texts are told apart to the last byte, whatever the server's default is ------------------------------------


async def test_no_column_has_the_servers_character_set_or_a_collation_that_takes_names_for_the_same(mysql_place):
    async with mysql_place.open(), mysql_place.session() as other:
        assert (await other.ask("SELECT @@character_set_server"))[0][0] == "latin1"
        found = await other.ask(
            "SELECT DISTINCT collation_name FROM information_schema.columns WHERE table_schema = DATABASE()"
            f" AND table_name LIKE '{mysql_place.prefix}%' AND collation_name IS NOT NULL ORDER BY 1"
        )
        assert [row[0] for row in found] == ["ascii_bin", "utf8mb4_nopad_bin"]


async def test_ids_that_differ_in_case_accents_or_spaces_are_four(mysql_place):
    async with mysql_place.open() as scheduler:
        ids = ["a", "A", "á", "a "]
        assert [each.accepted for each in await scheduler.start([new(each, payload=each) for each in ids])] == [True] * 4
        assert [(await read(scheduler, each)).payload for each in ids] == ids
        await deliver(scheduler, *(event("a", event_id=each) for each in ids))
        assert (await read(scheduler)).mail == 4


# ---- (f) packets ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow_server():
    """Return a server that takes a megabyte at once."""
    with MariaDbServer(options={"max_allowed_packet": "1M", "innodb_log_file_size": "32M"}) as server:
        yield server


@pytest.fixture
def narrow_place(narrow_server, mysql_place):
    return MySqlPlace(narrow_server, mysql_place.prefix, mysql_place.clock)


async def test_what_no_packet_can_hold_is_refused_before_it_is_sent_and_stops_no_other(narrow_place):
    async with narrow_place.open(pool_size=1) as scheduler, narrow_place.session() as other:
        claims = await running(scheduler, "a", "b", "c")
        pid = "SELECT GROUP_CONCAT(id) FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
        before = await other.ask(pid)
        payloads = ["good", "x" * 2**20, "good"]
        commits = [Commit(each.token, [outcome(1, text)], 0) for each, text in zip(claims, payloads, strict=True)]
        first, large, last = await scheduler.commit(commits)
        assert [first.fate, large.fate, last.fate] == [Fate.APPLIED, Fate.REFUSED, Fate.APPLIED]
        assert "max_allowed_packet of 1,048,576" in (large.reason or "")
        for call in (scheduler.start([new("d", payload="x" * 2**20)]), scheduler.deliver([event(payload="x" * 2**20)])):
            with pytest.raises(NotSupported, match=r"MySQL cannot store this: .* raise it, or store the value elsewhere"):
                await call
        assert await other.ask(pid) == before, "the server has not cut the connection"


async def test_what_fits_into_no_packet_together_goes_in_several_within_one_transaction(narrow_place):
    async with narrow_place.open() as scheduler:
        ids = [f"x{number}" for number in range(12)]
        payload = "é" * 150_000
        assert len(await scheduler.start([new(each, payload=payload) for each in ids])) == 12
        await register(scheduler)
        claims = await scheduler.claim(demand())
        assert {each.payload for each in claims} == {payload}
        commits = [Commit(each.token, [outcome(1, payload)], 0, completed(payload)) for each in claims]
        assert {each.fate for each in await scheduler.commit(commits)} == {Fate.APPLIED}
        assert {(await read(scheduler, each)).result for each in ids} == {payload}


# ---- and the rest ---------------------------------------------------------------------------------------------------


async def test_half_a_pair_of_surrogates_is_refused_and_not_sent_as_a_broken_byte(mysql_place):
    async with mysql_place.open() as scheduler:
        for text in ("\ud800", "\udc80"):
            with pytest.raises(NotSupported, match="surrogates not allowed"):
                await scheduler.start([new(payload=text)])
        assert (await scheduler.start([new(payload="nul \x00 and \\ and '")]))[0].accepted
        assert (await read(scheduler)).payload == "nul \x00 and \\ and '"


@pytest.mark.parametrize("bits", [64, 2_000, 20_000])  # out of range, an error in the SQL, more digits than Python says
async def test_a_number_too_large_for_a_column_is_refused_and_stops_no_other(mysql_place, bits):
    async with mysql_place.open() as scheduler:
        bad, good = await running(scheduler, "a", "b")
        said = [Commit(bad.token, [outcome(1, due_at=1 << bits)], 0), Commit(good.token, [outcome(1)], 0)]
        answers = await scheduler.commit(said)
        assert [each.fate for each in answers] == [Fate.REFUSED, Fate.APPLIED]
        assert f"a number of {bits + 1:,} bits is more than a column holds" in (answers[0].reason or "")


async def test_the_sessions_settings_are_nobody_elses(mysql_place):
    looked = "SELECT @@sql_mode, @@autocommit, @@tx_isolation, @@innodb_lock_wait_timeout, @@character_set_connection"
    async with mysql_place.session() as admin:
        mode, level = (await admin.ask("SELECT @@GLOBAL.sql_mode, @@GLOBAL.tx_isolation"))[0]
        await admin.ask("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "SET GLOBAL tx_isolation = 'SERIALIZABLE'")
        try:
            async with mysql_place.open() as scheduler:
                (answer,) = await work(scheduler, looked)
                strict = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
                assert answer.rows[0] == (strict, 1, "READ-COMMITTED", 5, "utf8mb4")
                (claimed,) = await running(scheduler, "a'\\")
                await commit(scheduler, claimed, outcome(1, "back\\slash ' \""))
                assert (await history(scheduler, "a'\\"))[0].payload == "back\\slash ' \""
        finally:
            await admin.ask(f"SET GLOBAL sql_mode = '{mode}'", f"SET GLOBAL tx_isolation = '{level}'")


@pytest.mark.parametrize(("times", "suspect"), [(1, 0), (2, 1)])
async def test_a_suspect_is_one_by_the_count_that_was_just_raised(mysql_place, times, suspect):
    """SET is evaluated from left to right."""
    async with mysql_place.open() as scheduler, mysql_place.session() as other:
        await crashed(scheduler, mysql_place.clock, times, "a")
        assert await other.ask("SELECT crashes, suspect FROM zart_executions") == [(times, suspect)]
        await register(scheduler)
        assert len(await scheduler.claim(demand(suspects=0))) == 1 - suspect


async def test_a_server_that_may_lose_what_it_acknowledged_is_told_once(mariadb_server, caplog):
    async with MySqlScheduler(mariadb_server.url) as scheduler:
        await scheduler.schema_version()
    warned = [each.getMessage() for each in caplog.records if each.name == "zart.mysql"]
    assert len(warned) == 1
    assert "innodb_flush_log_at_trx_commit is 0" in warned[0]
    assert "root" not in warned[0]


@pytest.mark.parametrize(("flush", "sync", "warnings"), [(1, 1, 0), (3, 1, 0), (2, 1, 1), (0, 1, 1), (1, 0, 1), (3, 0, 1)])
def test_what_is_durable_is_not_warned_of(caplog, flush, sync, warnings):
    Server(Address.of("mysql://h/d"), 1.0)._warn(flush=flush, sync=sync)
    assert len(caplog.records) == warnings


async def test_a_claim_in_flight_keeps_its_worker_alive(mysql_place):
    async with mysql_place.open(timeout=4) as scheduler, mysql_place.session() as other, mysql_place.session() as watch:
        await running(scheduler, "a")
        await other.ask("START TRANSACTION", "SELECT * FROM zart_workers WHERE id = 'w' LOCK IN SHARE MODE")
        leaving = asyncio.create_task(scheduler.beat(beat(leaving=True)))
        await watch.until(BLOCKED)
        await other.ask("COMMIT")
        assert (await leaving).alive
        assert (await read(scheduler)).status is ExecutionStatus.PENDING
        await register(scheduler, "v")
        assert (await claim(scheduler, "v")).token.fence == 3

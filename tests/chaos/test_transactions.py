"""`ctx.transaction` among crashes: the user's row and the step's record are both there or neither; in the end both, once."""

from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import text

from tests.chaos.ends import check_ended
from tests.chaos.ground import until
from tests.chaos.storms import Cutter

WORDS = ["step:1", "book:2", "step:3"]
RECORD = "INSERT ON zart_steps", "NEW.name LIKE 'book%' AND NEW.phase = 'outcome'"
GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
SAVED = "SELECT count(*) FROM zart_steps WHERE name = 'book:2' AND phase = 'outcome'"


async def both_or_neither(ground, watch):
    """Return whether row and record are there."""
    async with watch.transaction(isolation="repeatable_read"):
        rows = await watch.fetchval("SELECT count(*) FROM bookings")
        assert rows == await watch.fetchval(SAVED)
        return rows


def calls(ledger, step="book:2"):
    return len(ledger.find("begin", "e", step))


async def test_killed_between_function_and_commit_nothing_was_done_and_it_is_done_again(ground, crew, ledger, client):
    async with ground.gate() as gate:
        await gate.across(*RECORD)  # the function has returned, its outcome is being said, COMMIT is still to come
        first = await crew.add()
        await client.start("e", "errand", WORDS)
        (pid,) = await gate.waiting()
        assert ledger.find("end", "e", "book:2")
        await crew.kill(first)
        await gate.open()
        await until(gate.watch, GONE, pid)
        assert await both_or_neither(ground, gate.watch) == 0
        await crew.add()
        await check_ended(client, ground, ledger, ["e"], WORDS)
        assert await both_or_neither(ground, gate.watch) == 1
    ledger.check(crew.excused)
    assert (calls(ledger, "step:1"), calls(ledger)) == (1, 2)


async def test_killed_while_the_server_commits_it_is_done_and_not_done_again(ground, crew, ledger, client):
    async with ground.gate() as gate:
        await gate.across("INSERT ON bookings", at_commit=True)
        first = await crew.add()
        await client.start("e", "errand", WORDS)
        (pid,) = await gate.waiting()
        assert "COMMIT" in await gate.watch.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
        await crew.kill(first)
        assert await both_or_neither(ground, gate.watch) == 0
        second = await crew.add()
        # The execution is taken over only when the commit has come to its end: until then the lock is held.
        dead = "SELECT state = 'dead' FROM zart_workers WHERE id = $1"
        await until(gate.watch, dead, first.id)
        assert not ledger.find("body", pid=second.pid)
        await gate.open()
        await until(gate.watch, GONE, pid)
        assert await both_or_neither(ground, gate.watch) == 1
        await check_ended(client, ground, ledger, ["e"], WORDS)
    ledger.check(crew.excused)
    assert (calls(ledger, "step:1"), calls(ledger)) == (1, 1)


@pytest.mark.parametrize("heard", [True, False], ids=["the server has heard", "the server has not heard"])
async def test_a_connection_cut_over_commit(ground, crew, ledger, client, heard):
    """Nobody knows what became of it. The worker lives: it lets the execution go, and its next claim finds out."""
    async with Cutter(ground.server.port) as cutter, ground.session() as watch:
        worker = await crew.add(dsn=cutter.dsn)
        cutter.heard = heard
        await client.start("e", "errand", WORDS)
        await check_ended(client, ground, ledger, ["e"], WORDS)
        assert cutter.cut == 1
        assert await both_or_neither(ground, watch) == 1
    assert (calls(ledger, "step:1"), calls(ledger)) == (1, 1 if heard else 2)
    assert ledger.logged("nobody knows whether step 'book:2' was committed", worker.pid)
    crew.killed.add(worker.pid)  # so far as the step is concerned
    ledger.check(crew.excused)
    assert (await client.scheduler.get("e")).crashes == 0


async def test_a_server_process_ended_during_commit(ground, crew, ledger, client):
    async with ground.gate() as gate:
        await gate.across("INSERT ON bookings", at_commit=True)
        worker = await crew.add()
        await client.start("e", "errand", WORDS)
        (pid,) = await gate.waiting()
        assert await gate.watch.fetchval("SELECT pg_terminate_backend($1)", pid)
        await until(gate.watch, GONE, pid)
        assert await both_or_neither(ground, gate.watch) == 0
        await gate.open()
        await check_ended(client, ground, ledger, ["e"], WORDS)
        assert await both_or_neither(ground, gate.watch) == 1
    assert ledger.logged("nobody knows whether step 'book:2' was committed", worker.pid)
    assert (calls(ledger, "step:1"), calls(ledger)) == (1, 2)


async def test_what_goes_wrong_after_the_commit_is_nobodys_failure(ground, monkeypatch):
    """It would be done again. A server that ends connections at this moment has made the driver say so, in the long storm."""
    execute = asyncpg.Connection.execute

    async def confused(self, query, *args, **options):
        if "CLOSE ALL" in query:
            raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
        return await execute(self, query, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "execute", confused)
    booking = text(f"INSERT INTO {ground.schema}.bookings (id, step, value) VALUES ('e', 'book:1', 'once')")
    async with ground.storage() as storage:
        async with storage.transaction(timedelta(seconds=5)) as (connection, _):
            await connection.execute(booking)
        assert await ground.bookings() == [("e", "book:1", "once")]


@pytest.mark.parametrize("killed", [False, True], ids=["", "and the worker is killed"])
async def test_a_transaction_waits_for_the_workers_flush_of_its_execution(ground, crew, ledger, client, killed):
    words = ["step:1", "mixed:2", "step:3"]
    others = [f"f{number}" for number in range(5)]
    async with ground.gate() as gate:
        await gate.across("INSERT ON zart_steps", "NEW.name = 'mixed:2.plain'")
        first = await crew.add()
        await client.start("e", "errand", words)
        (flush,) = await gate.waiting()
        (transaction,) = await gate.blocked_by(flush)
        name = "SELECT application_name FROM pg_stat_activity WHERE pid = $1"
        assert await gate.watch.fetchval(name, transaction) == "zart transaction"
        if killed:
            await crew.kill(first)
            await crew.add()
        await gate.open()
        await check_ended(client, ground, ledger, ["e"], words)
        await client.start_many((each, "errand", words) for each in others)
        await check_ended(client, ground, ledger, others, words)
        assert await gate.watch.fetchval("SELECT count(*) FROM bookings WHERE id = 'e'") == 1
    ledger.check(crew.excused)
    assert calls(ledger, "mixed:2.plain") == 1, "the flush was in flight, and the server ended it"
    assert calls(ledger, "book.mixed:2") == 1 + killed

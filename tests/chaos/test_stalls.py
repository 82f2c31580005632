"""A worker process that stands still for longer than its lease, and then goes on where it was, does no harm."""

import signal
import sqlite3
from contextlib import closing

import pytest

from tests.chaos.ends import check_ended
from tests.chaos.ground import SqliteGround, until
from zart.clock import SECOND, SystemClock

LEASE, LEASES, BEAT = 1.2, 3, 0.5
MINE = "(SELECT key FROM zart_executions WHERE id LIKE 'e%')"
ROWS = {
    "zart_executions": "id LIKE 'e%'",
    "zart_steps": f"key IN {MINE}",
    "zart_mail": f"key IN {MINE}",
    "bookings": "id LIKE 'e%'",
}
WORDS = {
    "e-body": ["step:1", "hold:2", "step:3"],
    "e-timer": ["step:1", "nap:2", "hold:3", "nap:4"],
    "e-several": ["both:1", "mixed:2", "hold:3", "mixed:4"],
}
TRANSACTION = {"e-transaction": ["step:1", "book-stop:2", "hold:3"]}
SAVING = {"e-saving": ["stop:1", "hold:2"]}


async def stored(ground):
    """Return all that is stored of the first executions; on PostgreSQL with what every write of a row changes."""
    if isinstance(ground, SqliteGround):
        with closing(sqlite3.connect(ground.path)) as connection:
            return [
                connection.execute(f"SELECT * FROM {name} WHERE {which} ORDER BY 1, 2").fetchall()
                for name, which in ROWS.items()
            ]
    async with ground.session() as session:
        return [
            [tuple(row) for row in await session.fetch(f"SELECT xmin, xmax, ctid, * FROM {name} WHERE {which} ORDER BY ctid")]
            for name, which in ROWS.items()
        ]


def stop(ground, member):
    """Stop a process while it holds no lock that all others would have to wait for until it goes on."""
    while True:
        member.tell(signal.SIGSTOP)
        with closing(sqlite3.connect(ground.path, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                member.tell(signal.SIGCONT)
            else:
                return


@pytest.mark.parametrize("backend", ["postgres", "sqlite"])
async def test_a_stopped_worker_writes_nothing_drops_what_it_holds_and_joins_again(backend, ground, crew, ledger, client):
    crew.lease = f"{LEASE}s"
    sleeper = await crew.add(holds=True, stops=True)
    words = WORDS | (TRANSACTION if backend == "postgres" else {})
    await client.start_many((each, "errand", words[each]) for each in words)
    for each in words:
        await ledger.comes("begin", each, next(word for word in words[each] if word.startswith(("hold", "book-stop"))))
    if backend == "postgres":
        # The last act of its function is to stop: between that and the saving there is nothing.
        words |= SAVING
        await client.start("e-saving", "errand", words["e-saving"])
        await ledger.comes("end", "e-saving", "stop:1")
    else:
        stop(ground, sleeper)
    stopped = SystemClock.monotonic()
    successor = await crew.add(holds=True)
    for each in words:  # all run again when the sleeper wakes: what it has to say then would be welcome, but for the fence
        await ledger.until(
            lambda each=each: any(
                line.pid == successor.pid and line.step.startswith("hold") for line in ledger.find("begin", each)
            ),
            "the takeover",
        )

    await until_storage_has_lived_on(ground, client, stopped + LEASES * LEASE)
    before = await stored(ground)
    sleeper.tell(signal.SIGUSR1)  # its functions return when it goes on, and their values are to be saved
    sleeper.tell(signal.SIGCONT)
    await ledger.until(lambda: ledger.logged("was declared dead", sleeper.pid), "the news of its death")
    await ledger.until(lambda: len(ledger.find("cancelled", pid=sleeper.pid)) == len(words), "the ends of its bodies")
    others = [f"f{number}" for number in range(5)]
    await client.start_many((each, "errand", ["step:1", "book:2"]) for each in others)
    await check_ended(client, ground, ledger, others, ["step:1", "book:2"])
    assert await stored(ground) == before
    assert not ledger.find("saved", pid=sleeper.pid, step="stop:1")

    successor.tell(signal.SIGUSR1)
    for each in words:
        await check_ended(client, ground, ledger, [each], words[each])
    assert {line.pid for line in ledger.find("done") if line.id in words} == {successor.pid}
    assert await successor.end(signal.SIGTERM) == 0
    last = [f"g{number}" for number in range(5)]
    await client.start_many((each, "errand", ["step:1", "book:2"]) for each in last)
    await check_ended(client, ground, ledger, last, ["step:1", "book:2"])
    assert {line.pid for line in ledger.find("done") if line.id in last} == {sleeper.pid}
    ledger.check(crew.excused)
    known = await identities(ground, sleeper)
    assert known.pop(sleeper.id) == "dead"
    assert list(known.values()) == ["alive"]


async def identities(ground, member):
    """Return the identities that a process has had, and what has become of them."""
    sql = f"SELECT id, state FROM zart_workers WHERE about LIKE '%:{member.pid}'"
    if isinstance(ground, SqliteGround):
        with closing(sqlite3.connect(ground.path)) as connection:
            return dict(connection.execute(sql).fetchall())
    async with ground.session() as session:
        return {row[0]: row[1] for row in await session.fetch(sql)}


async def until_storage_has_lived_on(ground, client, moment):
    """Wait for a moment of this machine's monotonic time, by what the living worker's beats leave in storage."""
    sql = "SELECT max(lease_until) FROM zart_workers"
    left = round((moment + BEAT - SystemClock.monotonic()) * SECOND)
    if isinstance(ground, SqliteGround):
        with closing(sqlite3.connect(ground.path)) as connection:
            (known,) = connection.execute(sql).fetchone()
            while connection.execute(sql).fetchone()[0] < known + left:
                await client.status("e-body")
    else:
        async with ground.session() as session:
            known = await session.fetchval(sql)
            await until(session, f"SELECT ({sql}) >= $1::bigint", known + left)
    assert SystemClock.monotonic() >= moment - 0.1

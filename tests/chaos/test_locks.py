"""Those who meet on one execution: who waits for whom is watched in the server, and nobody else waits."""

import asyncio
import signal

import pytest

from tests.chaos.ends import check_ended
from tests.chaos.ground import until
from zart import ExecutionStatus
from zart.records import Delivery

OTHERS = [f"f{number}" for number in range(10)]
WORDS = ["step:1", "book:2", "both:3"]


@pytest.fixture
async def gate(ground):
    async with ground.gate() as gate:
        yield gate


async def others_go_on(client, ground, ledger):
    """Make sure that other executions begin and end meanwhile, on the same worker."""
    await client.start_many((each, "errand", WORDS) for each in OTHERS)
    await check_ended(client, ground, ledger, OTHERS, WORDS)


async def test_a_cancel_waits_for_an_end_in_flight_and_finds_it_ended(gate, ground, crew, ledger, client):
    await gate.across("UPDATE ON zart_executions", "NEW.status = 'completed' AND NEW.id = 'e'")
    await crew.add()
    await client.start("e", "errand", ["step:1"])
    (ending,) = await gate.waiting()
    cancelling = asyncio.create_task(client.cancel("e"))
    await gate.blocked_by(ending)
    await gate.open()
    assert await cancelling is False
    await check_ended(client, ground, ledger, ["e"], ["step:1"])
    await others_go_on(client, ground, ledger)
    assert not ledger.logged("failed")


async def test_an_end_does_not_wait_for_a_cancel_in_flight_and_then_counts_no_more(gate, ground, crew, ledger, client):
    await gate.across("UPDATE ON zart_executions", "NEW.status = 'cancelled' AND NEW.id = 'e'")
    worker = await crew.add(holds=True)
    await client.start("e", "errand", ["hold:1"])
    await ledger.comes("begin", "e")
    cancelling = asyncio.create_task(client.cancel("e"))
    (cancel,) = await gate.waiting()
    worker.tell(signal.SIGUSR1)  # the outcome and the end are to be saved now
    await ledger.comes("end", "e")
    await others_go_on(client, ground, ledger)
    assert [row["pid"] for row in await gate.blocked()] == [cancel], "nobody waits but at the gate"
    assert not ledger.find("saved", "e")
    await gate.open()
    assert await cancelling is True
    await ledger.until(lambda: ledger.logged("execution e is no longer held", worker.pid), "the news")
    assert (await client.status("e")).status is ExecutionStatus.CANCELLED
    assert not ledger.find("saved", "e")
    assert not ledger.logged("failed")


async def test_an_event_waits_for_a_parking_in_flight_and_makes_it_due(gate, ground, crew, ledger, client):
    words = ["step:1", "wait:go", "step:2"]
    await gate.across("UPDATE ON zart_executions", "NEW.status = 'waiting' AND NEW.id = 'e'")
    await crew.add()
    await client.start("e", "errand", words)
    (parking,) = await gate.waiting()
    delivering = asyncio.create_task(client.offer_event("e", "go", 1))
    await gate.blocked_by(parking)
    await gate.open()
    assert await delivering is Delivery.RECORDED
    await check_ended(client, ground, ledger, ["e"], words)
    assert len(ledger.find("body", "e")) == 2, "it had parked"
    assert not ledger.logged("failed")


async def test_a_parking_does_not_wait_for_an_event_in_flight_and_does_not_miss_it(gate, ground, crew, ledger, client):
    words = ["step:1", "wait:go", "step:2"]
    await gate.across("INSERT ON zart_mail", "NEW.name = 'go'")
    await crew.add(park_after="1s")
    await client.start("e", "errand", words)
    await ledger.comes("saved", "e", "step:1")
    delivering = asyncio.create_task(client.offer_event("e", "go", 1))
    (delivery,) = await gate.waiting()
    await others_go_on(client, ground, ledger)
    await ledger.until(lambda: ledger.logged("execution e is waiting"), "the attempt to park")
    assert (await client.status("e")).status is ExecutionStatus.RUNNING, "it is only an attempt"
    assert [row["pid"] for row in await gate.blocked()] == [delivery], "nobody waits but at the gate"
    assert not ledger.find("done", "e")
    await gate.open()
    assert await delivering is Delivery.RECORDED
    await check_ended(client, ground, ledger, ["e"], words)
    assert not ledger.logged("failed")


async def test_an_open_transaction_with_an_event_makes_only_its_execution_wait(gate, ground, crew, ledger, client):
    words = ["hold:1", "book:2", "wait:go", "step:3"]
    worker = await crew.add(holds=True)
    await client.start("e", "errand", words)
    await ledger.comes("begin", "e", "hold:1")
    async with ground.session() as theirs:
        transaction = theirs.transaction()
        await transaction.start()
        await client.offer_event_in(theirs, "e", "go", 1)
        worker.tell(signal.SIGUSR1)
        await ledger.comes("end", "e", "hold:1")
        await others_go_on(client, ground, ledger)
        assert await gate.blocked() == [], "the worker's flush goes round it"
        assert not ledger.find("saved", "e")
        await transaction.commit()
    await check_ended(client, ground, ledger, ["e"], words)
    assert len(ledger.find("begin", "e", "hold:1")) == 1
    assert not ledger.logged("failed")


async def test_an_open_transaction_with_an_event_is_waited_for_by_a_transaction_of_the_execution(
    gate, ground, crew, ledger, client
):
    words = ["book-hold:1", "wait:go", "step:2"]
    crew.lease = "30s"  # a transaction may idle for a third of it
    worker = await crew.add(holds=True)
    await client.start("e", "errand", words)
    await ledger.comes("begin", "e", "book-hold:1")
    async with ground.session() as theirs:
        transaction = theirs.transaction()
        await transaction.start()
        await client.offer_event_in(theirs, "e", "go", 1)
        worker.tell(signal.SIGUSR1)
        (waiting,) = await gate.blocked_by(theirs.get_server_pid())
        name = "SELECT application_name FROM pg_stat_activity WHERE pid = $1"
        assert await gate.watch.fetchval(name, waiting) == "zart transaction"
        await others_go_on(client, ground, ledger)
        assert [row["pid"] for row in await gate.blocked()] == [waiting], "and by nobody else"
        await transaction.commit()
    await check_ended(client, ground, ledger, ["e"], words)
    assert len(ledger.find("begin", "e", "book-hold:1")) == 1
    assert not ledger.logged("failed")


async def test_everybody_at_once_in_every_order(ground, crew, ledger, client):
    words = ["step:1", "wait:go", "both:2", "wait:go", "book:3"]
    ids = [f"e{number:02}" for number in range(40)]
    for _ in range(2):
        await crew.add(max_concurrent=30)
    await client.start_many((each, "errand", words) for each in ids)
    await ledger.comes("saved", step="step:1", count=5)
    doomed = ids[::3]
    calls = [client.offer_event(each, "go", number) for number in range(2) for each in (ids if number else ids[::-1])]
    calls += [client.cancel(each) for each in doomed[::-1]]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(each).__name__ for each in results} <= {"Delivery", "bool", "ExecutionFinished"}
    cancelled = [each for each, done in zip(doomed[::-1], results[-len(doomed) :], strict=True) if done]
    assert cancelled
    rest = [each for each in ids if each not in cancelled]
    await check_ended(client, ground, ledger, rest, words)
    for each in cancelled:
        assert (await client.status(each)).status is ExecutionStatus.CANCELLED
    async with ground.session() as watch:
        await until(watch, "SELECT NOT EXISTS (SELECT FROM zart_executions WHERE worker IS NOT NULL)")
    ledger.check()
    assert not ledger.logged("deadlock")
    assert not ledger.logged("failed")

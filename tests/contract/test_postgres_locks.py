"""Callers that meet on PostgreSQL: who waits for whom, and who does not. Proved by watching sessions block."""

import asyncio
from itertools import count

import pytest

from zart.clock import SECOND
from zart.errors import StorageUnavailable
from zart.records import Commit, Delivery, Fate, Held
from zart.schedulers.postgres import commit as committing
from zart.status import ExecutionStatus
from zart.testing.contract.scene import (
    LEASE,
    beat,
    claim,
    commit,
    completed,
    demand,
    event,
    history,
    new,
    outcome,
    read,
    register,
    running,
    waiting,
)

BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted"
LOCK = "SELECT FROM zart_executions WHERE id = $1 FOR NO KEY UPDATE"


@pytest.fixture
async def scheduler(place):
    async with place.open() as scheduler:
        yield scheduler


async def test_a_commit_waits_for_nobody_and_only_the_locked_execution_is_busy(scheduler, place):
    claims = await running(scheduler, "a", "b", "c")
    move = completed()
    async with place.session() as other:
        async with other.transaction():
            await other.execute(LOCK, "b")
            answers = await scheduler.commit([Commit(each.token, [outcome(1)], 0, move) for each in claims])
            assert [each.fate for each in answers] == [Fate.APPLIED, Fate.BUSY, Fate.APPLIED]
        assert await history(scheduler, "b") == []
        assert (await commit(scheduler, claims[1], outcome(1), move=move)).fate is Fate.APPLIED
    assert await history(scheduler, "b") == [outcome(1)]


async def test_two_commits_of_one_execution_are_written_together_or_not_at_all(scheduler, monkeypatch):
    (claimed,) = await running(scheduler, "a")
    write, calls = committing._write_alone, count()

    async def cut_off(talk, said):
        if next(calls):
            raise LookupError("the second is not said any more")
        return await write(talk, said)

    both = [Commit(claimed.token, [outcome(1)], 0), Commit(claimed.token, [outcome(2)], 0)]
    with monkeypatch.context() as patched:
        patched.setattr(committing, "_write_alone", cut_off)
        with pytest.raises(LookupError):
            await scheduler.commit(both)
    assert await history(scheduler, "a") == []
    assert [each.fate for each in await scheduler.commit(both)] == [Fate.APPLIED] * 2
    assert await history(scheduler, "a") == [outcome(1), outcome(2)]


async def test_what_is_lost_is_lost_even_while_it_is_locked(scheduler, place):
    (old,) = await running(scheduler, "a")
    await scheduler.beat(beat(leaving=True))
    async with place.session() as other, other.transaction():
        await other.execute(LOCK, "a")
        assert (await commit(scheduler, old, outcome(1))).fate is Fate.LOST
        assert (await commit(scheduler, old, outcome(1), move=completed())).fate is Fate.LOST


async def test_an_open_delivery_of_somebodys_makes_only_its_execution_wait(scheduler, place):
    claims = await running(scheduler, "a", "b")
    sql = "UPDATE zart_executions SET mail = mail + 1 WHERE id = 'a'"
    mail = "INSERT INTO zart_mail (key, seq, at, name, event_id, payload) VALUES ($1, 1, 0, 'n', 'e', 'x')"
    async with place.session() as other:
        async with other.transaction():
            await other.execute(sql)
            await other.execute(mail, claims[0].token.key)
            parking = [Commit(each.token, [], 0, waiting(seen=0)) for each in claims]
            assert [each.fate for each in await scheduler.commit(parking)] == [Fate.BUSY, Fate.APPLIED]
        answer = await commit(scheduler, claims[0], move=waiting(seen=0))
    assert (answer.fate, len(answer.mail)) == (Fate.APPLIED, 1)
    assert (await read(scheduler)).status is ExecutionStatus.PENDING, "the mail was seen by the lock, and it did not park"


async def test_a_cancel_waits_for_a_write_in_flight_and_then_goes_by_what_it_left(scheduler, place, until):
    (claimed,) = await running(scheduler, "a")
    async with place.session() as other, place.session() as watch:
        async with other.transaction():
            await other.execute(
                "UPDATE zart_executions SET status = 'completed', worker = NULL, completed_at = 0 WHERE id = 'a'"
            )
            cancelling = asyncio.create_task(scheduler.cancel(["a"]))
            await until(watch, BLOCKED)
        assert await cancelling == {"a": (ExecutionStatus.COMPLETED, False)}
    assert (await read(scheduler)).fence == claimed.token.fence


async def test_a_delivery_waits_for_a_parking_in_flight_and_makes_it_due(scheduler, place, until):
    await running(scheduler, "a")
    async with place.session() as other, place.session() as watch:
        async with other.transaction():
            await other.execute("UPDATE zart_executions SET status = 'waiting', worker = NULL WHERE id = 'a'")
            delivering = asyncio.create_task(scheduler.deliver([event()]))
            await until(watch, BLOCKED)
        assert await delivering == [Delivery.RECORDED]
    assert (await claim(scheduler)).seen == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda scheduler: scheduler.deliver([event("b"), event("a")]),
        lambda scheduler: scheduler.deliver([event("b"), event("a"), event("b", "e2")]),
        lambda scheduler: scheduler.cancel(["b", "a"]),
        lambda scheduler: scheduler.beat(beat(leaving=True)),
    ],
    ids=["deliver", "deliver several", "cancel", "leave"],
)
async def test_rows_are_locked_in_the_order_of_their_keys_whatever_is_named_first(scheduler, place, until, call):
    await running(scheduler, "a", "b")
    async with place.session() as other, place.session() as watch:
        async with other.transaction():
            await other.execute(LOCK, "a")
            calling = asyncio.create_task(call(scheduler))
            await until(watch, BLOCKED)
            await other.execute(f"{LOCK} NOWAIT", "b")  # it has not got that far
        assert await calling


async def test_new_ids_go_in_by_their_order_whatever_is_named_first(scheduler, place, until):
    insert = (
        "INSERT INTO zart_executions"
        " (id, run, current, status, fence, created_at, scheduled_at, queue, task, start_key, payload)"
        " VALUES ($1, 1, 1, 'pending', 0, 0, 0, 'q', 't', 'k', '')"
    )
    async with place.session() as other, place.session() as watch:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SET LOCAL lock_timeout TO '50ms'")  # sooner than a deadlock is found and broken
        await other.execute(insert, "a")
        starting = asyncio.create_task(scheduler.start([new("b"), new("a")]))
        await until(watch, BLOCKED)
        await other.execute(insert, "b")  # it has not got that far
        await transaction.rollback()
        assert [each.accepted for each in await starting] == [True, True]


@pytest.mark.parametrize("count", [1, 2])
async def test_two_deliveries_of_one_event_at_once_record_it_once_and_leave_no_gap(scheduler, place, until, count):
    await scheduler.start([new()])
    async with place.session() as other, place.session() as watch:
        async with other.transaction():
            await other.execute(LOCK, "a")
            events = [event(event_id=f"e{number}") for number in range(count)]
            calls = [asyncio.create_task(scheduler.deliver(events)) for _ in range(3)]
            await until(watch, f"SELECT (SELECT count(*) FROM pg_locks WHERE NOT granted) >= {len(calls)}")
        answers = [each for call in calls for each in await call]
    assert sorted(answers) == sorted([Delivery.RECORDED] * count + [Delivery.DUPLICATE] * 2 * count)
    assert [each.seq for each in (await scheduler.history("a")).mail] == list(range(1, count + 1))


async def test_a_claim_skips_what_is_locked_and_takes_the_next(scheduler, place):
    await register(scheduler)
    await scheduler.start([new("a"), new("b"), new("c")])
    async with place.session() as other, other.transaction():
        await other.execute(LOCK, "a")
        assert [each.token.execution_id for each in await scheduler.claim(demand(limit=1))] == ["b"]


async def test_a_claim_takes_nothing_that_has_changed_since_it_looked(scheduler, place, until):
    """It would carry the records of before the change."""
    await register(scheduler)
    await scheduler.start([new("a"), new("b")])
    async with place.session() as other, place.session() as watch:
        async with other.transaction():
            await other.execute("SELECT FROM zart_workers FOR UPDATE")  # the claim has its view of things, and waits
            claiming = asyncio.create_task(scheduler.claim(demand()))
            await until(watch, BLOCKED)
            await watch.execute("UPDATE zart_executions SET fence = fence + 1 WHERE id = 'a'")  # claimed, and let go again
        assert [each.token.execution_id for each in await claiming] == ["b"]
    assert (await claim(scheduler)).token.fence == 2


async def test_a_worker_that_claims_is_not_declared_dead_meanwhile(scheduler, place, clock):
    await register(scheduler, lease=LEASE)
    async with place.session() as other:
        async with other.transaction():
            await other.execute("SELECT FROM zart_workers WHERE id = 'w' FOR KEY SHARE")  # as a claim does
            clock.advance(LEASE / SECOND + 1)
            assert (await scheduler.beat(beat("other", register=True))).alive
            assert await other.fetchval("SELECT state FROM zart_workers WHERE id = 'w'") == "alive"
        await scheduler.beat(beat("other"))
        assert await other.fetchval("SELECT state FROM zart_workers WHERE id = 'w'") == "dead"


async def test_a_takeover_leaves_what_is_being_written_to_the_next_beat(scheduler, place, clock):
    await running(scheduler, "a", "b", lease=LEASE)
    clock.advance(LEASE / SECOND + 1)
    async with place.session() as other:
        async with other.transaction():
            await other.execute(LOCK, "a")
            assert (await scheduler.beat(beat("other", register=True))).taken_over == 1
        assert (await scheduler.beat(beat("other"))).taken_over == 1


async def test_what_somebody_who_left_was_still_given_is_taken_over_without_counting(scheduler, place):
    (claimed,) = await running(scheduler, "a")
    async with place.session() as other:  # the process died between its goodbye and the handing back
        await other.execute("UPDATE zart_workers SET state = 'left', ended_at = 0")
    assert (await scheduler.beat(beat("other", register=True))).taken_over == 1
    execution = await read(scheduler)
    assert (execution.status, execution.crashes, execution.fence) == (ExecutionStatus.PENDING, 0, claimed.token.fence + 1)


async def test_leaving_waits_for_what_is_being_written(scheduler, place, until):
    claims = await running(scheduler, "a", "b")
    async with place.session() as other, place.session() as watch:
        async with other.transaction():
            await other.execute(LOCK, "b")
            leaving = asyncio.create_task(scheduler.beat(beat(leaving=True)))
            await until(watch, BLOCKED)
        assert (await leaving).alive
    assert [(await read(scheduler, each)).fence for each in "ab"] == [each.token.fence + 1 for each in claims]


async def test_a_lock_that_is_never_released_is_told(place, clock):
    async with place.open(timeout=0.2) as scheduler:
        await scheduler.start([new()])
        async with place.session() as other, other.transaction():
            await other.execute(LOCK, "a")
            with pytest.raises(StorageUnavailable, match="end the transaction that keeps a lock"):
                await scheduler.cancel(["a"])
        assert await scheduler.cancel(["a"]) == {"a": (ExecutionStatus.CANCELLED, True)}


async def test_many_who_do_everything_at_once_come_to_one_truth(place):
    ids = [f"x{number:02}" for number in range(20)]
    async with place.open() as first, place.open() as second:
        claims = await running(first, *ids)
        calls = []
        for number in range(10):
            order = ids if number % 2 else ids[::-1]
            some = claims if number % 2 else claims[::-1]
            calls += [
                first.deliver([event(each, f"e{number}") for each in order]),
                second.deliver([event(each, f"e{number}{again}") for each in order for again in "ab"]),
                second.commit([Commit(each.token, [outcome(number)], 0) for each in some]),
                second.start([new(each) for each in order]),
                first.beat(beat(held=[Held(each.token, 0) for each in some])),
            ]
        calls += [first.cancel(ids[::2]), second.cancel(ids[:10])]
        await asyncio.gather(*calls)
        for each in ids:
            mail = (await first.history(each)).mail
            assert [one.seq for one in mail] == list(range(1, (await read(first, each)).mail + 1))

"""Connections to a server, whichever, come and go; what was asked is answered, or refused in time."""

import asyncio
import gc
from datetime import timedelta

import pytest

from tests.contract.grounds import MySqlGround, PostgresGround, ground
from zart.clock import SystemClock
from zart.errors import StorageUnavailable
from zart.records import Commit, Delivery, Fate, Held, Query
from zart.schedulers import connect
from zart.spawner import ThreadSpawner
from zart.status import ExecutionStatus
from zart.testing.contract.scene import (
    beat,
    claim,
    commit,
    completed,
    demand,
    event,
    history,
    new,
    now,
    outcome,
    read,
    register,
    returns,
    running,
)

__all__ = ["ground"]

HOUR = timedelta(hours=1)
BOTH = {"postgres_server": PostgresGround, "mariadb_server": MySqlGround}

on_both = pytest.mark.parametrize("ground", list(BOTH), indirect=True)


@on_both
async def test_every_connection_may_be_ended_between_two_calls(ground):
    async with ground.open() as scheduler, ground.admin() as admin:
        (claimed,) = await running(scheduler, "a")
        for seq in range(5):
            await admin.end_others()
            assert (await commit(scheduler, claimed, outcome(seq))).fate is Fate.APPLIED
            assert (await read(scheduler)).status is ExecutionStatus.RUNNING
        assert len(await history(scheduler)) == 5


@on_both
async def test_every_connection_may_be_ended_at_any_moment(ground):
    async with ground.open() as scheduler, ground.admin() as admin:
        ids = [f"x{number}" for number in range(20)]
        claims = await running(scheduler, *ids)

        async def say(seq):
            while True:
                try:
                    answers = await scheduler.commit([Commit(each.token, [outcome(seq)], 0) for each in claims])
                except StorageUnavailable:
                    continue
                if {each.fate for each in answers} == {Fate.APPLIED}:
                    return

        for number in range(10):
            saying = [asyncio.create_task(say(3 * number + each)) for each in range(3)]
            await ground.ends_all_while(admin, saying)
        for each in ids:
            assert [step.seq for step in await history(scheduler, each)] == list(range(30))


@on_both
@pytest.mark.parametrize("with_move", [False, True])
async def test_a_commit_whose_reply_is_lost_is_said_again_and_counts_once(ground, with_move):
    async with ground.proxy() as proxy, ground.open(**ground.through(proxy)) as scheduler:
        (claimed,) = await running(scheduler, "a")
        move = completed() if with_move else None
        await commit(scheduler, claimed, outcome(0))  # so that the statement is known
        proxy.lose_next_reply()
        answer = await commit(scheduler, claimed, outcome(1), outcome(2), move=move)
        assert (answer.fate, proxy.lost) == (Fate.APPLIED, 1)
        assert await history(scheduler) == [outcome(0), outcome(1), outcome(2)]


@on_both
async def test_other_operations_whose_reply_is_lost_answer_as_if_it_were_not(ground):
    async with ground.proxy() as proxy, ground.open(**ground.through(proxy)) as scheduler:
        await register(scheduler)
        await scheduler.start([new("x"), new("y")])  # so that the statements are known
        await scheduler.deliver([event("x")])
        await scheduler.cancel(["x", "nobody"])
        await scheduler.beat(beat())
        proxy.lose_next_reply()
        assert [each.accepted for each in await scheduler.start([new("a"), new("b")])] == [True, True]
        proxy.lose_next_reply()
        assert await scheduler.deliver([event("a")]) in ([Delivery.RECORDED], [Delivery.DUPLICATE])
        proxy.lose_next_reply()
        assert (await scheduler.cancel(["b"]))["b"][0] is ExecutionStatus.CANCELLED
        proxy.lose_next_reply()
        assert (await scheduler.beat(beat())).alive
        assert proxy.lost == 4
        assert (await read(scheduler)).mail == 1


@on_both
async def test_a_claim_whose_reply_is_lost_is_handed_back_by_a_later_beat(ground, clock):
    async with ground.proxy() as proxy, ground.open(**ground.through(proxy)) as scheduler:
        await register(scheduler)
        await scheduler.claim(demand())  # so that the statement is known
        await scheduler.start([new()])
        proxy.lose_next_reply()
        assert list(await scheduler.claim(demand())) == [], "said again, it finds the execution taken: by itself"
        clock.advance(1)
        await scheduler.beat(beat(held_at=now(clock)))
        again = await claim(scheduler)
        assert (again.token.fence, again.crashes) == (3, 0)
        clock.advance(1)
        await scheduler.beat(beat(held=[Held(again.token, 0)], held_at=now(clock)))
        assert (await read(scheduler)).worker == "w"


@on_both
async def test_a_server_that_goes_silent_is_given_up_in_time(ground):
    async with ground.proxy() as proxy, ground.open(timeout=0.3, **ground.through(proxy)) as scheduler:
        await scheduler.start([new()])
        proxy.silent = True
        began = SystemClock.monotonic()
        with pytest.raises(StorageUnavailable, match="did not answer in time"):
            await scheduler.start([new("b")])
        assert SystemClock.monotonic() - began < 5
        proxy.silent = False
        assert (await scheduler.start([new("c")]))[0].accepted


@pytest.mark.parametrize(
    ("ground", "url", "message"),
    [(name, *each) for name, kind in BOTH.items() for each in kind.unreachable],
    indirect=["ground"],
)
async def test_what_is_wrong_with_a_url_is_told_without_its_password(ground, url, message):
    with pytest.raises(StorageUnavailable, match=message) as caught:
        async with connect(url.format(place=ground.address)):
            pass
    assert "secret" not in str(caught.value)


@on_both
async def test_calls_take_turns_over_few_connections(ground):
    async with ground.admin() as admin:
        before = await admin.working()
        async with ground.open(pool_size=2) as scheduler:
            await asyncio.gather(*(scheduler.start([new(f"x{number}")]) for number in range(50)))
            assert len(await admin.working() - before) <= 2
            assert sum((await scheduler.count(Query())).values()) == 50


@on_both
async def test_a_call_that_is_given_up_leaves_its_turn_to_others(ground):
    async with ground.open(pool_size=1) as scheduler:
        calls = [asyncio.create_task(scheduler.start([new(f"x{number}")])) for number in range(10)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in answers] == [True, False] * 5


@on_both
async def test_nothing_is_left_open(ground):
    async with ground.admin() as admin:
        before = await admin.others()
        async with ground.open() as scheduler:
            await scheduler.start([new()])
            waiting = asyncio.create_task(scheduler.wait(["a"], HOUR))
            await admin.until(lambda found: found - before)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await admin.until(lambda found: not found - before)
    with pytest.raises(StorageUnavailable, match="is not open; use it inside `async with`"):
        await scheduler.start([new()])


@on_both
async def test_a_loop_that_ends_takes_its_connections_along(ground):
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with ground.open() as scheduler, ground.admin() as admin:
        await register(scheduler)
        before = await admin.others()

        async def beating():
            await scheduler.beat(beat())
            loop.call_soon_threadsafe(done.set)

        ThreadSpawner().loop("beats", beating)
        await returns(done.wait())
        await admin.until(lambda found: len(found) <= len(before))
        assert (await scheduler.beat(beat())).alive
    gc.collect()  # what was left open would be told now


@on_both
async def test_it_goes_by_the_servers_clock_unless_told_whatever_its_time_zone(ground):
    away, back = ground.elsewhere
    async with ground.admin() as admin:
        await admin.ask(away)
        try:
            async with ground.open(clock=None) as scheduler:
                before = (await admin.ask(ground.micros))[0][0]
                (started,) = await scheduler.start([new()])
                reply = await scheduler.beat(beat(register=True))
                (claimed,) = await scheduler.claim(demand())
                await commit(scheduler, claimed, move=completed())
                execution = await read(scheduler)
                after = (await admin.ask(ground.micros))[0][0]
        finally:
            await admin.ask(back)
    times = [before, started.scheduled_at, reply.now, claimed.now, execution.completed_at, after]
    assert times == sorted(times)
    assert execution.served

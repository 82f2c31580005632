"""Rule 7, a worker's own side: registering, renewing, news, leaving."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import asyncio

from attrs import evolve

from zart.clock import SECOND
from zart.records import BeatReply, Fate, Held, Query
from zart.scheduler import TAKEOVER, Storage
from zart.spawner import ThreadSpawner
from zart.status import ExecutionStatus
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    LEASE,
    Scene,
    beat,
    claim,
    commit,
    completed,
    crash,
    deliver,
    demand,
    event,
    new,
    now,
    outcome,
    read,
    register,
    returns,
    running,
    waiting,
)


class Beats(Scene):
    """What a beat does for the worker that sends it."""

    async def test_rule_7_the_first_beat_registers(self, scheduler: Storage, clock: FakeClock) -> None:
        reply = await scheduler.beat(beat(register=True))
        assert (reply.alive, reply.now, reply.taken_over) == (True, now(clock), 0)
        assert (list(reply.lost), dict(reply.mail)) == ([], {})
        assert list(await scheduler.claim(demand())) == []

    async def test_rules_7_and_10_a_worker_may_register_again_under_its_id_while_it_lives(self, scheduler: Storage) -> None:
        await running(scheduler, "a")
        assert (await scheduler.beat(beat(register=True))).alive
        assert (await read(scheduler)).worker == "w"

    async def test_rule_7_a_worker_that_never_registered_is_not_alive(self, scheduler: Storage, clock: FakeClock) -> None:
        for stranger in (beat(), beat(leaving=True)):
            reply = await scheduler.beat(stranger)
            assert (reply.alive, reply.now) == (False, now(clock))

    async def test_rule_7_beats_carry_storages_now(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        clock.advance(7)
        assert (await scheduler.beat(beat())).now == now(clock)

    async def test_rule_7_each_beat_renews_the_lease(self, scheduler: Storage, clock: FakeClock) -> None:
        await running(scheduler, "a", lease=LEASE)
        for _ in range(5):
            clock.advance(LEASE / SECOND - 1)
            assert (await scheduler.beat(beat(lease=LEASE))).alive
            assert (await scheduler.beat(beat("other", register=True))).taken_over == 0
        assert (await read(scheduler)).worker == "w"

    async def test_rule_7_the_lease_is_as_long_as_the_last_beat_says(self, scheduler: Storage, clock: FakeClock) -> None:
        await running(scheduler, "a", lease=LEASE)
        await scheduler.beat(beat(lease=10 * LEASE))
        clock.advance(9 * LEASE / SECOND)
        assert (await scheduler.beat(beat("other", register=True))).taken_over == 0
        clock.advance(2 * LEASE / SECOND)
        assert (await scheduler.beat(beat("other"))).taken_over == 1

    async def test_rule_7_a_late_beat_renews_what_nobody_declared_dead(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a", lease=LEASE)
        clock.advance(10 * LEASE / SECOND)
        reply = await scheduler.beat(beat(lease=LEASE, held=[Held(claimed.token, 0)]))
        assert (reply.alive, list(reply.lost), reply.taken_over) == (True, [], 0)
        assert (await commit(scheduler, claimed, outcome(1))).fate is Fate.APPLIED

    async def test_rule_7_cancelled_executions_are_reported_lost(self, scheduler: Storage) -> None:
        claims = await running(scheduler, "a", "b", "c")
        await scheduler.cancel(["a", "c"])
        reply = await scheduler.beat(beat(held=[Held(each.token, 0) for each in claims]))
        assert {token.execution_id for token in reply.lost} == {"a", "c"}
        assert set(reply.lost) == {claims[0].token, claims[2].token}

    async def test_rule_7_executions_taken_over_are_reported_lost(self, scheduler: Storage, clock: FakeClock) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        (claimed,) = await scheduler.claim(demand(tasks={"t": SECOND}))
        clock.advance(10)
        held = [Held(claimed.token, 0)]
        assert list((await scheduler.beat(beat(held=held))).lost) in ([], [claimed.token])
        assert list((await scheduler.beat(beat(held=held))).lost) == [claimed.token]
        at = now(clock)
        await commit(scheduler, await claim(scheduler), move=waiting(at, deadline=at + 60 * SECOND))
        again = await claim(scheduler)
        reply = await scheduler.beat(beat(held=[*held, Held(again.token, 0)]))
        assert list(reply.lost) == [claimed.token], "the same execution, held again under another fence, is not lost"

    async def test_rule_7_what_a_worker_let_go_itself_is_not_lost(self, scheduler: Storage) -> None:
        parked, done, kept = await running(scheduler, "a", "b", "c")
        await commit(scheduler, parked, move=waiting())
        await commit(scheduler, done, move=completed())
        reply = await scheduler.beat(beat(held=[Held(each.token, 0) for each in (parked, done, kept)]))
        assert list(reply.lost) == []

    async def test_rule_7_new_mail_of_held_executions_is_brought(self, scheduler: Storage) -> None:
        first, second, third = await running(scheduler, "a", "b", "c")
        await deliver(scheduler, *(event("a", f"e{number}", payload=f"{number}") for number in (1, 2, 3)), event("b"))
        held = [Held(first.token, 1), Held(second.token, 1), Held(third.token, 0)]
        for _ in range(2):
            reply = await scheduler.beat(beat(held=held))
            mail = {key: [(each.seq, each.payload) for each in news] for key, news in reply.mail.items() if news}
            assert mail == {first.token.key: [(2, "2"), (3, "3")]}
        reply = await scheduler.beat(beat(held=[Held(second.token, 0)]))
        assert {key: [each.payload for each in news] for key, news in reply.mail.items()} == {second.token.key: ["fresh"]}

    async def test_rule_7_leaving_hands_everything_back_at_once(self, scheduler: Storage, clock: FakeClock) -> None:
        many = [f"x{number:03}" for number in range(TAKEOVER + 50)]
        claims = await running(scheduler, *many)
        clock.advance(1)
        assert (await scheduler.beat(beat(leaving=True))).alive
        for each in claims[:: TAKEOVER // 4]:
            execution = await read(scheduler, each.token.execution_id)
            assert (execution.status, execution.due_at, execution.worker) == (ExecutionStatus.PENDING, now(clock), None)
            assert (execution.crashes, tuple(execution.crashed_workers)) == (0, ())
            assert execution.fence > each.token.fence
        await register(scheduler, "other")
        assert len(await scheduler.claim(demand("other"))) == len(many)

    async def test_rule_7_leaving_gives_up_nothing_of_others(self, scheduler: Storage) -> None:
        (kept,) = await running(scheduler, "a", worker="stays")
        await running(scheduler, "b", worker="leaves")
        await scheduler.beat(beat("leaves", leaving=True))
        assert (await read(scheduler, "a")).worker == "stays"
        assert (await commit(scheduler, kept, outcome(1))).fate is Fate.APPLIED

    async def test_rule_7_what_was_handed_back_cannot_be_written_to(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await scheduler.beat(beat(leaving=True))
        before = await read(scheduler)
        for move in (None, completed(), waiting()):
            assert (await commit(scheduler, claimed, outcome(1), move=move)).fate is Fate.LOST
        assert await read(scheduler) == before

    async def test_rule_7_who_left_is_not_alive_and_does_not_come_back(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.beat(beat(leaving=True))
        assert not (await scheduler.beat(beat())).alive
        assert not (await scheduler.beat(beat(register=True))).alive

    async def test_rules_7_and_10_leaving_twice_is_leaving(self, scheduler: Storage) -> None:
        await running(scheduler, "a")
        first = await scheduler.beat(beat(leaving=True))
        await register(scheduler, "other")
        await claim(scheduler, "other")
        again = await scheduler.beat(beat(leaving=True))
        assert again == first
        assert (await read(scheduler)).worker == "other"

    async def test_rule_7_who_was_declared_dead_learns_so_and_stays_dead(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a", lease=LEASE)
        await crash(scheduler, clock, "w")
        held = [Held(claimed.token, 0)]
        for message in (beat(held=held), beat(register=True), beat(leaving=True), beat()):
            reply = await scheduler.beat(evolve(message, lease=LEASE))
            assert (reply.alive, reply.now) == (False, now(clock))
        await register(scheduler, "w again")
        assert (await claim(scheduler, "w again")).token.execution_id == "a"

    async def test_rule_7_what_a_worker_never_heard_of_is_handed_back(self, scheduler: Storage, clock: FakeClock) -> None:
        kept, unheard = await running(scheduler, "a", "b")
        (others,) = await running(scheduler, "c", worker="other")
        await commit(scheduler, unheard, outcome(1))
        clock.advance(1)
        reply = await scheduler.beat(beat(held=[Held(kept.token, 0)], held_at=now(clock)))
        assert (reply.alive, list(reply.lost), reply.taken_over) == (True, [], 0)
        execution = await read(scheduler, "b")
        assert (execution.status, execution.due_at, execution.worker) == (ExecutionStatus.PENDING, now(clock), None)
        assert (execution.crashes, tuple(execution.crashed_workers)) == (0, ())
        assert execution.fence > unheard.token.fence
        assert [(await commit(scheduler, each, outcome(2))).fate for each in (kept, unheard, others)] == [
            Fate.APPLIED,
            Fate.LOST,
            Fate.APPLIED,
        ]
        again = await claim(scheduler)
        assert (again.token.execution_id, again.crashes, list(again.steps)) == ("b", 0, [outcome(1)])
        assert again.token.fence > execution.fence

    async def test_rule_7_without_held_at_nothing_is_handed_back(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        clock.advance("1h")
        await scheduler.beat(beat())
        assert (await commit(scheduler, claimed, outcome(1))).fate is Fate.APPLIED

    async def test_rule_7_only_what_was_claimed_before_held_at_is_handed_back(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        (claimed,) = await running(scheduler, "a")
        at = now(clock)
        clock.advance("1h")
        await scheduler.beat(beat(held_at=at))
        assert (await commit(scheduler, claimed, outcome(1))).fate is Fate.APPLIED
        await scheduler.beat(beat(held_at=at + 1))
        assert (await commit(scheduler, claimed, outcome(2))).fate is Fate.LOST
        await claim(scheduler)
        await scheduler.beat(beat(held_at=at + 1))
        assert (await read(scheduler)).worker == "w", "it is the last claim that counts"

    async def test_rule_7_what_is_held_under_an_older_fence_is_handed_back(self, scheduler: Storage, clock: FakeClock) -> None:
        (first,) = await running(scheduler, "a")
        await commit(scheduler, first, move=waiting(now(clock)))
        second = await claim(scheduler)
        clock.advance(1)
        reply = await scheduler.beat(beat(held=[Held(first.token, 0)], held_at=now(clock)))
        assert list(reply.lost) == [first.token]
        assert (await read(scheduler)).status is ExecutionStatus.PENDING
        assert (await commit(scheduler, second, outcome(1))).fate is Fate.LOST

    async def test_rule_7_what_does_not_run_is_not_handed_back(self, scheduler: Storage, clock: FakeClock) -> None:
        parked, done = await running(scheduler, "a", "b")
        await commit(scheduler, parked, move=waiting())
        await commit(scheduler, done, move=completed())
        before = [await read(scheduler, each) for each in "ab"]
        clock.advance(1)
        await scheduler.beat(beat(held_at=now(clock)))
        assert [await read(scheduler, each) for each in "ab"] == before

    async def test_rule_7_one_beat_hands_back_one_batch_in_id_order(self, scheduler: Storage, clock: FakeClock) -> None:
        ids = [f"x{number:03}" for number in range(2 * TAKEOVER + 30)]
        await running(scheduler, *(ids[(index * 7) % len(ids)] for index in range(len(ids))))
        clock.advance(1)
        for batch in (TAKEOVER, 2 * TAKEOVER, len(ids), len(ids)):
            await scheduler.beat(beat(held_at=now(clock)))
            page = await scheduler.find(Query(statuses=(ExecutionStatus.PENDING,), limit=len(ids)))
            assert sorted(each.id for each in page.executions) == ids[:batch]

    async def test_rule_7_a_dead_worker_hands_nothing_back(self, scheduler: Storage, clock: FakeClock) -> None:
        ids = [f"x{number:03}" for number in range(TAKEOVER + 1)]
        await running(scheduler, *ids, lease=LEASE)
        await crash(scheduler, clock, "w")
        assert not (await scheduler.beat(beat(lease=LEASE, held_at=now(clock)))).alive
        assert (await read(scheduler, ids[-1])).status is ExecutionStatus.RUNNING

    async def test_rule_7_a_beat_may_come_from_another_thread_and_loop(self, scheduler: Storage) -> None:
        loop = asyncio.get_running_loop()
        replies: asyncio.Future[list[BeatReply | BaseException]] = loop.create_future()

        async def beating() -> None:
            messages = [beat(register=True), *(beat(lease=LEASE) for _ in range(20))]
            said = [(await asyncio.gather(scheduler.beat(each), return_exceptions=True))[0] for each in messages]
            loop.call_soon_threadsafe(replies.set_result, said)

        async def answers() -> list[BeatReply | BaseException]:
            return await replies

        ThreadSpawner().loop("beats", beating)
        for number in range(20):
            await scheduler.start([new(f"x{number}")])
        assert [getattr(reply, "alive", reply) for reply in await returns(answers())] == [True] * 21
        assert len(await scheduler.claim(demand())) == 20

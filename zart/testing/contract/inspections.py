"""What people and programs read: the inspector."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import pytest
from attrs import evolve

from zart.clock import SECOND
from zart.records import Page, Query
from zart.scheduler import Storage
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
    ended,
    event,
    history,
    mailbox,
    new,
    outcome,
    read,
    register,
    running,
    waiting,
)

PENDING, COMPLETED, CANCELLED = ExecutionStatus.PENDING, ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED
IDS = ["x3", "x1", "x5", "x2", "x4"]
"""In the order of their start, which is not that of their names."""


def listed(page: Page) -> list[str]:
    """Return the ids on a page."""
    return [each.id for each in page.executions]


class Inspections(Scene):
    """What `get`, `history`, `find` and `count` tell."""

    async def test_get_of_what_is_not_there_is_none(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        assert await scheduler.get("b") is None
        assert await scheduler.get("A") is None
        assert [await scheduler.get("a", run) for run in (0, 2, -1)] == [None] * 3

    async def test_history_of_what_is_not_there_is_empty(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        for execution_id, run in (("b", None), ("a", 2), ("a", None)):
            assert await history(scheduler, execution_id, run) == []
            assert await mailbox(scheduler, execution_id, run) == []

    async def test_each_run_is_read_by_its_number(self, scheduler: Storage) -> None:
        await register(scheduler)
        for number in (1, 2, 3):
            await scheduler.start([new(payload=f"input {number}")])
            await deliver(scheduler, event(payload=f"mail {number}"))
            await commit(scheduler, await claim(scheduler), outcome(1, f"step {number}"), move=completed(f"output {number}"))
        for number in (1, 2, 3):
            execution = await read(scheduler, "a", number)
            assert (execution.run, execution.payload, execution.result) == (number, f"input {number}", f"output {number}")
            assert await history(scheduler, "a", number) == [outcome(1, f"step {number}")]
            assert await mailbox(scheduler, "a", number) == [(1, f"mail {number}")]
        assert (await read(scheduler)).run == 3
        assert await history(scheduler) == [outcome(1, "step 3")]

    async def test_history_is_in_the_order_of_seq(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, outcome(30), outcome(2))
        await commit(scheduler, claimed, outcome(1), outcome(100))
        assert [step.seq for step in await history(scheduler)] == [1, 2, 30, 100]

    async def test_what_is_read_is_what_is_so_while_it_runs(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        execution = await read(scheduler)
        assert (execution.status, execution.worker, execution.fence) == (ExecutionStatus.RUNNING, "w", claimed.token.fence)
        page = await scheduler.find(Query())
        assert list(page.executions) == [execution]

    @pytest.mark.parametrize("descending", [True, False])
    async def test_find_goes_by_the_order_of_start(self, scheduler: Storage, clock: FakeClock, *, descending: bool) -> None:
        await scheduler.start([new(each) for each in IDS[:3]])
        clock.advance(1)
        await scheduler.start([new(IDS[3], delay=1000 * SECOND)])
        await scheduler.start([new(IDS[4], at=0)])
        assert listed(await scheduler.find(Query(descending=descending))) == (IDS[::-1] if descending else IDS)

    async def test_find_is_newest_first_unless_asked(self, scheduler: Storage) -> None:
        await scheduler.start([new("a"), new("b")])
        assert listed(await scheduler.find(Query())) == ["b", "a"]

    @pytest.mark.parametrize(("limit", "more"), [(0, True), (4, True), (5, False), (6, False)])
    async def test_find_tells_whether_more_follow(self, scheduler: Storage, limit: int, *, more: bool) -> None:
        await scheduler.start([new(each) for each in IDS])
        page = await scheduler.find(Query(limit=limit, descending=False))
        assert (listed(page), page.more) == (IDS[:limit], more)

    async def test_find_skips_the_offset(self, scheduler: Storage) -> None:
        await scheduler.start([new(each) for each in IDS])
        pages = [await scheduler.find(Query(limit=2, offset=offset, descending=False)) for offset in (0, 2, 4, 5, 9)]
        assert [listed(page) for page in pages] == [IDS[:2], IDS[2:4], IDS[4:], [], []]
        assert [page.more for page in pages] == [True, True, False, False, False]

    @pytest.mark.parametrize("descending", [True, False])
    async def test_find_goes_on_after_the_last_of_a_page(self, scheduler: Storage, *, descending: bool) -> None:
        await scheduler.start([new(each) for each in IDS])
        found: list[str] = []
        query = Query(limit=2, descending=descending)
        for more in (True, True, False):
            page = await scheduler.find(query)
            found += listed(page)
            assert page.more is more
            query = evolve(query, after=found[-1])
            if descending:
                await scheduler.start([new(f"newer {len(found)}")])  # shifts no page that goes by `after`
        assert found == (IDS[::-1] if descending else IDS)
        assert listed(await scheduler.find(evolve(query, limit=100))) == []

    async def test_find_counts_the_offset_from_after(self, scheduler: Storage) -> None:
        await scheduler.start([new(each) for each in IDS])
        assert listed(await scheduler.find(Query(after=IDS[0], offset=1, limit=2, descending=False))) == IDS[2:4]

    async def test_find_after_what_is_not_there_is_empty(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        page = await scheduler.find(Query(after="nobody"))
        assert (listed(page), page.more) == ([], False)

    async def test_find_goes_on_after_one_that_does_not_match_itself(self, scheduler: Storage) -> None:
        await scheduler.start([new(each) for each in IDS])
        await scheduler.cancel([IDS[2]])
        query = Query(statuses=(PENDING,), after=IDS[2], descending=False)
        assert listed(await scheduler.find(query)) == IDS[3:]

    async def test_find_filters_by_status_and_task(self, scheduler: Storage) -> None:
        await scheduler.start([new(f"{task}{number}", task) for number in range(3) for task in "tuv"])
        await scheduler.cancel(["t0", "u0", "v1"])

        async def found(**filters: tuple[str, ...]) -> list[str]:
            return listed(await scheduler.find(Query(**filters, descending=False)))  # type: ignore[arg-type] # a dict of filters has one type for all

        assert await found(statuses=(CANCELLED,)) == ["t0", "u0", "v1"]
        assert await found(tasks=("u",)) == ["u0", "u1", "u2"]
        assert await found(tasks=("t", "v"), statuses=(PENDING, COMPLETED)) == ["v0", "t1", "t2", "v2"]
        assert await found(tasks=("T", "t "), statuses=(PENDING,)) == []

    async def test_find_tells_whether_more_match(self, scheduler: Storage) -> None:
        await scheduler.start([new(each) for each in IDS])
        await scheduler.cancel(IDS[:3])
        page = await scheduler.find(Query(statuses=(CANCELLED,), limit=3))
        assert (len(page.executions), page.more) == (3, False)
        page = await scheduler.find(Query(statuses=(CANCELLED,), limit=2))
        assert (len(page.executions), page.more) == (2, True)

    async def test_find_shows_current_runs_only_at_the_place_of_their_own_start(self, scheduler: Storage) -> None:
        await ended(scheduler, COMPLETED)
        await scheduler.start([new("b")])
        await scheduler.start([new("a")])
        page = await scheduler.find(Query(descending=False))
        assert [(each.id, each.run) for each in page.executions] == [("b", 1), ("a", 2)]
        assert listed(await scheduler.find(Query(statuses=(COMPLETED,)))) == []

    async def test_count_is_by_status(self, scheduler: Storage) -> None:
        claims = await running(scheduler, "a", "b", "c", "d")
        await scheduler.start([new("e", "u"), new("f")])
        await commit(scheduler, claims[0], move=completed())
        await commit(scheduler, claims[1], move=waiting())
        await scheduler.cancel(["e"])
        everything = {COMPLETED: 1, ExecutionStatus.WAITING: 1, ExecutionStatus.RUNNING: 2, CANCELLED: 1, PENDING: 1}
        assert await scheduler.count(Query()) == everything
        assert await scheduler.count(Query(limit=1, offset=2, after="c")) == everything
        assert await scheduler.count(Query(tasks=("u",))) == {CANCELLED: 1}
        assert await scheduler.count(Query(statuses=(COMPLETED, PENDING), tasks=("t",))) == {COMPLETED: 1, PENDING: 1}
        assert await scheduler.count(Query(tasks=("nothing",))) == {}

    async def test_count_is_of_current_runs_only(self, scheduler: Storage) -> None:
        await ended(scheduler, COMPLETED)
        await scheduler.start([new()])
        assert await scheduler.count(Query()) == {PENDING: 1}

    async def test_served_says_whether_a_living_worker_has_registered_the_task(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await scheduler.start([new("a"), new("b", "u")])

        async def served() -> list[bool]:
            found = [each.served for each in (await scheduler.find(Query(descending=False))).executions]
            assert found == [(await read(scheduler, each)).served for each in "ab"]
            return found

        assert await served() == [False, False]
        await scheduler.beat(beat(register=True, lease=LEASE, tasks=("u", "t ")))
        assert await served() == [False, True]
        await scheduler.beat(beat("other", register=True, tasks=("t", "x")))
        assert await served() == [True, True]
        await scheduler.beat(beat("other", leaving=True))
        assert await served() == [False, True]
        clock.advance(LEASE / SECOND + 1)
        assert await served() == [False, False], "its lease has passed, whether or not anybody has noticed"
        await crash(scheduler, clock, "w")
        assert await served() == [True, False], "the reaper does task t"

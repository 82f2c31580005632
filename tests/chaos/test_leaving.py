"""A worker that is told to leave hands back at once what it holds; leases are an hour, so nothing else brings it to others."""

import signal

import pytest

from tests.chaos.ends import check_ended
from zart import ExecutionStatus
from zart.clock import SystemClock

BACKENDS = pytest.mark.parametrize("backend", ["postgres", "sqlite"])
ALL = {
    "e-step": ["step:1", "hold:2", "step:3"],
    "e-parked": ["step:1", "wait:go", "step:3"],
    "e-timer": ["both:1", "rest:2", "step:3"],
}
SHUTDOWN = 0.4


@BACKENDS
async def test_what_cannot_end_in_time_is_handed_back_at_once_and_counts_no_crash(backend, ground, crew, ledger, client):
    crew.lease = "1h"
    leaver = await crew.add(holds=True, shutdown_timeout=f"{SHUTDOWN}s")
    words = ALL | ({"e-transaction": ["step:1", "book-hold:2"]} if backend == "postgres" else {})
    await client.start_many((each, "errand", words[each]) for each in words)
    held = [each for each in words if any("hold" in word for word in words[each])]
    for each in held:
        await ledger.comes("begin", each, words[each][1])
    await ledger.comes("cancelled", "e-parked")
    began = SystemClock.monotonic()
    assert await leaver.end(signal.SIGTERM) == 0
    assert SystemClock.monotonic() - began < SHUTDOWN + 2
    for each in held:
        execution = await client.scheduler.get(each)
        assert (execution.status, execution.crashes, execution.worker) == (ExecutionStatus.PENDING, 0, None)
        assert execution.due_at is not None
    await client.offer_event("e-parked", "go", 1)
    await crew.add()
    for each in words:
        await check_ended(client, ground, ledger, [each], words[each])
    crew.killed.add(leaver.pid)  # as far as what it had begun is concerned
    ledger.check(crew.excused)
    calls = ledger.begins()
    assert {each: len(calls[each, words[each][1]]) for each in held} == dict.fromkeys(held, 2)


@BACKENDS
async def test_under_load_nothing_that_was_begun_is_begun_again(backend, ground, crew, ledger, client):
    crew.lease = "1h"
    words = ["step:1", "both:2", "book:3", "nap:4", "mixed:5"]
    leaver = await crew.add(max_concurrent=10)
    await crew.add(max_concurrent=10)
    ids: list[str] = []
    for number in range(4):
        new = [f"e{number}-{each:02}" for each in range(30)]
        ids += new
        await client.start_many((each, "errand", words) for each in new)
        mark = len(ledger.find("begin")) + 25
        await ledger.until(
            lambda mark=mark, pid=leaver.pid: len(ledger.find("begin")) > mark and ledger.open_steps(pid), "a step in work"
        )
        assert await leaver.end(signal.SIGTERM) == 0
        leaver = await crew.add(max_concurrent=10)
    await check_ended(client, ground, ledger, ids, words)
    ledger.check()

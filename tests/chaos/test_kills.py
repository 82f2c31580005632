"""Workers are killed at any moment: nothing is lost, and nothing that was saved is done again."""

import random

import pytest

from tests.chaos.ends import check_ended
from tests.chaos.ground import until

BACKENDS = pytest.mark.parametrize("backend", ["postgres", "sqlite"])
WORDS = ["step:1", "both:2", "nap:3", "book:4", "wait:go", "mixed:5", "step:6"]
KILLS, EACH = 12, 6


@BACKENDS
async def test_workers_are_killed_at_any_moment(backend, ground, crew, ledger, client):
    chance = random.Random(backend)
    for _ in range(3):
        await crew.add(max_concurrent=10)
    ids: list[str] = []
    silent: list[str] = []  # what still waits for its event
    in_work = 0
    for number in range(KILLS):
        new = [f"e{number:02}-{each}" for each in range(EACH)]
        ids += new
        silent += new
        await client.start_many((each, "errand", WORDS) for each in new)
        mark = len(ledger.lines) + chance.randrange(2, 40)
        for each in chance.sample(silent, len(silent) // 2):
            await client.offer_event(each, "go", number)
            silent.remove(each)
        await ledger.until(lambda mark=mark: len(ledger.lines) > mark, "work")
        alive = [each for each in crew.members if each.ended is None]
        busy = [each for each in alive if ledger.open_steps(each.pid)]
        victim = chance.choice(busy or alive)
        await crew.kill(victim)
        in_work += bool(ledger.open_steps(victim.pid))
        await crew.add(max_concurrent=10)
    for each in silent:
        await client.offer_event(each, "go")
    await check_ended(client, ground, ledger, ids, WORDS)
    ledger.check(crew.excused)
    assert in_work >= KILLS // 2
    assert sum(len(calls) > 1 for calls in ledger.begins().values()) >= 3


MOMENTS = {
    "while it claims": ("UPDATE ON zart_executions", "NEW.status = 'running'", ["step:1", "book:2"]),
    "while it saves a step": ("INSERT ON zart_steps", "NEW.name = 'step:1'", ["step:1", "book:2"]),
    "while it parks": ("UPDATE ON zart_executions", "NEW.status = 'waiting'", ["step:1", "rest:2", "step:3"]),
    "while it finishes": ("UPDATE ON zart_executions", "NEW.status = 'completed'", ["step:1", "book:2"]),
    "while it takes mail": (
        "INSERT ON zart_steps",
        "NEW.name = 'go' AND NEW.phase = 'outcome'",
        ["step:1", "wait:go", "step:3"],
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_worker_is_killed_in_the_middle_of_a_statement(ground, crew, ledger, client, moment):
    """The server goes on with the statement: what it wrote is written, though nobody heard so."""
    event, when, words = MOMENTS[moment]
    async with ground.gate() as gate:
        await gate.across(event, when)
        first = await crew.add()
        await client.start("e", "errand", words)
        if "wait:go" in words:
            await client.offer_event("e", "go", 1)
        (pid,) = await gate.waiting()
        await crew.kill(first)
        await crew.add()
        await gate.open()
        await until(gate.watch, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)
        await check_ended(client, ground, ledger, ["e"], words)
    ledger.check(crew.excused)
    callers = {step: [line.pid for line in calls] for (_, step), calls in ledger.begins().items()}
    # The function whose outcome was being written has no second call: that it was written counts, not that somebody heard so.
    assert {step: len(pids) for step, pids in callers.items()} == dict.fromkeys(callers, 1)
    if moment == "while it finishes":
        assert set().union(*callers.values()) == {first.pid}


@BACKENDS
async def test_an_execution_that_kills_its_workers_is_given_up_and_its_neighbours_are_not(
    backend, ground, crew, ledger, client
):
    crew.lease = "1s"
    limits = {"max_crashes": 3, "heartbeat_interval": "300ms"}
    ids = [f"e{number}" for number in range(10)]
    await client.start_many([("poison", "errand", ["die:1"]), *((each, "errand", ["step:1", "step:2"]) for each in ids)])
    for deaths in range(1, 4):
        await crew.add(**limits)
        line = await ledger.comes("end", "poison", count=deaths)
        (victim,) = [each for each in crew.members if each.pid == line.pid]
        crew.killed.add(victim.pid)
        assert await victim.wait() < 0
    await crew.add(**limits)
    record = await client.wait("poison", "15s")
    assert record.status == "failed"
    await check_ended(client, ground, ledger, ids, ["step:1", "step:2"])
    ledger.check(crew.excused)
    assert len(ledger.find("begin", "poison")) == 3
    assert "workers" in record.reason, record.reason

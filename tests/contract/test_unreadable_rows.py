"""Rows that are stored and cannot be read (rule 9): the rest goes on, and the bad one says what is wrong with it."""

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asyncmy.errors import DataError
from attrs import frozen

from tests.contract.conftest import MySqlPlace, Place
from zart import ExecutionStatus, TaskContext, TaskHandler
from zart.clock import SECOND
from zart.records import Commit, Held, Query
from zart.scheduler import Storage
from zart.schedulers.sqlite import SqliteScheduler
from zart.status import Phase, StepKind
from zart.testing import FakeClock, Harness
from zart.testing.contract.scene import (
    LEASE,
    beat,
    claim,
    commit,
    crash,
    crashed,
    deliver,
    demand,
    event,
    outcome,
    read,
    register,
    running,
    waiting,
)

Change = Callable[..., Awaitable[None]]


@frozen
class Ground:
    """A storage, and a way to its rows that asks nobody."""

    storage: Storage
    change: Change
    """Runs a statement; `{bytes}` in it stands for a value that is no UTF-8, and `{half}` for half a JSON text."""


@asynccontextmanager
async def _sqlite(path: Path, clock: FakeClock) -> AsyncIterator[Ground]:
    file = path / "zart.db"

    async def change(sql: str) -> None:
        with sqlite3.connect(file) as connection:
            connection.execute(sql.format(bytes="CAST(x'22ff22' AS TEXT)", half="'[1'"))
        connection.close()

    async with SqliteScheduler(file, clock=clock) as scheduler:
        await scheduler.migrate()
        yield Ground(scheduler, change)


@asynccontextmanager
async def _postgres(place: Place) -> AsyncIterator[Ground]:
    async def change(sql: str) -> None:
        async with place.session() as session:
            await session.execute(sql.format(bytes=r"'\x22ff22'::bytea", half="'[1'::bytea"))

    async with place.open() as scheduler:
        yield Ground(scheduler, change)


@asynccontextmanager
async def _mysql(place: MySqlPlace) -> AsyncIterator[Ground]:
    async def change(sql: str) -> None:
        said = re.sub(r"\bkey\b", "`key`", sql).format(bytes="x'22ff22'", half="'[1'")
        async with place.session() as session:
            if "{bytes}" not in sql:
                await session.ask(said)
                return
            with pytest.raises(DataError, match="Incorrect string value"):
                await session.ask(said)
        pytest.skip("the server itself refuses what is no UTF-8")

    async with place.open() as scheduler:
        yield Ground(scheduler, change)


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
async def ground(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Ground]:
    if request.param == "sqlite":
        opened = _sqlite(tmp_path, clock)
    elif request.param == "postgres":
        opened = _postgres(request.getfixturevalue("place"))
    else:
        opened = _mysql(request.getfixturevalue("mysql_place"))
    async with opened as made:
        yield made


OF_B = "key = (SELECT key FROM zart_executions WHERE id = 'b')"

DAMAGED = {
    "an unknown kind": (f"UPDATE zart_steps SET kind = 'magic' WHERE {OF_B}", "record 1: 'magic' is not a valid StepKind"),
    "an unknown phase": (f"UPDATE zart_steps SET phase = 'magic' WHERE {OF_B}", "record 1: 'magic' is not a valid Phase"),
    "a result in bytes": (
        f"UPDATE zart_steps SET payload = {{bytes}} WHERE {OF_B}",
        "record 1: 'utf-8' codec can't decode byte 0xff",
    ),
    "an input in bytes": (f"UPDATE zart_executions SET payload = {{bytes}} WHERE {OF_B}", "its input: 'utf-8' codec can't"),
    "no list of workers": (
        f"UPDATE zart_executions SET crashes = 1, crashed_workers = '[\"w' WHERE {OF_B}",
        "the workers that died over it: ",
    ),
    "workers of another type": (
        f"UPDATE zart_executions SET crashes = 1, crashed_workers = '3' WHERE {OF_B}",
        "the workers that died over it: ",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
async def test_rule_9_what_cannot_be_read_is_handed_out_with_its_damage(ground: Ground, what: str) -> None:
    sql, said = DAMAGED[what]
    claims = await running(ground.storage, "a", "b", "c")
    for each in claims:
        await commit(ground.storage, each, outcome(1), outcome(2), move=waiting(due_at=each.now))
    await ground.change(sql.replace(f"WHERE {OF_B}", f"WHERE seq = 1 AND {OF_B}") if "zart_steps" in sql else sql)
    first, bad, last = sorted(await ground.storage.claim(demand()), key=lambda each: each.token.execution_id)
    assert (first.damage, last.damage) == (None, None)
    assert first.steps == last.steps == [outcome(1), outcome(2)]
    assert (bad.token.execution_id, bad.token.run) == ("b", 1)
    assert (bad.damage or "").startswith(said)
    assert [each.seq for each in bad.steps] == [1, 2]
    assert bad.steps[1] == outcome(2)
    if said.startswith("record"):
        assert (bad.steps[0].kind, bad.steps[0].phase, bad.steps[0].payload) == (StepKind.BODY, Phase.ATTEMPT, None)
    # It is held like any other.
    assert not (await ground.storage.beat(beat(held=[Held(bad.token, 0)]))).lost
    await commit(ground.storage, bad, outcome(3), move=waiting())
    assert (await ground.storage.count(Query()))[ExecutionStatus.WAITING] == 1


async def test_rule_9_a_letter_that_cannot_be_read_is_no_json_wherever_it_is_told(ground: Ground) -> None:
    (held,) = await running(ground.storage, "b")
    await deliver(ground.storage, event("b", "e1", payload='"good"'), event("b", "e2", payload='"bad"'))
    await ground.change(f"UPDATE zart_mail SET payload = {{bytes}} WHERE seq = 2 AND {OF_B}")
    reply = await ground.storage.beat(beat(held=[Held(held.token, 0)]))
    (answer,) = await ground.storage.commit([Commit(held.token, [outcome(1)], 0)])
    await commit(ground.storage, held, move=waiting(due_at=held.now), seen=2)
    claimed = await claim(ground.storage)
    assert claimed.damage is None
    for mail in (reply.mail[held.token.key], answer.mail, claimed.mail):
        assert [each.seq for each in mail] == [1, 2]
        assert mail[0].payload == '"good"'
        assert mail[1].payload.startswith("cannot be read: 'utf-8' codec can't decode byte 0xff")
    assert claimed.seen == 2


async def test_rule_9_a_damaged_list_of_workers_stops_no_takeover(ground: Ground, clock: FakeClock) -> None:
    await crashed(ground.storage, clock, 1, "a", "b", "c")
    await ground.change(f"UPDATE zart_executions SET crashed_workers = '[broken' WHERE {OF_B}")
    await register(ground.storage, "v", lease=LEASE)
    assert len(await ground.storage.claim(demand("v"))) == 3
    await crash(ground.storage, clock, "v")
    await register(ground.storage, "w")
    claims = {each.token.execution_id: each for each in await ground.storage.claim(demand("w"))}
    assert {each: claims[each].crashes for each in "abc"} == {"a": 2, "b": 2, "c": 2}
    assert claims["a"].crashed_workers == claims["c"].crashed_workers == ("victim 0 of a", "v")
    assert [each for each in "abc" if claims[each].damage is not None] == ["b"]


class Two(TaskHandler[str, str]):
    """Runs a step, waits for an event, and says both."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def run(self, ctx: TaskContext, data: str) -> str:
        return await ctx.step("s", self.say, data) + await ctx.wait_for_event("go", str)

    async def say(self, data: str) -> str:
        self.calls.append(data)
        return data


@pytest.fixture
async def two(ground: Ground, clock: FakeClock) -> AsyncIterator[tuple[Harness, Two]]:
    """A harness on the ground, and what it runs."""
    handler = Two()
    h = Harness([handler], storage=lambda _: ground.storage)
    h.clock = clock
    h.worker = h._new_worker()
    await h.worker.join()
    yield h, handler
    await h.kill()


async def test_a_damaged_execution_waits_longer_each_time_and_goes_on_when_it_is_mended(
    ground: Ground, two: tuple[Harness, Two], clock: FakeClock
) -> None:
    h, handler = two
    for each in "abc":
        await h.client.start(each, "Two", each)
    await h.run_to_idle()
    await ground.change(f"UPDATE zart_steps SET kind = 'magic' WHERE name = 's' AND {OF_B}")
    for each in "abc":
        await h.client.offer_event(each, "go", "!")
    await h.run_to_idle()
    assert [(await read(ground.storage, each)).result for each in "ac"] == ['"a!"', '"c!"']
    dues = []
    for _ in range(4):
        bad = await read(ground.storage, "b")
        assert bad.status is ExecutionStatus.WAITING
        assert bad.reason is not None
        assert "what is stored of it cannot be read: record 1: 'magic' is not a valid StepKind" in bad.reason
        assert bad.due_at is not None
        dues.append(round((bad.due_at - h.worker.now()) / SECOND))
        clock.advance(f"{dues[-1]}s")
        await h.run_to_idle()
    assert dues == [1, 2, 4, 8]
    await ground.change(f"UPDATE zart_steps SET kind = 'step' WHERE name = 's' AND {OF_B}")
    clock.advance("16s")
    await h.run_to_idle()
    assert (await read(ground.storage, "b")).result == '"b!"'
    assert handler.calls == ["a", "b", "c"]


async def test_a_letter_that_cannot_be_read_is_set_aside_and_the_wait_goes_on(ground: Ground, two: tuple[Harness, Two]) -> None:
    h, _ = two
    await h.client.start("b", "Two", "b")
    await h.run_to_idle()
    await h.client.offer_event("b", "go", "?")
    await ground.change(f"UPDATE zart_mail SET payload = {{bytes}} WHERE {OF_B}")
    await h.run_to_idle()
    waits = await read(ground.storage, "b")
    assert waits.status is ExecutionStatus.WAITING
    assert "number 1 was set aside by wait 'go'" in (waits.reason or "")
    await h.client.offer_event("b", "go", "!")
    await h.run_to_idle()
    assert (await read(ground.storage, "b")).result == '"b!"'


async def test_a_body_record_that_is_damaged_strands_nobody(ground: Ground, two: tuple[Harness, Two], clock: FakeClock) -> None:
    h, _ = two
    for each in "abc":
        await h.client.start(each, "Two", each)
    await h.run_to_idle()
    await ground.change(
        "INSERT INTO zart_steps (key, seq, name, kind, phase, ok, attempts, at, payload)"
        " SELECT key, 99, '', 'body', 'attempt', false, 0, 0, {half} FROM zart_executions WHERE id = 'b'"
    )
    for each in "abc":
        await h.client.offer_event(each, "go", "!")
    await h.run_to_idle()
    assert [(await read(ground.storage, each)).result for each in "ac"] == ['"a!"', '"c!"']
    for gap in ("1s", "2s"):
        assert "record 99" in ((await read(ground.storage, "b")).reason or "")
        clock.advance(gap)
        await h.run_to_idle()
    assert [each.seq for each in (await ground.storage.history("b")).steps][-3:] == [100, 101, 102]

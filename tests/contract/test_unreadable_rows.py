"""Rows that are stored and cannot be read (rule 9): the rest goes on, and the bad one says what is wrong with it."""

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from asyncmy.errors import DataError
from attrs import frozen

from tests.contract.conftest import MySqlPlace, Place
from zart import DeserializationError, DurableScheduler, ExecutionStatus, TaskContext, TaskHandler
from zart.clock import SECOND
from zart.records import Commit, Fate, Held, Query
from zart.scheduler import Storage
from zart.schedulers.sql import rows
from zart.schedulers.sqlite import SqliteScheduler
from zart.status import Phase, StepKind
from zart.testing import FakeClock, Harness
from zart.testing.contract.scene import (
    LEASE,
    beat,
    claim,
    commit,
    completed,
    crash,
    crashed,
    deliver,
    demand,
    event,
    new,
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
            await session.ask(said)

    async with place.open() as scheduler:
        yield Ground(scheduler, change)


LENIENT = ("sqlite", "postgres")
"""Those that store bytes that are no UTF-8."""
ALL = (*LENIENT, "mysql")


@pytest.fixture(params=ALL)
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
HALF_A_BODY = (
    "INSERT INTO zart_steps (key, seq, name, kind, phase, ok, attempts, at, payload)"
    " SELECT key, 99, '', 'body', 'attempt', false, 0, 0, {half} FROM zart_executions WHERE id = 'b'"
)

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
    "a text for workers": (
        f"UPDATE zart_executions SET crashes = 1, crashed_workers = '\"abc\"' WHERE {OF_B}",
        "the workers that died over it: ",
    ),
}


DAMAGED_ON = [(on, what) for what, (sql, _) in DAMAGED.items() for on in (LENIENT if "{bytes}" in sql else ALL)]
OF_MAIL = f"UPDATE zart_mail SET payload = {{bytes}} WHERE {OF_B}"


@pytest.mark.parametrize("ground", ["mysql"], indirect=True)
@pytest.mark.parametrize("sql", [OF_MAIL, *(sql for sql, _ in DAMAGED.values() if "{bytes}" in sql)])
async def test_mysql_itself_stores_no_bytes_that_are_no_utf_8(ground: Ground, sql: str) -> None:
    (held,) = await running(ground.storage, "b")
    await commit(ground.storage, held, outcome(1))
    await deliver(ground.storage, event("b", "e1"))
    with pytest.raises(DataError, match="Incorrect string value"):
        await ground.change(sql)


@pytest.mark.parametrize(("ground", "what"), DAMAGED_ON, indirect=["ground"])
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


async def test_rule_9_what_is_damaged_keeps_its_trace(ground: Ground) -> None:
    (held,) = await running(ground.storage, "b", trace="kept")
    await commit(ground.storage, held, move=waiting(due_at=held.now))
    await ground.change(DAMAGED["no list of workers"][0])
    claimed = await claim(ground.storage)
    assert claimed.damage is not None
    assert (claimed.trace, claimed.payload, claimed.crashes) == ("kept", "input", 1)


@pytest.mark.parametrize("ground", ["sqlite"], indirect=True)
@pytest.mark.parametrize("stored", ["{bytes}", "x'22ff22'", "7"])
async def test_rule_9_a_trace_that_cannot_be_read_damages_nothing(ground: Ground, stored: str) -> None:
    (held,) = await running(ground.storage, "b", trace="kept")
    await commit(ground.storage, held, outcome(1), move=waiting(due_at=held.now))
    await ground.change(f"UPDATE zart_executions SET trace = {stored} WHERE {OF_B}")
    claimed = await claim(ground.storage)
    assert (claimed.damage, claimed.payload, claimed.steps) == (None, "input", [outcome(1)])
    assert claimed.trace != "kept"


@pytest.mark.parametrize("ground", LENIENT, indirect=True)
async def test_rule_9_a_letter_that_cannot_be_read_is_no_json_wherever_it_is_told(ground: Ground) -> None:
    (held,) = await running(ground.storage, "b")
    await deliver(ground.storage, event("b", "e1", payload='"good"'), event("b", "e2", payload='"bad"'))
    await ground.change(OF_MAIL.replace("WHERE", "WHERE seq = 2 AND"))
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


@pytest.mark.parametrize("ground", LENIENT, indirect=True)
async def test_a_letter_that_cannot_be_read_is_set_aside_and_the_wait_goes_on(ground: Ground, two: tuple[Harness, Two]) -> None:
    h, _ = two
    await h.client.start("b", "Two", "b")
    await h.run_to_idle()
    await h.client.offer_event("b", "go", "?")
    await ground.change(OF_MAIL)
    await h.run_to_idle()
    waits = await read(ground.storage, "b")
    assert waits.status is ExecutionStatus.WAITING
    assert "number 1 was set aside by wait 'go'" in (waits.reason or "")
    await h.client.offer_event("b", "go", "!")
    await h.run_to_idle()
    assert (await read(ground.storage, "b")).result == '"b!"'


BELOW_NONE = f"UPDATE zart_executions SET mail = -5 WHERE {OF_B}"


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
async def test_a_mailbox_with_less_than_no_letters_says_so_and_loses_no_event(
    ground: Ground, two: tuple[Harness, Two], before: int, many: bool
) -> None:
    h, _ = two
    await h.client.start("b", "Two", "b")
    await h.run_to_idle()
    for number in range(before):
        await h.client.offer_event("b", f"other {number}")
    await h.run_to_idle()
    await ground.change(BELOW_NONE)
    bad = await read(ground.storage, "b")
    assert (bad.mail, bad.damage) == (0, "how much mail it has had: -5 is less than none")
    assert "how much mail it has had: -5" in ((await h.client.status("b")).reason or "")
    events = [event("b", "e1", name="go", payload='"!"'), *([event("b", "e2", name="later")] if many else [])]
    await deliver(ground.storage, *events)
    letters = (await ground.storage.history("b")).mail
    assert [each.seq for each in letters] == list(range(1, before + 1 + len(events)))
    bad = await read(ground.storage, "b")
    assert (bad.mail, bad.damage) == (len(letters), None)
    await h.run_to_idle()
    assert (await read(ground.storage, "b")).result == '"b!"'


async def test_a_mailbox_with_less_than_no_letters_is_carried_whole_and_hinders_no_commit(ground: Ground) -> None:
    await ground.storage.start([new("b")])
    await register(ground.storage)
    await deliver(ground.storage, event("b", "e1"))
    await ground.change(BELOW_NONE)
    claimed = await claim(ground.storage)
    assert ([each.seq for each in claimed.mail], claimed.seen, claimed.damage) == ([1], 1, None)
    (answer,) = await ground.storage.commit([Commit(claimed.token, [outcome(1)], 1)])
    assert (answer.fate, answer.mail) == (Fate.APPLIED, ())
    await deliver(ground.storage, event("b", "e2"))
    (answer,) = await ground.storage.commit([Commit(claimed.token, [outcome(2)], 1)])
    assert [each.seq for each in answer.mail] == [2]
    await ground.change(BELOW_NONE)
    await commit(ground.storage, claimed, move=completed())
    assert (await read(ground.storage, "b")).status is ExecutionStatus.COMPLETED


async def test_a_body_record_that_is_damaged_strands_nobody(ground: Ground, two: tuple[Harness, Two], clock: FakeClock) -> None:
    h, _ = two
    for each in "abc":
        await h.client.start(each, "Two", each)
    await h.run_to_idle()
    await ground.change(HALF_A_BODY)
    for each in "abc":
        await h.client.offer_event(each, "go", "!")
    await h.run_to_idle()
    assert [(await read(ground.storage, each)).result for each in "ac"] == ['"a!"', '"c!"']
    for gap in ("1s", "2s"):
        assert "record 99" in ((await read(ground.storage, "b")).reason or "")
        clock.advance(gap)
        await h.run_to_idle()
    assert [each.seq for each in (await ground.storage.history("b")).steps][-3:] == [100, 101, 102]


SHOWN = {
    **{what: found for what, found in DAMAGED.items() if "workers" not in what},
    "no list of workers": (
        f"UPDATE zart_executions SET crashed_workers = '[\"w' WHERE {OF_B}",
        "the workers that died over it: ",
    ),
    "a body's record that is half a JSON": (
        HALF_A_BODY,
        "record 99, which is the body's,",
    ),
}
SHOWN_ON = [(on, what) for what, (sql, _) in SHOWN.items() for on in (LENIENT if "{bytes}" in sql else ALL)]


@pytest.mark.parametrize(("ground", "what"), SHOWN_ON, indirect=["ground"])
async def test_what_cannot_be_read_is_shown_with_its_damage_and_hides_nobody(ground: Ground, what: str) -> None:
    sql, said = SHOWN[what]
    for each in await running(ground.storage, "a", "b", "c", payload="1"):
        await commit(ground.storage, each, outcome(1, "1"), outcome(2, "2"), move=waiting())
    await ground.change(sql.replace(f"WHERE {OF_B}", f"WHERE seq = 1 AND {OF_B}") if "zart_steps SET" in sql else sql)
    client = DurableScheduler(ground.storage)
    listed = {each.execution_id: each for each in await client.list_executions(steps=True)}
    assert list(listed) == ["c", "b", "a"]
    assert [each.execution_id for each in await client.list_executions()] == ["c", "b", "a"]
    for record in (listed["b"], await client.status("b")):
        assert f"what is stored of it cannot be read: {said}" in (record.reason or "")
        assert record.steps[-1].result == 2
        assert record.status is ExecutionStatus.WAITING
    assert {each.reason for each in (listed["a"], listed["c"])} == {None}


def test_a_status_that_a_newer_version_has_written_is_told() -> None:
    texts, numbers = (
        ["b", 1, "t", "default", "magic", "1", None, 0, 1, None, 0, "[]", None],
        [1, 2, None, None, None, None, 0, 1],
    )
    found = rows.execution([*texts, *numbers])
    assert (found.status, found.payload, found.scheduled_at) == (ExecutionStatus.WAITING, "1", 2)
    assert found.damage == "its status: 'magic' is not a valid ExecutionStatus"
    texts[4] = "failed"
    assert rows.execution([*texts, *numbers]).damage is None
    assert rows.counts([("magic", 3), ("failed", 2)]) == {ExecutionStatus.FAILED: 2}


@pytest.mark.parametrize("ground", LENIENT, indirect=True)
async def test_a_result_that_cannot_be_read_is_no_result_and_no_crash(ground: Ground) -> None:
    (held,) = await running(ground.storage, "b", payload="1")
    await commit(ground.storage, held, move=completed("7"))
    await ground.change(f"UPDATE zart_executions SET result = {{bytes}}, payload = {{half}} WHERE {OF_B}")
    client = DurableScheduler(ground.storage)
    record = await client.status("b")
    assert record.status is ExecutionStatus.COMPLETED
    assert "cannot be read: its result: 'utf-8' codec can't decode byte 0xff" in (record.reason or "")
    assert "the output" in record.result["damaged"]
    assert "the input" in record.payload["damaged"]
    with pytest.raises(DeserializationError, match="cannot be read: 'utf-8' codec"):
        await client.wait_completion("b", int, "1s")


async def test_times_that_are_none_are_shown_as_damage(tmp_path: Path, clock: FakeClock) -> None:
    """SQLite keeps anything anywhere; and a number may be of no year."""
    async with _sqlite(tmp_path, clock) as ground:
        for each in await running(ground.storage, "a", "b", payload="1"):
            await commit(ground.storage, each, outcome(1, "1"), move=waiting())
        await ground.change(f"UPDATE zart_executions SET started_at = 'noon', scheduled_at = -{10**18} WHERE {OF_B}")
        await ground.change(f"UPDATE zart_steps SET at = 'noon' WHERE {OF_B}")
        records = await DurableScheduler(ground.storage).list_executions(steps=True)
    assert [each.execution_id for each in records] == ["b", "a"]
    reason = records[0].reason or ""
    assert "when it began: 'noon' is no whole number" in reason
    assert "record 1: 'noon' is no whole number" in reason
    assert (records[0].started_at, records[0].scheduled_at.year) == (None, 1)


NUMBERS = {
    "zart_executions SET attempt = {}": "its attempt: ",
    "zart_executions SET crashes = {}": "its crashes: ",
    "zart_executions SET deadline = {}": "its deadline: ",
    "zart_executions SET run = {}": "its run: ",
    "zart_executions SET scheduled_at = {}": "when it was due first: ",
    "zart_executions SET fence = {}": None,
    "zart_executions SET mail = {}": None,
    "zart_steps SET attempts = {}": "record 1: ",
    "zart_steps SET seq = {}": "record ",
    "zart_steps SET ok = {}": "record 1: ",
    "zart_mail SET seq = {}": "the number of event 'e': ",
    "zart_mail SET at = {}": "when event 1 came: ",
}
"""What a number that is none does to a claim; None: nothing, the claim makes a new fence, and counts no mail."""


@pytest.mark.parametrize("value", ["'zz'", "x'22ff'", "1e300", "9e999"])
@pytest.mark.parametrize("change", NUMBERS)
async def test_rule_9_a_number_that_is_none_stops_no_other_claim(
    tmp_path: Path, clock: FakeClock, change: str, value: str
) -> None:
    """SQLite keeps anything anywhere."""
    async with _sqlite(tmp_path, clock) as ground:
        claims = await running(ground.storage, "a", "b", "c")
        for each in claims:
            await deliver(ground.storage, event(each.token.execution_id, "e1", name="e"))
            await commit(ground.storage, each, outcome(1), move=waiting(due_at=each.now))
        with sqlite3.connect(tmp_path / "zart.db") as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE {change.format(value)} WHERE {OF_B}")
        connection.close()
        claimed = {each.token.execution_id: each for each in await ground.storage.claim(demand(suspects=1))}
        assert sorted(claimed) == ["a", "b", "c"]
        assert {claimed[each].damage for each in "ac"} == {None}
        bad, said = claimed["b"], NUMBERS[change]
        if said is None:
            assert bad.damage is None
        else:
            assert (bad.damage or "").startswith(said)
            assert "is no whole number" in (bad.damage or "")
        numbers = [bad.token.run, bad.token.fence, bad.attempt, bad.crashes, bad.scheduled_at, bad.deadline or 0, bad.seen]
        numbers += [each.seq for each in bad.steps] + [number for each in bad.mail for number in (each.seq, each.at)]
        assert {type(each) for each in numbers} == {int}
        assert all(bad.token.fence > each.token.fence for each in claims)
        # It is held like any other, and nobody else suffers for what is said of it.
        assert not (await ground.storage.beat(beat(held=[Held(each.token, each.seen) for each in claimed.values()]))).lost
        for each in claimed.values():
            await commit(ground.storage, each, move=waiting())
        assert (await ground.storage.count(Query()))[ExecutionStatus.WAITING] == 3
        await ground.storage.get("b")
        await ground.storage.history("b")


@pytest.mark.parametrize("column", ["fence", "mail", "crashes"])
async def test_a_number_that_is_none_stops_no_other_commit(tmp_path: Path, clock: FakeClock, column: str) -> None:
    async with _sqlite(tmp_path, clock) as ground:
        claims = await running(ground.storage, "a", "b", "c")
        await ground.change(f"UPDATE zart_executions SET {column} = x'22ff' WHERE {OF_B}")
        answers = await ground.storage.commit([Commit(each.token, [outcome(1)], 0) for each in claims])
        expected = {"a": Fate.APPLIED, "b": Fate.LOST if column == "fence" else Fate.APPLIED, "c": Fate.APPLIED}
        assert {each.token.execution_id: answer.fate for each, answer in zip(claims, answers, strict=True)} == expected


async def test_what_is_due_at_no_time_keeps_no_worker_from_waiting(tmp_path: Path, clock: FakeClock) -> None:
    async with _sqlite(tmp_path, clock) as ground:
        (held,) = await running(ground.storage, "b")
        await commit(ground.storage, held, move=waiting(due_at=held.now))
        await ground.change(f"UPDATE zart_executions SET due_at = 'soon' WHERE {OF_B}")
        assert await ground.storage.claim(demand()) == []
        await ground.storage.wait(demand(), timedelta(0))
        await register(ground.storage, "v")
        await ground.storage.wait(demand("v"), timedelta(0))

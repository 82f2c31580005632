"""Streams: complete, resumable, and ended when nobody reads or the server stops."""

import asyncio
import json

import pytest
from attrs import evolve

from tests.http.conftest import V1, client, serving, speaking
from tests.http.flows import HANDLERS
from zart import DurableScheduler, InMemoryScheduler, Worker, WorkerConfig
from zart.clock import instant
from zart.http.feeds import GAP_PATIENCE, History, News, Overview, Place
from zart.http.limits import Limits
from zart.http.views import turn_of
from zart.ids import SystemRandomness
from zart.records import History as Past
from zart.records import StepRecord
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing import FakeClock

QUICK_WORKER = WorkerConfig(poll_interval="20ms", park_after="1ms")


def events_of(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.replace("\r\n", "\n").split("\n\n") if "event: " in block]
    return [dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")) for block in blocks]


async def done(spoken, key="p-1"):
    """Have one pipeline done."""
    body = {"task": "pipeline", "data": {"dataset": "a", "rows": 2}, "idempotency_key": key}
    await spoken.operator.post(f"{V1}/executions", json=body)
    await spoken.operator.post(f"{V1}/events/{key}/approval", json={"approved": True})
    return (await spoken.reader.get(f"{V1}/executions/{key}/wait?timeout=30")).json()


async def test_a_stream_tells_everything_in_order_to_the_end(spoken):
    ended = await done(spoken)
    events = events_of((await spoken.reader.get(f"{V1}/executions/p-1/stream")).text)
    turns = [json.loads(event["data"]) for event in events[:-1]]
    assert [event["event"] for event in events] == ["step"] * len(turns) + ["end"]
    assert [turn["turn"] for turn in turns] == [int(event["id"]) for event in events[:-1]] == sorted(t["turn"] for t in turns)
    outcomes = [(turn["name"], turn["result"]) for turn in turns if turn["phase"] == "outcome"]
    assert outcomes == [("extract", 2), ("await-approval", {"approved": True}), ("load", 4)]
    assert json.loads(events[-1]["data"]) == ended


async def test_a_stream_goes_on_after_the_last_event_that_was_read(spoken):
    await done(spoken)
    path = f"{V1}/executions/p-1/stream"
    whole = events_of((await spoken.reader.get(path)).text)
    for place, event in enumerate(whole[:-1]):
        rest = events_of((await spoken.reader.get(path, headers={"last-event-id": event["id"]})).text)
        assert rest == whole[place + 1 :]
    again = await spoken.reader.get(path, headers={"last-event-id": whole[-1]["id"]})
    assert (again.status_code, again.content) == (204, b"")  # which tells a browser not to come back


async def test_a_stream_stays_with_its_run(spoken):
    await done(spoken)
    body = {"task": "pipeline", "data": {"dataset": "a", "rows": 9}, "idempotency_key": "p-1", "reuse": "ended"}
    assert (await spoken.operator.post(f"{V1}/executions", json=body)).json()["run"] == 2
    path = f"{V1}/executions/p-1/stream"
    first = events_of((await spoken.reader.get(path, headers={"last-event-id": "1"})).text)
    assert json.loads(first[-1]["data"])["run"] == 1
    await spoken.operator.post(f"{V1}/executions/p-1/cancel")
    second = events_of((await spoken.reader.get(path)).text)
    assert json.loads(second[-1]["data"])["run"] == 2
    assert all(event["id"].startswith("2:") for event in second)


@pytest.mark.parametrize("place", ["x", "1:2:3", "0:1", "-", ":", "1:"])
async def test_a_place_that_was_never_given_is_refused(idle, place):
    await idle.operator.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": "a"})
    answer = await idle.reader.get(f"{V1}/executions/a/stream", headers={"last-event-id": place})
    assert answer.status_code == 422


def test_places_come_back_as_they_were_given():
    for run, turn in ((1, 7), (3, 7)):
        assert Place.parse(Place.text(run, turn)) == Place(run, turn)
    assert Place.parse(Place.text(1, "end")) == Place(1, 0, ended=True)


async def test_failures_and_retries_are_told(spoken):
    await spoken.operator.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": "f"})
    await spoken.reader.get(f"{V1}/executions/f/wait?timeout=30")
    turns = [json.loads(event["data"]) for event in events_of((await spoken.reader.get(f"{V1}/executions/f/stream")).text)]
    assert (turns[0]["name"], turns[0]["ok"], turns[0]["error"]) == ("break", False, "LookupError: no such table")
    assert turns[-1]["status"] == "failed"


@pytest.mark.parametrize(
    ("record", "result", "error"),
    [
        (
            StepRecord(1, "", StepKind.BODY, Phase.ATTEMPT, False, '{"reopened": 5}'),
            None,
            "no list of places as 'reopened'",
        ),
        (StepRecord(1, "pack", StepKind.STEP, Phase.OUTCOME, True, "no JSON"), "not JSON", None),
        (StepRecord(1, "pack", StepKind.STEP, Phase.OUTCOME, True, "zart-sealed:1:k:x"), "sealed", None),
    ],
)
def test_a_line_that_cannot_be_read_says_so_and_ends_no_stream(record, result, error):
    turn = turn_of(record, Past([record], []))
    assert (result or "") in str(turn.result)
    assert (turn.error is None) is (error is None)
    assert (error or "") in (turn.error or "")


class Lines(InMemoryScheduler):
    """A storage whose history is whatever the test says."""

    def __init__(self, execution):
        super().__init__()
        self.execution = execution
        self.seqs: list[int] = []
        self.looked = asyncio.Event()

    async def get(self, *_):
        return self.execution

    async def wait(self, *_):
        await asyncio.sleep(0)

    async def history(self, *_):
        self.looked.set()
        records = [
            StepRecord(seq, f"s{seq}", StepKind.STEP, Phase.OUTCOME, payload="1", at=instant(FakeClock().now()))
            for seq in self.seqs
        ]
        return type("H", (), {"steps": records, "mail": ()})


async def test_a_line_that_becomes_visible_later_is_waited_for_and_not_left_out(memory):
    client_ = DurableScheduler(memory)
    await client_.start("a", "x", None)
    execution = evolve(await memory.get("a"), status=ExecutionStatus.RUNNING)
    lines, clock = Lines(execution), FakeClock()
    following = History(DurableScheduler(lines), clock, 0.01).follow(execution, 0)

    async def looks(times=3):
        for _ in range(times):
            lines.looked.clear()
            await lines.looked.wait()

    lines.seqs = [1, 3]
    assert (await anext(following)).id == "1"
    coming = asyncio.ensure_future(anext(following))
    await looks()
    assert not coming.done()
    lines.seqs = [1, 2, 3]
    assert [(await coming).id, (await anext(following)).id] == ["2", "3"]
    lines.seqs = [1, 2, 3, 5]  # a number that stays unused
    coming = asyncio.ensure_future(anext(following))
    await looks()
    assert not coming.done()
    clock.advance(GAP_PATIENCE)
    assert (await coming).id == "5"
    await following.aclose()


# ---- all executions -----------------------------------------------------------------------------------------------


async def test_the_stream_of_all_begins_with_reset_tells_changes_and_resumes(memory):
    client_, clock = DurableScheduler(memory), FakeClock()
    overview = Overview(client_, clock, SystemRandomness(), 0.01)
    await client_.start("old", "x", None)
    reader = overview.follow(None)
    first = await anext(reader)
    assert (first.event, first.data) == ("reset", None)

    async def seen() -> News:
        coming = asyncio.ensure_future(anext(reader))
        while not coming.done():
            clock.advance(0.05)
            await asyncio.sleep(0)
        return coming.result()

    await client_.start("new", "x", None)
    started = await seen()
    assert (started.event, started.data.execution_id, started.data.status) == ("execution", "new", "pending")
    await client_.cancel("old")
    cancelled = await seen()
    assert (cancelled.data.execution_id, cancelled.data.status) == ("old", "cancelled")
    resumed = overview.follow(started.id)
    assert await anext(resumed) == cancelled
    strange = overview.follow("elsewhere:1")
    assert (await anext(strange)).event == "reset"
    for each in (resumed, strange):
        await each.aclose()
    assert overview._looking is not None
    await reader.aclose()
    assert overview._looking is None  # nobody reads, nobody looks
    late = overview.follow(cancelled.id)
    assert (await anext(late)).event == "reset"  # something may have changed meanwhile
    await late.aclose()


async def test_a_reader_that_fell_behind_is_told_to_list_again(memory):
    overview = Overview(DurableScheduler(memory), FakeClock(), SystemRandomness(), 0.01)
    reader = overview.follow(None)
    await anext(reader)
    for _ in range(1001):
        overview._board.tell("execution", None)
    assert (await anext(reader)).event == "reset"
    await reader.aclose()


async def test_a_fault_of_a_backend_leaves_no_reader_without_an_answer(memory, monkeypatch, caplog):
    client_ = DurableScheduler(memory)
    clock = FakeClock()
    reader = Overview(client_, clock, SystemRandomness(), 0.01).follow(None)
    find, faults = memory.find, iter([KeyError("fault"), None])

    async def faulty(query):
        if (fault := next(faults, None)) is not None:
            raise fault
        return await find(query)

    monkeypatch.setattr(memory, "find", faulty)
    assert (await anext(reader)).event == "reset"
    assert "could not look" in caplog.text
    coming = asyncio.ensure_future(anext(reader))
    while next(faults, "looked") != "looked":
        clock.advance(0.05)
        await asyncio.sleep(0)
    for number in range(10):  # one is new to whoever looks a second time
        await client_.start(f"new-{number}", "x", None)
        clock.advance(0.05)
        await asyncio.sleep(0)
    while not coming.done():
        clock.advance(0.05)
        await asyncio.sleep(0)
    assert coming.result().event == "execution"
    await reader.aclose()


async def test_an_ended_execution_that_left_the_newest_is_still_told(memory, monkeypatch):
    monkeypatch.setattr("zart.http.feeds._RECENT_WATCHED", 1)
    client_ = DurableScheduler(memory)
    await client_.start("old", "x", None)
    await client_.start("newest", "x", None)
    clock = FakeClock()
    reader = Overview(client_, clock, SystemRandomness(), 0.01).follow(None)
    await anext(reader)
    await client_.cancel("old")
    coming = asyncio.ensure_future(anext(reader))
    while not coming.done():
        clock.advance(0.05)
        await asyncio.sleep(0)
    assert (coming.result().data.execution_id, coming.result().data.status) == ("old", "cancelled")
    await reader.aclose()


# ---- over sockets -------------------------------------------------------------------------------------------------


async def test_a_stream_over_a_socket_follows_what_happens_and_ends_with_the_server(memory):
    async with speaking(memory) as spoken, serving(spoken.api) as served, Worker(memory, HANDLERS, QUICK_WORKER):
        body = {"task": "pipeline", "data": {"dataset": "a"}, "idempotency_key": "p"}
        await spoken.operator.post(f"{V1}/executions", json=body)
        lines: asyncio.Queue[str] = asyncio.Queue()
        headers = dict(spoken.reader.headers)

        async def read():
            path = f"{V1}/executions/p/stream"
            async with client(None, None, served.url) as reader, reader.stream("GET", path, headers=headers) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                async for line in answer.aiter_lines():
                    lines.put_nowait(line)

        reading = asyncio.ensure_future(read())
        while "extract" not in await lines.get():
            pass
        assert not reading.done()
        spoken.api.closing.set()
        await reading
        assert not spoken.api.gates._held


async def test_a_stream_is_ended_when_it_is_old(memory):
    async with speaking(memory, limits=Limits(longest_stream=0.05, stream_gap=0.01)) as spoken:
        await spoken.operator.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": "a"})
        for path in ("executions/a/stream", "stream"):
            answer = await spoken.reader.get(f"{V1}/{path}")
            assert answer.status_code == 200
            assert "end" not in [event["event"] for event in events_of(answer.text)]
        assert not spoken.api.gates._held

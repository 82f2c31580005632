"""A storage behind a payload codec: it keeps the contract, shows nothing, and loses nothing for want of a key."""

import re
import sqlite3
from contextlib import closing

import pytest
from attrs import evolve
from sqlalchemy.ext.asyncio import create_async_engine

from zart import (
    DurableScheduler,
    InMemoryScheduler,
    NotSupported,
    SealedPayload,
    SqliteScheduler,
    StorageUnavailable,
    TaskContext,
    TaskHandler,
    connect,
)
from zart.clock import Clock
from zart.payloads import SEALED, place_of, seal
from zart.records import Commit, Demand, Event, Fate, Held, Move, NewExecution, StepRecord, WorkerBeat
from zart.scheduler import Storage, Transactional
from zart.schedulers.coded import PAUSE, coded
from zart.sealing import Sealed, new_key
from zart.status import ExecutionStatus, Phase, StepKind
from zart.submission import submit
from zart.testing import FakeClock, Harness
from zart.testing.contract import SchedulerContract
from zart.testing.contract.scene import LEASE

KEYS = {name: new_key() for name in ("k1", "k2")}
FIRST, SECOND, BOTH = Sealed({"k1": KEYS["k1"]}), Sealed({"k2": KEYS["k2"]}), Sealed({"k2": KEYS["k2"], "k1": KEYS["k1"]})
CANARY = "xyzzy-4711"


class TestCodedMemory(SchedulerContract):
    async def make(self, clock: Clock) -> Storage:
        return coded(InMemoryScheduler(clock=clock), FIRST)


class Flow(TaskHandler[str, str]):
    """Takes a secret, keeps one, waits for one, fails with one, and gives one back."""

    name = "flow"
    max_retries = 1
    raises = (KeyError,)

    def __init__(self) -> None:
        self.calls = 0
        self.broken = False

    async def run(self, ctx: TaskContext, data: str) -> str:
        self.calls += 1
        kept = await ctx.step("keep", self.keep, data)
        try:
            await ctx.step("stumble", self.stumble, data)
        except Exception:  # noqa: BLE001 # its text is what this is about
            self.calls += 0
        got = await ctx.wait_for_event("word", str)
        if self.broken:
            raise ValueError(f"broken {data}")
        return f"{kept} {got}"

    def keep(self, data: str) -> str:
        return f"kept {data}"

    def stumble(self, data: str) -> str:
        raise LookupError(f"stumbled over {data}")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "zart.db"


@pytest.fixture
def on(path):
    """Return a function that makes a harness on the one file, through a codec or through none."""

    def make(codec, handler=None, start=None):
        def storage(clock):
            plain = SqliteScheduler(path, clock=clock)
            return plain if codec is None else coded(plain, codec)

        return Harness([handler or Flow()], storage=storage, start=start)

    return make


def sql(path, statement, *arguments):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, arguments).fetchall()


def dump(path):
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


async def started(harness, execution_id="f-1", event=True):
    handle = await harness.client.start_for(Flow, execution_id, CANARY)
    await harness.run_to_idle()
    if event:
        await handle.send("word", CANARY)
    return handle


async def test_no_value_of_the_users_is_in_the_database(on, path):
    broken = Flow()
    broken.broken = True
    async with on(FIRST, broken) as harness:
        first = await started(harness)
        await harness.run_to_idle()  # the first attempt has failed, and says so in its reason
        assert CANARY in (await first.record()).reason
        await harness.advance("1h")
        record = await first.record()
        assert record.status == "failed"
        assert CANARY in record.reason
        assert CANARY in record.result["message"]
        broken.broken = False
        second = await started(harness, "f-2")
        assert await second.result("1s") == f"kept {CANARY} {CANARY}"
    assert CANARY not in dump(path)
    assert "f-1" in dump(path)
    for table, column in (
        *(("executions", each) for each in ("payload", "result", "reason")),
        *((table, "payload") for table in ("steps", "mail")),
    ):
        found = [text for (text,) in sql(path, f"SELECT {column} FROM zart_{table} WHERE {column} IS NOT NULL")]
        assert found, (table, column)
        assert all(text.startswith(f"{SEALED}1:k1:") for text in found), (table, column)


async def test_keys_rotate_while_an_execution_waits(on, path):
    async with on(FIRST) as harness:
        await started(harness, event=False)
        start = harness.clock.now()
    async with on(BOTH, start=start) as harness:
        handle = await started(harness, "f-2")
        await harness.run_to_idle()
        await harness.client.offer_event("f-1", "word", "late")
        await harness.run_to_idle()
        assert (await harness.client.status("f-1")).result == f"kept {CANARY} late"
        assert await handle.result("1s") == f"kept {CANARY} {CANARY}"
        start = harness.clock.now()
    async with on(SECOND, start=start) as harness:
        assert (await harness.client.status("f-2")).result == f"kept {CANARY} {CANARY}"
        record = await harness.client.status("f-1")
        assert record.result == f"kept {CANARY} late"  # saved by the second key
        assert "'k1', which is not among the known (k2)" in record.payload["sealed"]  # and this by the first


@pytest.mark.parametrize("other", [SECOND, None], ids=["another key", "no codec"])
async def test_a_worker_without_the_key_sets_an_execution_aside_and_one_with_it_goes_on(on, path, other):
    flow = Flow()
    async with on(FIRST, flow) as harness:
        await started(harness)
        assert flow.calls == 1
        start = harness.clock.now()
    before = sql(path, "SELECT * FROM zart_steps ORDER BY key, seq")
    async with on(other, flow, start=start) as harness:
        await harness.run_to_idle()
        await harness.advance("10m")
        record = await harness.client.status("f-1")
        assert (record.status, flow.calls) == ("waiting", 1)
        assert "k1" in record.reason
        start = harness.clock.now()
    assert sql(path, "SELECT * FROM zart_steps ORDER BY key, seq") == before
    async with on(FIRST, flow, start=start) as harness:
        await harness.advance(PAUSE / 1_000_000)
        assert await harness.client.wait_for(Flow, "f-1", "1s") == f"kept {CANARY} {CANARY}"
        assert flow.calls == 2


async def test_an_event_by_an_unknown_key_is_neither_passed_over_nor_lost(on, path):
    async with on(FIRST) as harness, coded(SqliteScheduler(path, clock=harness.clock), SECOND) as elsewhere:
        handle = await started(harness, event=False)
        await type(harness.client)(harness).offer_event("f-1", "other", "read by nobody")
        sender = type(harness.client)(harness)
        sender.scheduler = elsewhere
        await sender.offer_event("f-1", "word", CANARY)
        await harness.run_to_idle()
        await harness.advance("5m")
        record = await handle.record()
        assert record.status == "waiting"
        assert "event 'word' number 2 is sealed with key 'k2'" in record.reason
        start = harness.clock.now()
    async with on(BOTH, start=start) as harness:
        await harness.advance("1m")
        assert await harness.client.wait_for(Flow, "f-1", "1s") == f"kept {CANARY} {CANARY}"


class Patient(TaskHandler[str, str]):
    """Sends itself an event of another key while a step runs, beside a wait that times out."""

    name = "patient"

    def __init__(self) -> None:
        self.send = None

    async def run(self, ctx: TaskContext, data: str) -> str:
        await ctx.step("send", self.step)
        return str(await ctx.wait_for_event("word", str, timeout="1h"))

    async def step(self) -> None:
        await self.send()


async def test_an_event_by_an_unknown_key_that_comes_while_it_runs_ends_the_claim_and_not_the_execution(on, path):
    patient = Patient()
    async with on(FIRST, patient) as harness, coded(SqliteScheduler(path, clock=harness.clock), SECOND) as elsewhere:
        sender = type(harness.client)(harness)
        sender.scheduler = elsewhere

        async def send():
            await sender.offer_event("p-1", "word", CANARY)

        patient.send = send
        handle = await harness.client.start_for(Patient, "p-1", "")
        await harness.run_to_idle()
        await harness.advance("10m")
        record = await handle.record()
        assert (record.status, [step.name for step in record.steps if step.status == "completed"]) == ("waiting", ["send"])
        assert "event 'word' number 1 is sealed with key 'k2'" in record.reason
        start = harness.clock.now()
    async with on(BOTH, patient, start=start) as harness:
        await harness.advance("1m")
        assert await harness.client.wait_for(Patient, "p-1", "1s") == CANARY


async def held_with_mail(clock):
    """Return a storage with a claimed execution that has three letters, the second of another key, and the claim of it."""
    memory = InMemoryScheduler(clock=clock)
    storage, elsewhere = coded(memory, FIRST), coded(memory, SECOND)
    await storage.start([NewExecution("a", "task", "null", "s-1")])
    await storage.beat(WorkerBeat("w", LEASE, ("default",), ("task",), register=True))
    (claim,) = await storage.claim(Demand("w", ("default",), {"task": None}, 1))
    for number, sender in enumerate((storage, elsewhere, storage), 1):
        await sender.deliver([Event("a", "e", str(number), f"e-{number}")])
    return storage, claim


async def test_a_trace_is_no_payload_and_needs_no_key():
    memory = InMemoryScheduler(clock=FakeClock())
    await coded(memory, FIRST).start([NewExecution("a", "task", "null", "s-1", trace="kept")])
    await memory.beat(WorkerBeat("w", LEASE, ("default",), ("task",), register=True))
    (claim,) = await memory.claim(Demand("w", ("default",), {"task": None}, 1))
    assert claim.trace == "kept"
    assert claim.payload.startswith(SEALED)


class Refusing(InMemoryScheduler):
    """Takes no more commits."""

    async def commit(self, commits):
        raise StorageUnavailable("the server is gone; wait for it")


async def test_claims_are_handed_out_though_another_cannot_be_given_back(caplog):
    memory = Refusing(clock=FakeClock())
    for execution_id, codec in (("theirs", SECOND), ("ours", FIRST)):
        await coded(memory, codec).start([NewExecution(execution_id, "task", "null", execution_id)])
    storage = coded(memory, FIRST)
    await storage.beat(WorkerBeat("w", LEASE, ("default",), ("task",), register=True))
    claims = await storage.claim(Demand("w", ("default",), {"task": None}, 2))
    assert [each.token.execution_id for each in claims] == ["ours"]
    assert "not set aside yet, and lost to this worker with its next beats: theirs: the server is gone" in caplog.text


async def test_what_was_not_given_back_comes_back_with_the_next_beats():
    memory = InMemoryScheduler(clock=(clock := FakeClock()))
    await coded(memory, SECOND).start([NewExecution("theirs", "task", "null", "s-1")])
    storage = coded(memory, FIRST)
    beat = WorkerBeat("w", LEASE, ("default",), ("task",))
    await storage.beat(evolve(beat, register=True))
    refused, memory.commit = memory.commit, Refusing(clock=clock).commit
    assert await storage.claim(Demand("w", ("default",), {"task": None}, 1)) == []
    memory.commit = refused
    clock.advance(LEASE / 3)
    reply = await storage.beat(beat)
    await storage.beat(evolve(beat, held_at=reply.now))
    assert await storage.claim(Demand("w", ("default",), {"task": None}, 1)) == []
    assert (await memory.get("theirs")).reason.startswith("its input is sealed with key 'k2'")


async def test_a_beat_brings_mail_up_to_the_first_that_cannot_be_opened():
    storage, claim = await held_with_mail(FakeClock())
    reply = await storage.beat(WorkerBeat("w", LEASE, ("default",), ("task",), held=(Held(claim.token, 0),)))
    assert [letter.payload for letter in reply.mail[claim.token.key]] == ["1"]


async def test_a_commit_that_would_be_answered_with_mail_that_cannot_be_opened_ends_the_claim():
    """Otherwise a timeout would be withheld for mail that never comes, over and over."""
    storage, claim = await held_with_mail(FakeClock())
    timeout = StepRecord(1, "e", StepKind.EVENT, Phase.OUTCOME, ok=False, payload="late", seen=0)
    (answer,) = await storage.commit([Commit(claim.token, [timeout], 0)])
    assert (answer.fate, list(answer.mail)) == (Fate.LOST, [])
    found = await storage.get("a")
    assert (found.status, found.due_at) == ("waiting", claim.now + PAUSE)
    assert found.reason.startswith("event 'e' number 2 is sealed with key 'k2'")


async def test_a_move_is_answered_with_the_mail_that_can_be_opened():
    storage, claim = await held_with_mail(FakeClock())
    (answer,) = await storage.commit([Commit(claim.token, [], 0, Move(ExecutionStatus.COMPLETED, payload="1"))])
    assert (answer.fate, [letter.payload for letter in answer.mail]) == (Fate.APPLIED, ["1"])


SWAPS = {
    "inputs": "UPDATE zart_executions SET payload = (SELECT payload FROM zart_executions WHERE id = 'f-2') WHERE id = 'f-1'",
    "step results": (
        "UPDATE zart_steps SET payload = (SELECT s.payload FROM zart_steps s JOIN zart_executions e USING (key)"
        " WHERE e.id = 'f-2' AND s.seq = zart_steps.seq)"
        " WHERE name = 'keep' AND key = (SELECT key FROM zart_executions WHERE id = 'f-1')"
    ),
    "steps of one execution": (
        "UPDATE zart_steps SET payload = (SELECT payload FROM zart_steps s WHERE s.key = zart_steps.key AND s.name = 'stumble'"
        " AND s.phase = 'outcome') WHERE name = 'keep' AND key = (SELECT key FROM zart_executions WHERE id = 'f-1')"
    ),
    "success and failure": "UPDATE zart_steps SET ok = 1 - ok WHERE name = 'keep'",
    "names of steps": "UPDATE zart_steps SET name = 'charge' WHERE name = 'keep'",
    "events": (
        "UPDATE zart_mail SET payload = (SELECT m.payload FROM zart_mail m JOIN zart_executions e USING (key)"
        " WHERE e.id = 'f-2') WHERE key = (SELECT key FROM zart_executions WHERE id = 'f-1')"
    ),
    "an input for an event": (
        "UPDATE zart_mail SET payload = (SELECT payload FROM zart_executions WHERE id = 'f-1')"
        " WHERE key = (SELECT key FROM zart_executions WHERE id = 'f-1')"
    ),
    "plain text": "UPDATE zart_executions SET payload = '\"forged\"' WHERE id = 'f-1'",
}


@pytest.mark.parametrize("swap", SWAPS)
async def test_a_ciphertext_in_another_place_is_not_acted_upon(on, path, swap):
    flow = Flow()
    async with on(FIRST, flow) as harness:
        handles = [await started(harness, each, event=False) for each in ("f-1", "f-2")]
        for handle in handles:
            await handle.send("word", CANARY)
        start = harness.clock.now()
        calls = flow.calls
    sql(path, SWAPS[swap])
    async with on(FIRST, flow, start=start) as harness:
        await harness.advance("5m")
        record = await harness.client.status("f-1")
        assert record.status == "waiting"
        assert re.search("does not open with its key 'k1'|its input is not sealed", record.reason)
        assert flow.calls - calls <= 1  # the other one, if it was left alone


async def test_outputs_and_reasons_are_bound_to_their_place(on, path):
    async with on(FIRST) as harness:
        await started(harness, "f-1")
        await started(harness, "f-2")
        await harness.run_to_idle()
        sql(path, "UPDATE zart_executions SET result = (SELECT result FROM zart_executions WHERE id = 'f-2') WHERE id = 'f-1'")
        assert "does not open" in (await harness.client.status("f-1")).result["sealed"]
        with pytest.raises(SealedPayload, match="does not open"):
            await harness.client.wait_for(Flow, "f-1", "1s")
        sql(path, "UPDATE zart_executions SET status = 'failed', reason = 'in plain words' WHERE id = 'f-2'")
        record = await harness.client.status("f-2")
        assert "does not open" in record.result["message"]
        assert record.reason == "in plain words"
        elsewhere = seal(FIRST, "not yours", place_of("reason", "f-9", 1))
        sql(path, "UPDATE zart_executions SET reason = ? WHERE id = 'f-2'", elsewhere)
        assert (await harness.client.status("f-2")).reason.startswith("the reason does not open with its key 'k1'")


async def test_rows_from_before_encryption_are_read_only_if_that_is_allowed(on, path):
    async with on(None) as harness:
        await started(harness, event=False)
        start = harness.clock.now()
    async with on(FIRST, start=start) as harness:
        await harness.client.offer_event("f-1", "word", CANARY)
        await harness.run_to_idle()
        assert "its input is not sealed: whoever wrote it" in (await harness.client.status("f-1")).reason
        start = harness.clock.now()
    async with on(Sealed({"k1": KEYS["k1"]}, allow_plain=True), start=start) as harness:
        await harness.advance("1m")
        assert await harness.client.wait_for(Flow, "f-1", "1s") == f"kept {CANARY} {CANARY}"


async def test_an_event_of_a_client_without_the_codec_is_kept_and_the_reason_says_what_to_do(on, path):
    async with on(FIRST) as harness:
        await started(harness, event=False)
        async with SqliteScheduler(path, clock=harness.clock) as plain:
            await DurableScheduler(plain).offer_event("f-1", "word", "from afar")
        await harness.run_to_idle()
        record = await harness.client.status("f-1")
        assert (record.status, record.completed_at) == ("waiting", None)
        for said in ("event 'word' number 1 is not sealed", "ZART_PAYLOAD_ALLOW_PLAIN=1", "or cancel the execution"):
            assert said in record.reason
        start = harness.clock.now()
    async with on(Sealed({"k1": KEYS["k1"]}, allow_plain=True), start=start) as harness:
        await harness.advance("1m")
        # It was acknowledged, so it is not lost.
        assert await harness.client.wait_for(Flow, "f-1", "1s") == f"kept {CANARY} from afar"


async def test_who_looks_without_a_key_sees_what_is_no_secret(on, path):
    async with on(FIRST) as harness:
        await started(harness, "f-1")
        await harness.run_to_idle()
        start = harness.clock.now()
    for codec, said in ((None, "is sealed (1:k1) and there is no payload codec here; give connect"), (SECOND, "key 'k1'")):
        async with on(codec, start=start) as harness:
            (record,) = await harness.client.list_executions(steps=True)
            assert (record.execution_id, record.status, [step.name for step in record.steps]) == (
                *("f-1", "completed"),
                ["keep", "stumble", "word"],
            )
            for shown in (record.payload, record.result, record.steps[0].result):
                assert said in shown["sealed"]
            assert said in record.steps[1].error
            with pytest.raises(SealedPayload, match="sealed"):
                await harness.client.wait_for(Flow, "f-1", "1s")
            with pytest.raises(SealedPayload, match="the data that it was started with is sealed"):
                await submit(harness.client, "f-1", "flow", CANARY)


async def test_the_same_submission_is_found_again(on):
    async with on(FIRST) as harness:
        await submit(harness.client, "f-1", "flow", CANARY)
        assert (await submit(harness.client, "f-1", "flow", CANARY)).repeated


class Rot13:
    """A codec of somebody's own, which fails if it is told to."""

    allow_plain = False
    fails: type[BaseException] | None = None

    def seal(self, text: str, place: str) -> str:
        return text[::-1]

    def open(self, sealed: str, place: str) -> str:
        if self.fails is not None:
            raise self.fails(f"cannot read {sealed[::-1]}")
        return sealed[::-1]


async def test_a_codec_that_fails_changes_no_outcome_and_tells_no_secret(on, path):
    codec, flow = Rot13(), Flow()
    async with on(codec, flow) as harness:
        await started(harness)
        codec.fails = OSError
        await harness.advance("5m")
        codec.fails = None
        record = await harness.client.status("f-1")
        assert record.status == "waiting"
        assert record.reason == "its input could not be opened: the payload codec failed with OSError; mend it"
        await harness.advance("1m")
        assert await harness.client.wait_for(Flow, "f-1", "1s") == f"kept {CANARY} {CANARY}"


class Writes(TaskHandler[str, str]):
    name = "writes"

    async def run(self, ctx: TaskContext, data: str) -> str:
        return await ctx.transaction("write", self.write, data)

    async def write(self, connection, data: str) -> str:
        return data


async def test_transactions_and_starts_within_them_are_sealed_too(on, path):
    async with on(FIRST, Writes()) as harness:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        try:
            async with engine.begin() as connection:
                await harness.client.start_in(connection, "w-1", "writes", CANARY)
        finally:
            await engine.dispose()
        assert await harness.client.wait_for(Writes, "w-1", "1s") == CANARY
    assert CANARY not in dump(path)


def test_connect_wraps_only_what_asks_for_it(tmp_path):
    url = f"sqlite:///{tmp_path / 'zart.db'}"
    assert isinstance(connect(url), SqliteScheduler)
    assert repr(connect(url, payload_codec=FIRST)).endswith("through Sealed(k1)>")
    assert isinstance(connect(url, payload_codec=FIRST), Transactional)
    assert not isinstance(connect("memory://", payload_codec=FIRST), Transactional)


async def test_how_much_is_due_is_asked_of_the_storage():
    class Unknowing(InMemoryScheduler):
        backlog = None

    async with coded(InMemoryScheduler(), FIRST) as storage:
        assert (await storage.backlog()).due == 0
    wrapped = coded(InMemoryScheduler(), FIRST)
    wrapped.storage = object()
    with pytest.raises(NotSupported, match="does not say"):
        await wrapped.backlog()


BYTES = "CAST(x'22ff22' AS TEXT)"


async def test_a_damaged_input_is_said_to_be_damaged_and_not_to_be_plain(on, path):
    async with on(FIRST) as h:
        await h.client.start("a", "flow", CANARY)
        sql(path, f"UPDATE zart_executions SET payload = {BYTES}")
        await h.run_to_idle()
        record = await h.client.status("a")
    assert record.status is ExecutionStatus.WAITING
    assert "its input: " in record.reason
    assert "codec can't decode byte 0xff" in record.reason
    assert "sealed" not in record.reason
    assert "the input cannot be read: " in record.payload["damaged"]


async def test_a_damaged_event_is_set_aside_by_its_wait_as_without_a_codec(on, path):
    async with on(FIRST) as h:
        await h.client.start("a", "flow", CANARY)
        await h.run_to_idle()
        await h.client.offer_event("a", "word", "bad")
        sql(path, f"UPDATE zart_mail SET payload = {BYTES}")
        await h.run_to_idle()
        assert "number 1 was set aside by wait 'word'" in (await h.client.status("a")).reason
        await h.client.offer_event("a", "word", "good")
        assert await h.client.wait_completion_with_timeout("a", str, "1s") == f"kept {CANARY} good"

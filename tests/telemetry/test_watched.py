"""What watchers are told, when, and that nothing they do changes what happens."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve
from sqlalchemy import text

import zart
from tests.telemetry.conftest import Broken, Order
from zart import InMemoryScheduler, NotSupported, SqliteScheduler, StorageUnavailable, TaskContext, TaskHandler, Worker
from zart.observe import Unobserved
from zart.records import Commit, Committed, Fate, Move, StepRecord
from zart.scheduler import Queued, Scheduler, Transactional
from zart.status import ExecutionStatus, Phase, StepKind
from zart.telemetry import Metrics, Traces, Watched, Watcher, watched
from zart.testing import FakeClock

ROOT = Path(zart.__file__).parents[1]


class Notes(Watcher):
    def __init__(self):
        self.told = []

    def __getattribute__(self, name):
        if name in {"claimed", "committing", "committed", "let_go", "started", "opened"}:
            told = object.__getattribute__(self, "told")
            return lambda *about: told.append((name, about))
        return object.__getattribute__(self, name)

    def moves(self):
        return [about[1] and about[1].status for name, about in self.told if name == "let_go"]


class Failing(Watcher):
    def claimed(self, holdings, seconds):
        raise RuntimeError("a watcher's own fault")

    committing = committed = let_go = started = delivered = claimed


async def test_a_watcher_that_fails_changes_nothing_and_the_next_one_is_told(watch, caplog):
    notes = Notes()
    async with watch(Broken(), Order(), watchers=(Failing(), notes)) as h:
        handle = await h.client.start("b", "broken")
        await h.run_to_idle()
        assert (await handle.record()).status == "failed"
    assert notes.moves() == [ExecutionStatus.FAILED]
    assert "Failing could not take what it was told" in caplog.text


class Unread(InMemoryScheduler):
    """Executions whose ids begin with x cannot be read; it counts who asks."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    async def get(self, execution_id, run=None):
        self.reads += 1
        if execution_id.startswith("x"):
            raise StorageUnavailable("the server is gone; wait for it")
        return await super().get(execution_id, run)


class Cancellations(Watcher):
    def __init__(self):
        self.told = []

    def cancelled(self, executions):
        self.told.append([each.id for each in executions])


async def test_a_cancel_that_was_done_is_no_error_when_it_cannot_be_told(caplog):
    watcher = Cancellations()
    async with watched(Unread(), watcher) as storage:
        client = zart.DurableScheduler(storage)
        for each in ("a", "x", "b"):
            await client.start(each, "order", "A")
        assert await client.cancel("x") is True
        assert await client.cancel("x") is False
        assert set(await storage.cancel(["a", "b", "x"])) == {"a", "b", "x"}
    assert watcher.told == [[], ["a", "b"]]
    assert "execution x was cancelled, and watchers are not told: the server is gone" in caplog.text


async def test_what_was_cancelled_is_read_only_for_who_wants_to_know():
    async with watched(unread := Unread(), Failing()) as storage:
        client = zart.DurableScheduler(storage)
        await client.start("a", "order", "A")
        assert await client.cancel("a")
    assert unread.reads == 0


async def test_claims_end_with_a_move_or_as_lost(watch):
    notes = Notes()
    async with watch(Order(), watchers=(notes,)) as h:
        await h.client.start("o-1", "order", "A")
        await h.client.start("o-2", "order", "B")
        await h.worker.claim_due()
        await h.client.cancel("o-2")
        await h.run_to_idle()
    assert sorted(notes.moves(), key=str) == [None, ExecutionStatus.WAITING]


async def test_only_what_storage_has_taken_ends_a_claim(watch):
    notes = Notes()
    async with watch(Order(), watchers=(notes,)) as h:
        await h.client.start("o", "order", "A")
        await h.worker.claim_due()
        (holding,) = next(about[0] for name, about in notes.told if name == "claimed" and about[0])
        h.worker.abandon()
        commit = Commit(holding.claim.token, [], 0, Move(ExecutionStatus.COMPLETED, payload="1"))
        watched_ = h.scheduler
        watched_._saved([commit], [Committed(Fate.BUSY)], 0.0)
        assert notes.moves() == []
        older = evolve(holding.claim.token, fence=holding.claim.token.fence - 1)
        watched_._saved([Commit(older, [], 0, commit.move)], [Committed()], 0.0)
        assert notes.moves() == []
        watched_._saved([commit], [Committed(Fate.LOST)], 0.0)
        assert notes.moves() == [None]


def test_what_was_withheld_or_only_begun_is_no_step():
    metrics = Metrics()
    records = [
        StepRecord(1, "opened", StepKind.STEP, Phase.OPENED),
        StepRecord(2, "withheld", StepKind.STEP, Phase.OUTCOME),
        StepRecord(3, "event", StepKind.EVENT, Phase.OUTCOME),
        StepRecord(4, "done", StepKind.STEP, Phase.OUTCOME),
    ]
    metrics._count_steps("t", Commit(None, records, 0), Committed(withheld=(2,)))
    told = [each for each in metrics.registry.collect() if each.name == "zart_steps"]
    assert [sample.labels["step_name"] for sample in told[0].samples if sample.name == "zart_steps_total"] == ["done"]


class Books(TaskHandler[bool, None]):
    """Writes to its own table in the transaction of its step."""

    name = "books"

    async def run(self, ctx: TaskContext, fails: bool) -> None:
        await ctx.transaction("book", self._book, fails, returns=int)

    async def _book(self, connection, fails):
        await connection.execute(text("CREATE TABLE IF NOT EXISTS books (n int)"))
        if fails:
            raise LookupError("no such book")
        return 1


async def test_a_step_in_a_transaction_is_told_when_that_has_been_committed(tmp_path):
    clock, metrics = FakeClock(), Metrics()
    storage = watched(SqliteScheduler(tmp_path / "zart.db"), metrics, clock=clock)
    await storage.migrate()
    async with storage, Worker(storage, [Books()]):
        client = zart.DurableScheduler(storage)
        await client.start("a", "books", False)
        await client.start("b", "books", True)
        assert (await client.wait("a", "20s")).status == "completed"
        assert (await client.wait("b", "20s")).status == "failed"
    count = metrics.registry.get_sample_value
    labels = {"task_name": "books", "step_name": "book"}
    assert count("zart_steps_total", {**labels, "status": "completed"}) == 1
    assert count("zart_steps_total", {**labels, "status": "failed"}) == 1


def test_a_watched_storage_can_do_what_the_other_can(tmp_path):
    memory, sqlite = watched(InMemoryScheduler()), watched(SqliteScheduler(tmp_path / "zart.db"))
    assert isinstance(memory, Scheduler)
    assert isinstance(memory, Queued)
    assert not isinstance(memory, Transactional)
    assert isinstance(sqlite, Transactional)


async def test_a_storage_that_does_not_say_what_is_due_is_told_so():
    storage = watched(InMemoryScheduler())
    storage.storage = object()
    with pytest.raises(NotSupported, match="how much is due"):
        await storage.backlog()


# ---- what it costs --------------------------------------------------------------------------------------------------


def test_who_is_not_watched_pays_nothing():
    storage = InMemoryScheduler()
    worker = Worker(storage, [Order()])
    assert type(worker.observer) is Unobserved
    assert worker.scheduler is storage
    traces = Traces()
    assert Worker(watched(storage, Metrics(), traces), [Order()]).observer is traces
    assert type(Worker(watched(storage, Metrics()), [Order()]).observer) is Unobserved


def test_nothing_of_it_is_imported_by_the_core():
    heavy = {"prometheus_client", "opentelemetry", "mcp", "zart.telemetry"}
    code = f"import sys, zart, zart.worker; print(*{heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=40)
    assert done.stdout.strip() == ""


async def test_opening_and_closing_are_passed_on(caplog):
    caplog.set_level(logging.DEBUG)
    notes = Notes()
    async with watched(InMemoryScheduler(), notes) as storage:
        assert isinstance(storage, Watched)
    assert [name for name, _ in notes.told] == ["opened"]

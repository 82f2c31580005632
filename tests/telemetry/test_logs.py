"""Log records: which execution they are about, and what they never say."""

import logging

import pytest

from tests.telemetry.conftest import Broken, Order
from zart import TaskContext, TaskHandler
from zart.telemetry import ExecutionFields
from zart.telemetry.logs import FIELDS

users = logging.getLogger("shop")


class Talks(TaskHandler[str, None]):
    """Logs in its body, and in a step on the loop and in a thread."""

    name = "talks"

    async def run(self, ctx: TaskContext, order: str) -> None:
        users.info("in the body")
        await ctx.step("in-loop", self._async_step)
        await ctx.step("in-thread", self._step)

    async def _async_step(self) -> None:
        users.info("on the loop")

    def _step(self) -> None:
        users.info("in a thread")


class Kept(logging.Handler):
    """Keeps records as a handler with the filter gets them."""

    def __init__(self):
        super().__init__()
        self.records = []
        self.addFilter(ExecutionFields())

    def emit(self, record):
        self.records.append(record)

    def fields(self, text):
        return next(tuple(getattr(record, name) for name in FIELDS) for record in self.records if text in record.getMessage())


@pytest.fixture
def kept():
    handler = Kept()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def test_what_users_log_says_where_it_was(watch, kept):
    async with watch(Talks()) as h:
        await h.client.start("t-1", "talks", "canary-payload")
        await h.run_to_idle()
    users.info("elsewhere")
    assert kept.fields("in the body") == ("t-1", "talks", None, 0)
    assert kept.fields("on the loop") == ("t-1", "talks", "in-loop", 0)
    assert kept.fields("in a thread") == ("t-1", "talks", "in-thread", 0)
    assert kept.fields("elsewhere") == (None, None, None, None)


async def test_zarts_own_records_say_what_they_are_about(watch, kept):
    async with watch(Broken(), Order()) as h:
        await h.client.start("b-1", "broken")
        await h.client.start("o-1", "order", "A")
        await h.client.start("o-2", "order", "A")
        await h.worker.claim_due()
        await h.client.cancel("o-2")
        await h.run_to_idle()
    assert kept.fields("execution b-1 is running") == ("b-1", "broken", None, 0)
    assert kept.fields("execution b-1 is failed") == ("b-1", "broken", None, 0)
    assert kept.fields("execution o-1 is waiting") == ("o-1", "order", None, 0)
    assert kept.fields("execution o-2 is no longer held") == ("o-2", "order", None, 0)


async def test_a_wait_past_the_deadline_names_its_step(watch, kept):
    class Short(TaskHandler[None, None]):
        name = "short"
        timeout = "10s"

        async def run(self, ctx: TaskContext, _: None) -> None:
            await ctx.sleep("too-long", "20s")

    async with watch(Short()) as h:
        await h.client.start("s", "short")
        await h.run_to_idle()
    assert kept.fields("would end after the execution's deadline")[:3] == ("s", "short", "too-long")


async def test_payloads_are_in_no_record(watch, kept):
    canary = "canary-payload-17"
    async with watch(Talks(), Order()) as h:
        await h.client.start("t", "talks", canary)
        handle = await h.client.start("o", "order", "A")
        await h.advance("10s")
        await handle.send("shipped", canary)
        assert await handle.result("1s") == canary
    ours = [record for record in kept.records if record.name.startswith("zart")]
    assert ours
    assert not any(canary in str(record.__dict__) + record.getMessage() for record in ours)


def test_what_a_record_already_says_is_left():
    record = logging.makeLogRecord({"execution_id": "e", "task": "t"})
    assert ExecutionFields().filter(record)
    assert [getattr(record, name) for name in FIELDS] == ["e", "t", None, None]

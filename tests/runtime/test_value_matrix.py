"""Every kind of value in every place where it crosses into storage: equal and of the same types, first run and replay.

The kinds and the comparison are those of the codec's own tests; here they go all the way, on every backend.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import zart
from tests.runtime.conftest import MakeHarness
from tests.unit.test_codec import HOSTILE, exact, nested, typed
from zart import ExecutionFailed, PayloadTooLarge, Step, TaskHandler, UndeclaredType, WorkerConfig, zart_durable
from zart.codec import codec_for
from zart.config import PAYLOAD_LIMIT
from zart.records import Event
from zart.testing import Harness

PLACES = ("input", "step", "thread", "capture", "event")
numbers = itertools.count()


class Kept:
    """A handler that lets one value cross everywhere, and what its passes have seen of it."""

    def __init__(self, declared: Any, value: Any) -> None:
        self.declared = declared
        self.value = value
        self.seen: list[dict[str, Any]] = []
        self.handler = self._handler(f"keeps-{next(numbers)}")

    def _handler(self, name: str) -> TaskHandler[Any, Any]:
        def give() -> Any:
            return self.value

        async def give_on_the_loop() -> Any:
            return self.value

        async def keeps(data: Any) -> Any:
            found = {"input": data, "step": await Step.of("step", give_on_the_loop, returns=self.declared)}
            found["thread"] = await Step.of("thread", give, returns=self.declared)
            found["capture"] = await zart.capture("capture", give, returns=self.declared)
            found["event"] = await zart.wait_for_event("event", self.declared)
            self.seen.append(found)
            await zart.sleep("nap", "1h")
            return found["step"]

        keeps.__annotations__ = {"data": self.declared, "return": self.declared}
        return zart_durable(name)(keeps)

    async def start(self, h: Harness) -> Any:
        """Start it, and send it the value as somebody does who knows what the wait expects."""
        handle = await h.client.start_for(self.handler, self.handler.name, self.value)
        await h.scheduler.deliver([Event(self.handler.name, "event", codec_for(self.declared).encode(self.value), "once")])
        return handle

    def check(self, output: Any) -> None:
        """See that the value was itself everywhere, on both passes."""
        wanted = exact(self.value)
        assert exact(output) == wanted, self.declared
        assert len(self.seen) == 2
        for found in self.seen:
            for place in PLACES:
                assert exact(found[place]) == wanted, (self.declared, place)


async def come_and_go(harness: MakeHarness, kept: list[Kept], **options: Any) -> None:
    async with harness(*(each.handler for each in kept), **options) as h:
        handles = [await each.start(h) for each in kept]
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        for each, handle in zip(kept, handles, strict=True):
            each.check(await handle.result("2h"))
            each.check(await h.client.wait_for(each.handler, each.handler.name, "1s"))


@pytest.mark.timeout(180)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate])
@given(data=st.data())
async def test_any_value_of_any_type_comes_back_from_everywhere(harness: MakeHarness, data: st.DataObject) -> None:
    kept = []
    for _ in range(8):
        declared, values = data.draw(typed())
        kept.append(Kept(declared, data.draw(values)))
    await come_and_go(harness, kept)


async def test_hostile_values_come_back_from_everywhere(harness: MakeHarness) -> None:
    await come_and_go(harness, [Kept(Any, value) for value in [*HOSTILE, nested(150, list), nested(150, dict)]])


# ---- time zones -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["America/Santiago", "Asia/Kathmandu"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let this process live elsewhere for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


async def test_times_come_back_wherever_the_process_lives(harness: MakeHarness, zone: str) -> None:
    assert time.tzname != ("UTC", "UTC")
    times = [
        datetime(2026, 4, 4, 23, 30),  # noqa: DTZ001 # naive values come back naive
        datetime(2026, 4, 4, 23, 30, fold=1),  # noqa: DTZ001 # in Santiago this hour comes twice
        datetime(2026, 9, 6, 0, 30),  # noqa: DTZ001 # and this one never
        datetime(2026, 4, 4, 23, 30, tzinfo=UTC),
        datetime(2026, 4, 4, 23, 30, fold=1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ]
    await come_and_go(harness, [Kept(datetime, value) for value in times])


async def test_instants_are_those_that_were_meant_wherever_the_process_lives(harness: MakeHarness, zone: str) -> None:
    @zart_durable()
    async def naps(until: datetime) -> list[datetime]:
        began = await zart.now("began")
        await zart.sleep_until("nap", until)
        return [began, await zart.now("ended")]

    async with harness(naps) as h:
        start = h.clock.now()
        nepal = timezone(timedelta(hours=5, minutes=45))
        until = (start + timedelta(hours=3)).astimezone(nepal)
        handle = await h.client.start_for(naps, f"naps-{zone}", until, at=(start + timedelta(hours=1)).astimezone(nepal))
        assert await handle.result("5h") == [start + timedelta(hours=1), start + timedelta(hours=3)]


# ---- what is refused ------------------------------------------------------------------------------------------------

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
UNSAVEABLE: dict[str, Callable[[], Any]] = {
    "an object": object,
    "a generator": lambda: (each for each in ()),
    "a lock": lambda: ENDLESS.__init__,
    "too deep": lambda: nested(100_000, list),
    "itself inside": lambda: ENDLESS,
    "a set, undeclared": lambda: {1, 2},
    "keys that are no text": lambda: {1: 2},
    "too large": lambda: "x" * (PAYLOAD_LIMIT + 1),
    "too large in bytes": lambda: "é" * (PAYLOAD_LIMIT // 2),
}
REFUSED = (UndeclaredType, PayloadTooLarge)


@zart_durable("polite")
async def polite() -> str:
    return "fine"


@pytest.mark.parametrize("kind", UNSAVEABLE)
async def test_what_cannot_be_saved_is_refused_everywhere_and_ends_no_worker(harness: MakeHarness, kind: str) -> None:
    make = UNSAVEABLE[kind]
    calls: list[str] = []

    def give() -> Any:
        calls.append(kind)
        return make()

    @zart_durable("gives")
    async def gives(data: Any) -> Any:
        seen = []
        for name, operation in (
            ("step", lambda: zart.z_step_with_retry("step", give, retries=3)),
            ("capture", lambda: zart.capture("capture", give)),
        ):
            try:
                await operation()
            except REFUSED as error:
                seen.append(f"{name} {type(error).__name__}")
        await zart.sleep("nap", "1h")
        passes.append(seen)
        return make()

    passes: list[list[str]] = []
    async with harness(gives, polite) as h:
        with pytest.raises(REFUSED, match="the data of execution 'gives'"):
            await h.client.start_for(gives, "gives", make())
        assert await h.client.list_executions() == []
        handle = await h.client.start_for(gives, "gives", None)
        if kind != "a set, undeclared":  # of an event the sender's own types are taken
            with pytest.raises((*REFUSED, TypeError)):
                await handle.send("e", make())
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result("2h")
        assert isinstance(failed.value.failure.error, REFUSED)
        assert "the result of execution 'gives'" in str(failed.value.failure.error)
        name = type(failed.value.failure.error).__name__
        assert passes == [[f"step {name}", f"capture {name}"]]
        assert calls == [kind] * 2  # the effect of a step whose result cannot be saved has happened; it is not repeated
        assert await h.client.start_and_wait_for(polite, "polite", None, "1s") == "fine"


@pytest.mark.parametrize("size", [999, 1000, 1001])
async def test_a_value_may_be_as_large_as_the_limit_and_no_larger(harness: MakeHarness, size: int) -> None:
    text = "x" * (size - 2)  # with its quotes

    @zart_durable("sized")
    async def sized() -> str:
        try:
            await zart.z_step("step", lambda: text)
        except PayloadTooLarge as error:
            return f"{error.size} of {error.limit}"
        return text

    async with harness(sized, config=WorkerConfig(park_after=0, payload_limit=1000)) as h:
        found = await h.client.start_and_wait_for(sized, "x", None, "1s")
    assert found == (text if size <= 1000 else "1001 of 1000")

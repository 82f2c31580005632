"""Spans: one trace for a run however often it is claimed, a span for each claim and step, and nothing secret in them."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry.conftest import Broken, Order
from zart import DurableScheduler, InMemoryScheduler, TaskContext, TaskHandler
from zart.records import NewExecution
from zart.telemetry import Traces, Watcher, watched


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans):
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(spans))
    yield made
    made.shutdown()


@pytest.fixture
def traces(provider):
    return Traces(provider)


@pytest.fixture
def starters():
    """The spans of another process: that of who starts, which has nothing in common with the workers' but the storage."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    yield made
    made.shutdown()


def named(spans, name):
    return [span for span in spans.get_finished_spans() if span.name == name]


def links(span):
    return [(each.context.trace_id, each.context.span_id, each.context.is_remote) for each in span.links]


def linked_to(span):
    context = span.get_span_context()
    return [(context.trace_id, context.span_id, True)]


def elsewhere(h, *watchers):
    """Return a client on the same storage that shares no watcher with the worker."""
    return DurableScheduler(watched(h.scheduler.storage, *watchers, clock=h.clock))


async def test_all_claims_of_a_run_are_one_trace_and_its_start_is_linked(watch, spans, traces):
    async with watch(Order(), watchers=(traces,)) as h:
        handle = await h.client.start("o-1", "order", "A7")
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        await h.advance("10s")
        await handle.send("shipped", "yes")
        await handle.result("1s")
    claims = named(spans, "execution order")
    root = traces.root("o-1", 1)
    assert [span.attributes["zart.status"] for span in claims] == ["waiting", "waiting", "completed"]
    assert [span.attributes["zart.resumed"] for span in claims] == [False, True, True]
    assert {span.context.trace_id for span in claims} == {root.trace_id}
    assert {span.parent.span_id for span in claims} == {root.span_id}
    (start,) = named(spans, "start order")
    assert start.kind is SpanKind.PRODUCER
    assert start.context.trace_id != root.trace_id
    assert start.links[0].context.trace_id == root.trace_id
    assert traces.traceparent("o-1") == f"00-{root.trace_id:032x}-{root.span_id:016x}-01"


async def test_each_call_of_a_step_is_a_span_of_its_claim(watch, spans, traces):
    async with watch(Order(), watchers=(traces,)) as h:
        await h.client.start("o-1", "order", "A7")
        await h.advance("10s")
    claims = {span.context.span_id for span in named(spans, "execution order")}
    (charged,) = named(spans, "step charge-{order}")
    assert charged.attributes["zart.step"] == "charge-A7"
    first, second = named(spans, "step pack")
    assert [first.attributes["zart.attempt"], second.attributes["zart.attempt"]] == [1, 2]
    assert [first.status.status_code, second.status.status_code] == [StatusCode.ERROR, StatusCode.UNSET]
    assert {charged.parent.span_id, first.parent.span_id, second.parent.span_id} <= claims


async def test_what_a_step_does_is_inside_of_its_span(watch, spans, traces, provider):
    tracer = provider.get_tracer("users")

    class Calls(TaskHandler[None, None]):
        name = "calls"

        async def run(self, ctx: TaskContext, _: None) -> None:
            await ctx.step("in-loop", self._call)
            await ctx.step("in-thread", self._call_in_thread)
            assert trace.get_current_span() is trace.INVALID_SPAN

        async def _call(self) -> None:
            tracer.start_span("outgoing").end()

        def _call_in_thread(self) -> None:
            tracer.start_span("outgoing").end()

    async with watch(Calls(), watchers=(traces,)) as h:
        handle = await h.client.start("c", "calls")
        await h.run_to_idle()
        assert (await handle.record()).status == "completed"
    steps = [named(spans, f"step {name}")[0].context.span_id for name in ("in-loop", "in-thread")]
    assert [span.parent.span_id for span in named(spans, "outgoing")] == steps


async def test_a_start_belongs_to_the_starters_trace(watch, spans, traces, provider):
    async with watch(Order(), watchers=(traces,)) as h:
        with provider.get_tracer("users").start_as_current_span("request") as request:
            await h.client.start("o-1", "order", "A7")
    (start,) = named(spans, "start order")
    assert start.context.trace_id == request.get_span_context().trace_id


async def test_errors_are_told_by_their_kind_and_no_value_enters_a_span(watch, spans, traces):
    async with watch(Broken(), watchers=(traces,)) as h:
        await h.client.start("b", "broken")
        await h.run_to_idle()
    (claim,) = named(spans, "execution broken")
    assert claim.status.status_code is StatusCode.ERROR
    assert named(spans, "step break")[0].status.status_code is StatusCode.ERROR
    assert not any("canary" in span.to_json() for span in spans.get_finished_spans())


async def test_a_lost_claim_ends_its_spans(watch, spans, traces):
    async with watch(Order(), watchers=(traces,)) as h:
        await h.client.start("o", "order", "A")
        await h.worker.claim_due()
        await h.client.cancel("o")
        await h.run_to_idle()
    assert [span.attributes["zart.status"] for span in named(spans, "execution order")] == ["lost"]
    assert not traces._open


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_a_run_is_traced_whole_or_not_at_all(spans, ratio):
    # An exporter's own sampler decides alike, wherever a run is claimed.
    traces, again = Traces(ratio=ratio), Traces(ratio=ratio)
    chosen = [traces.root(f"e-{number}", 1) for number in range(2000)]
    assert chosen == [again.root(f"e-{number}", 1) for number in range(2000)]
    assert sum(each.trace_flags.sampled for each in chosen) == pytest.approx(2000 * ratio, abs=100)
    assert len({each.trace_id for each in chosen}) == 2000


async def test_samplers_follow(watch, spans):
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.0)))
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with watch(Broken(), watchers=(Traces(provider, ratio=1.0),)) as h:
        await h.client.start("b", "broken")
        await h.run_to_idle()
    assert named(spans, "execution broken")
    spans.clear()
    async with watch(Broken(), watchers=(Traces(provider, ratio=0.0),)) as h:
        await h.client.start("c", "broken")
        await h.run_to_idle()
    assert not named(spans, "execution broken")
    provider.shutdown()


def test_a_ratio_is_one():
    with pytest.raises(ValueError, match="between 0 and 1"):
        Traces(ratio=2)


async def test_every_claim_is_linked_to_who_started_the_run_also_after_a_crash(watch, spans, traces, starters):
    async with watch(Order(), watchers=(traces,)) as h:
        with starters.get_tracer("users").start_as_current_span("request") as request:
            await elsewhere(h, Traces(starters)).start("o-1", "order", "A7")
        await h.worker.claim_due()
        await h.kill()
        await h.restart()
        await h.advance("10s")
        await h.client.offer_event("o-1", "shipped", "yes")
        await h.run_to_idle()
    claims = named(spans, "execution order")
    assert [span.attributes["zart.status"] for span in claims] == ["lost", "waiting", "waiting", "completed"]
    assert [links(span) for span in claims] == [linked_to(request)] * 4
    assert {span.context.trace_id for span in claims} == {traces.root("o-1", 1).trace_id}


async def test_each_of_many_starts_is_linked(watch, spans, traces, starters):
    async with watch(Broken(), watchers=(traces,)) as h:
        with starters.get_tracer("users").start_as_current_span("request") as request:
            await elsewhere(h, Traces(starters)).start_many([(f"b-{number}", "broken", None) for number in range(3)])
        await elsewhere(h, Traces(starters)).start("outside", "broken")
        await elsewhere(h).start("untold", "broken")
        await h.run_to_idle()
    found = {span.attributes["zart.execution_id"]: links(span) for span in named(spans, "execution broken")}
    assert found == {f"b-{number}": linked_to(request) for number in range(3)} | {"outside": [], "untold": []}


def test_outside_of_all_spans_there_is_no_trace(traces, provider):
    assert traces.current() is None
    with provider.get_tracer("users").start_as_current_span("request") as request:
        context = request.get_span_context()
        assert traces.current() == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert traces.current() is None


async def test_the_first_start_is_the_one_that_counts_and_each_run_has_its_own(watch, spans, traces, starters):
    async with watch(Broken(), watchers=(traces,)) as h:
        client, requests = elsewhere(h, Traces(starters)), []
        for key in ("first", "first", "next"):
            if key == "next":
                await h.run_to_idle()
            with starters.get_tracer("users").start_as_current_span("request") as request:
                requests.append(request)
                await client.start("b", "broken", start_key=key)
        await h.run_to_idle()
    assert [links(span) for span in named(spans, "execution broken")] == [linked_to(requests[0]), linked_to(requests[2])]


@pytest.mark.parametrize("watch", ["sqlite", "postgres"], indirect=True)
async def test_what_is_started_in_a_callers_transaction_is_linked(watch, spans, traces, starters):
    async with watch(Broken(), watchers=(traces,)) as h:
        client = elsewhere(h, Traces(starters))
        with starters.get_tracer("users").start_as_current_span("request") as request:
            async with h.scheduler.transaction(h.config.lease) as (connection, _):
                await client.start_in(connection, "b", "broken")
        await h.run_to_idle()
    (claim,) = named(spans, "execution broken")
    assert links(claim) == linked_to(request)


async def test_what_a_step_starts_is_linked_to_the_step(watch, spans, traces):
    class Starts(TaskHandler[None, None]):
        name = "starts"

        async def run(self, ctx: TaskContext, _: None) -> None:
            await ctx.step("hand-over", self._start)

        async def _start(self) -> None:
            await self.client.start("child", "broken")

    handler = Starts()
    async with watch(handler, Broken(), watchers=(traces,)) as h:
        handler.client = h.client
        await h.client.start("parent", "starts")
        await h.run_to_idle()
    (child,) = named(spans, "execution broken")
    assert links(child) == linked_to(named(spans, "step hand-over")[0])


@pytest.mark.parametrize("saved", ["", "x", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "x" * 255])
async def test_a_stored_trace_that_is_none_stops_nothing(watch, spans, traces, saved):
    async with watch(Broken(), watchers=(traces,)) as h:
        await h.scheduler.start([NewExecution("b", "broken", "null", "key", trace=saved)])
        await h.run_to_idle()
    assert [links(span) for span in named(spans, "execution broken")] == [[]]
    assert len(named(spans, "start broken")) == 1


async def test_what_says_no_trace_changes_nothing(watch, spans, traces, caplog):
    class Wrong(Watcher):
        def __init__(self, *told):
            self.told = told
            self.trace = self.tell

        def tell(self):
            (told,) = self.told
            return told

    async with watch(Broken(), watchers=(traces,)) as h:
        await elsewhere(h, Wrong()).start("raises", "broken")
        await elsewhere(h, Wrong("00-" + "f" * 10**6)).start("too long", "broken")
        await elsewhere(h, Wrong(b"00")).start("no text", "broken")
        await h.run_to_idle()
    assert [links(span) for span in named(spans, "execution broken")] == [[]] * 3
    assert "Wrong could not say under which trace something is started" in caplog.text


def test_the_first_watcher_that_knows_says_under_which_trace():
    class Says(Watcher):
        def __init__(self, told):
            self.trace = lambda: told

    storage = watched(InMemoryScheduler(), Watcher(), Says(None), Says("a"), Says("b"))
    assert storage.trace() == "a"
    assert watched(storage.storage, Watcher()).trace is None, "then a client asks nobody"
    assert DurableScheduler(storage.storage).trace is None


async def test_a_start_for_who_asks_from_outside_is_a_span_of_their_trace(watch, spans, traces, provider):
    told = f"00-{7:032x}-{8:016x}-01"
    async with watch(Order(), watchers=(traces,)) as h:
        client = DurableScheduler(h.scheduler, trace=lambda: told)
        await client.start("o-1", "order", "A7")
        with provider.get_tracer("users").start_as_current_span("request") as request:
            await client.start("o-2", "order", "A7")
    first, second = named(spans, "start order")
    assert (first.context.trace_id, first.parent.span_id) == (7, 8)
    assert second.parent.span_id == request.get_span_context().span_id

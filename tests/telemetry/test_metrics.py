"""What is measured: every metric of the table, on every backend, with labels that stay few."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.telemetry.conftest import Broken, Order, charge
from zart import InMemoryScheduler, StorageUnavailable, TaskContext, TaskHandler, zart_durable
from zart.observe import TEMPLATES
from zart.telemetry import Metrics, watched
from zart.telemetry.labels import MOST_STEPS, OTHER, StepLabels, plain
from zart.telemetry.metrics import BACKLOG_STAYS, LAG_GAP, METRICS, Kind
from zart.testing import FakeClock, Harness


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_an_execution_leaves_its_numbers(watch):
    metrics = Metrics()
    async with watch(Order(), watchers=(metrics,)) as h:
        handle = await h.client.start("o-1", "order", "A7")
        await h.run_to_idle()
        assert value(metrics, "zart_worker_parked_total", task_name="order") == 1  # between two attempts of a step
        await h.advance("10s")
        assert value(metrics, "zart_worker_running") == 0
        await handle.send("shipped", "yes")
        await handle.send("shipped", "again")
        assert await handle.result("1s") == "yes"
        await h.client.start("o-2", "order", "B9")
        await h.client.cancel("o-2")
    step = {"task_name": "order", "step_name": "charge-{order}"}
    packed = {"task_name": "order", "step_name": "pack"}
    assert value(metrics, "zart_steps_total", **step, status="completed") == 1
    assert value(metrics, "zart_steps_total", **packed, status="completed") == 1
    assert value(metrics, "zart_step_retries_total", **packed) == 1
    assert value(metrics, "zart_step_retries_total", **step) is None
    assert value(metrics, "zart_executions_total", task_name="order", status="completed") == 1
    assert value(metrics, "zart_executions_total", task_name="order", status="cancelled") == 1
    assert value(metrics, "zart_execution_duration_seconds_sum", task_name="order", status="completed") == pytest.approx(10)
    assert value(metrics, "zart_events_delivered_total", result="recorded") == 2
    assert value(metrics, "zart_claim_seconds_count") >= 3
    assert value(metrics, "zart_commit_seconds_count") == value(metrics, "zart_commit_batch_size_count") >= 4


async def test_a_failure_is_told_from_a_success(watch):
    metrics = Metrics()
    async with watch(Broken(), watchers=(metrics,)) as h:
        await h.client.start("b", "broken")
        await h.run_to_idle()
    assert value(metrics, "zart_executions_total", task_name="broken", status="failed") == 1
    assert value(metrics, "zart_steps_total", task_name="broken", step_name="break", status="failed") == 1
    assert value(metrics, "zart_executions_total", task_name="broken", status="completed") is None


async def test_what_is_due_is_asked_of_storage_and_not_at_every_look(watch):
    async with watch(Order()) as h:
        metrics = Metrics(clock=h.clock)
        assert b"zart_queue_depth 0.0" in await metrics.exposition(h.scheduler)
        for number in range(3):
            await h.client.start(f"o-{number}", "order", "A")
        await h.client.start("later", "order", "A", delay="1h")
        assert b"zart_queue_depth 0.0" in await metrics.exposition(h.scheduler)
        h.clock.advance(BACKLOG_STAYS + 1)
        shown = await metrics.exposition(h.scheduler)
        assert b"zart_queue_depth 3.0" in shown
        assert value(metrics, "zart_oldest_due_seconds") == pytest.approx(BACKLOG_STAYS + 1)


async def test_a_storage_that_does_not_answer_leaves_the_rest_to_be_read():
    clock = FakeClock()
    storage, metrics = InMemoryScheduler(clock=clock), Metrics(clock=clock)

    async def away():
        raise StorageUnavailable("postgres://user:canary@host is away")

    storage.backlog = away
    shown = await metrics.exposition(watched(storage, metrics))
    assert b"zart_queue_depth NaN" in shown
    assert b"zart_lease_lost_total 0.0" in shown


async def test_a_lost_lease_is_counted_and_what_it_held_let_go(watch):
    metrics = Metrics()

    class Stays(TaskHandler[None, None]):
        name = "stays"

        async def run(self, ctx: TaskContext, _: None) -> None:
            await ctx.sleep("long", "10ms")

    async with watch(Stays(), watchers=(metrics,)) as h:
        await h.client.start("s", "stays")
        await h.worker.claim_due()
        assert value(metrics, "zart_worker_running") == 1
        h.clock.advance(h.config.lease * 3)
        other = Harness([Stays()], storage=lambda _: h.scheduler)
        other.clock, other.worker = h.clock, h._new_worker()
        await other.worker.join()
        await other.worker.beat()
        await other.worker.beat()  # the first one only says that it is in time
        await h.worker.beat()
        await other.kill()
    assert value(metrics, "zart_lease_lost_total") == 1
    assert value(metrics, "zart_worker_running") == 0


async def test_the_lag_of_the_loop_is_measured_while_the_storage_is_open():
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    async with watched(InMemoryScheduler(clock=clock), metrics, clock=clock):
        clock.advance(LAG_GAP * 4)
        assert value(metrics, "zart_loop_lag_seconds_count") == 4
    clock.advance(LAG_GAP * 4)
    assert value(metrics, "zart_loop_lag_seconds_count") == 4


async def test_the_exposition_is_what_the_table_says():
    metrics = Metrics()
    told = (await metrics.exposition(InMemoryScheduler())).decode()
    families = {each.name: each for each in text_string_to_metric_families(told) if not each.name.endswith("_created")}
    assert set(families) == {each.name.removesuffix("_total") for each in METRICS}
    for each in METRICS:
        family = families[each.name.removesuffix("_total")]
        assert family.type == each.kind.value
        assert family.documentation == each.help
        assert (each.kind is Kind.COUNTER) == each.name.endswith("_total")


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("charge-A7", "charge-{order}"),
        ("charge-019b2c3d-1111-7abc-8def-0123456789ab", "charge-{order}"),
        ("pack", "pack"),
        ("pack-17", "pack-*"),
        ("mail ada@example.com", "mail *"),
        ("load 019b2c3d-1111-7abc-8def-0123456789ab", "load *"),
        ("hash-9f86d081884c7d65", "hash-*"),
        ("approval#2", "approval#*"),
    ],
)
def test_values_in_names_do_not_enter_labels(name, label):
    assert "charge-{order}" in TEMPLATES
    assert plain(name) == label


def test_a_template_of_values_alone_is_not_every_steps_name():
    TEMPLATES.add("{order}")
    try:
        assert plain("pack it up") == "pack it up"
    finally:
        TEMPLATES.discard("{order}")


def test_labels_of_one_task_stay_few():
    labels = StepLabels()
    seen = {labels.of("t", "".join("ab"[int(bit)] for bit in f"{number:010b}")) for number in range(1000)}
    assert len(seen) == MOST_STEPS + 1
    assert OTHER in seen
    assert labels.of("another", "x") == "x"
    assert labels.of("t", "aaaaaaaaaa") == "aaaaaaaaaa"  # who came first keeps its label


async def test_steps_of_functions_are_measured_too(watch):
    metrics = Metrics()

    @zart_durable("shop")
    async def shop(order: str) -> str:
        return await charge(order)

    async with watch(shop, watchers=(metrics,)) as h:
        for number in range(3):
            await h.client.start(f"s-{number}", "shop", f"order-{number}")
        await h.run_to_idle()
    assert value(metrics, "zart_steps_total", task_name="shop", step_name="charge-{order}", status="completed") == 3

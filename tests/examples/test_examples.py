"""The examples run, alone and under test, and what they say about the flights is true."""

import csv
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from statistics import fmean
from xml.etree import ElementTree as ET

import pytest

from examples import agents, checkout, data_pipeline, onboarding, saga
from examples.checkout import CardDeclined, Checkout, Order, Receipt, Shipment, Shop
from examples.data_pipeline import DATA, Approval, DataPipeline, Job, Rejected, Report
from examples.onboarding import Account, Onboarding, OnboardingData, Services, VerifyPayload
from zart import ExecutionFailed, StepFailure
from zart.testing import Harness, replay_check

EXAMPLES = DATA.parent
ADA = OnboardingData("ada@example.com")
SVG = "{http://www.w3.org/2000/svg}"


# ---- each one alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "last_words"),
    [
        ("onboarding.py", "is active: one mail, billing called three times, one activation"),
        ("checkout.py", "order-3 was declined: card 0000 is not valid"),
        ("data_pipeline.py", "16 carriers in"),
        ("agents.py", "10 calls were paid for, each once: plan, search, weather, calendar, write, write, search, write"),
        ("saga.py", "no car left, so 2 bookings were cancelled\n  book flight, book hotel, cancel hotel-1, cancel flight-1"),
    ],
)
def test_an_example_runs_alone_and_says_what_it_did(script, last_words, tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLES / script)]
    done = subprocess.run(command, cwd=tmp_path, env={"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert last_words in done.stdout


@pytest.mark.parametrize(
    ("module", "task"),
    [
        (onboarding, "onboarding"),
        (checkout, "checkout"),
        (data_pipeline, "data-pipeline"),
        (agents, "agent"),
        (saga, "trip"),
    ],
)
def test_an_example_has_a_registry_for_a_worker(module, task):
    assert task in module.registry


# ---- onboarding -----------------------------------------------------------------------------------------------------


async def test_onboarding_goes_on_when_the_click_comes_after_a_day():
    services = Services()
    async with Harness([Onboarding(services)]) as h:
        handle = await h.client.start_for(Onboarding, "o-1", ADA)
        await h.run_to_idle()
        assert [wait.name for wait in (await handle.record()).waiting_for] == ["email-verified"]
        await h.advance("24h")
        await handle.send("email-verified", VerifyPayload("t-1"))
        assert await handle.result("1s") == Account("customer of ada@example.com", active=True)
    assert services.calls[-1] == "activate customer of ada@example.com with t-1"


async def test_onboarding_waits_for_48_hours_and_not_a_minute_more():
    services = Services()
    async with Harness([Onboarding(services)]) as h:
        handle = await h.client.start_for(Onboarding, "o-1", ADA)
        await h.advance("47h59m")
        assert [wait.name for wait in (await handle.record()).waiting_for] == ["email-verified"]
        await h.advance("1m")
        assert await handle.result("1s") == Account("customer of ada@example.com", active=False)
    assert services.calls == ["mail ada@example.com", "bill ada@example.com", "close customer of ada@example.com"]


async def test_onboarding_asks_a_billing_service_that_is_down_again_and_sends_one_mail():
    services = Services(outages=2)
    async with Harness([Onboarding(services, patience="1h")]) as h:
        handle = await h.client.start_for(Onboarding, "o-1", ADA)
        await h.run_to_idle()
        assert services.calls == ["mail ada@example.com", "bill ada@example.com"]
        await h.advance("3h")  # an hour, then two
        assert services.calls == ["mail ada@example.com", *["bill ada@example.com"] * 3]
        billing = next(step for step in (await handle.record()).steps if step.name == "setup-billing")
    assert billing.attempts == 3
    assert len(billing.errors) == 2
    assert all("billing is down" in error for error in billing.errors)


async def test_onboarding_survives_a_crash_after_every_save():
    await replay_check(Onboarding(Services()), ADA, [("email-verified", VerifyPayload("t-1"))])


# ---- checkout -------------------------------------------------------------------------------------------------------


async def test_checkout_ends_with_the_parcel_on_its_way():
    shop = Shop()
    async with Harness([Checkout(shop)]) as h:
        handle = await h.client.start_for(Checkout, "c-1", Order("c-1", "4242", Decimal("19.90")))
        await handle.send("shipped", Shipment("PARCEL-1"))
        assert await handle.result("1s") == Receipt("c-1", Decimal("19.90"), "PARCEL-1")
    assert shop.charges == {"c-1": Decimal("19.90")}


@pytest.mark.parametrize("why", ["the warehouse reports it", "nobody reports anything for a day"])
async def test_checkout_gives_the_money_back_when_the_parcel_cannot_be_sent(why):
    shop = Shop()
    async with Harness([Checkout(shop)]) as h:
        handle = await h.client.start_for(Checkout, "c-2", Order("c-2", "4242", Decimal("5.00")))
        if why == "the warehouse reports it":
            await handle.send("shipped", Shipment(None))
        else:
            await h.advance("24h")
        assert await handle.result("1s") == Receipt("c-2", Decimal(0))
        names = [step.name for step in (await handle.record()).steps]
    assert shop.charges == {}
    assert names == ["charge", "receipt", "shipped", "refund", "apology"]


async def test_checkout_with_a_declined_card_fails_as_that_and_refunds_nothing():
    shop = Shop()
    async with Harness([Checkout(shop)]) as h:
        handle = await h.client.start_for(Checkout, "c-3", Order("c-3", "0000", Decimal("7.50")))
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result("1s")
        charge = (await handle.record()).steps[0]
    failure = failed.value.failure
    assert isinstance(failure, StepFailure)
    assert failure.step == "charge"
    assert isinstance(failure.error, CardDeclined)
    assert charge.attempts == 1  # a decision is not retried, whatever the policy
    assert shop.letters == []


@pytest.mark.parametrize("tracking", ["PARCEL-1", None])
async def test_checkout_survives_a_crash_after_every_save(tracking):
    order = Order("c-4", "4242", Decimal("1.00"))
    await replay_check(Checkout(Shop()), order, [("shipped", Shipment(tracking))])


# ---- the data pipeline ----------------------------------------------------------------------------------------------


def flights() -> list[dict[str, str]]:
    with (DATA / "flights-2013-01.csv").open(newline="") as file:
        return list(csv.DictReader(file))


async def report_on(job: Job) -> Report:
    async with Harness([DataPipeline(ask=lambda text: None)]) as h:
        handle = await h.client.start_for(DataPipeline, "p-1", job)
        await h.run_to_idle()
        assert [wait.name for wait in (await handle.record()).waiting_for] == ["await-approval"]
        assert not (job.folder / "delays.csv").exists()  # nothing is published before somebody has said yes
        await handle.send("approval", Approval(approved=True, by="alice"))
        return await handle.result("1s")


async def test_the_report_agrees_with_a_computation_of_its_own(tmp_path):
    report = await report_on(Job(folder=tmp_path))
    all_flights = flights()
    arrived = [flight for flight in all_flights if "NA" not in (flight["dep_delay"], flight["arr_delay"])]
    cancelled = [flight for flight in all_flights if flight["dep_delay"] == "NA"]
    assert (report.flights, report.cancelled, report.incomplete) == (26_398, 521, 85)
    assert len(arrived) == report.flights
    assert len(cancelled) == report.cancelled
    assert len(all_flights) == report.flights + report.cancelled + report.incomplete

    delays = defaultdict(list)
    for flight in arrived:
        delays[flight["carrier"]].append((float(flight["dep_delay"]), float(flight["arr_delay"])))
    with report.table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert report.rows_written == len(rows) == len(delays) == 16
    for row in rows:
        own = delays[row["carrier"]]
        assert int(row["flights"]) == len(own)
        assert float(row["departure"]) == pytest.approx(fmean(departure for departure, _ in own), abs=5e-4)
        assert float(row["arrival"]) == pytest.approx(fmean(arrival for _, arrival in own), abs=5e-4)
        assert float(row["late"]) == pytest.approx(fmean(arrival >= 15 for _, arrival in own), abs=5e-4)


async def test_the_chart_draws_what_the_table_says(tmp_path):
    report = await report_on(Job(folder=tmp_path))
    with report.table.open(newline="") as file:
        arrivals = sorted((float(row["arrival"]) for row in csv.DictReader(file)), reverse=True)
    drawing = ET.parse(report.chart).getroot()
    bars = [rect for rect in drawing.iter(f"{SVG}rect") if "x" in rect.attrib]
    texts = [text.text for text in drawing.iter(f"{SVG}text")]
    assert "Arrival delays of flights from New York" in texts
    assert any("in minutes" in text for text in texts)
    assert {"0", "20", "Virgin America (314)", "-15.3", "107.0"} <= set(texts)

    assert len(bars) == len(arrivals)
    scale = float(bars[0].get("width")) / arrivals[0]
    zero = float(bars[0].get("x"))
    _, _, width, height = map(float, drawing.get("viewBox").split())
    for bar, minutes in zip(bars, arrivals, strict=True):
        left, right = float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))
        assert right - left == pytest.approx(abs(minutes) * scale, abs=0.11)
        assert (left if minutes > 0 else right) == pytest.approx(zero, abs=0.11)
        assert 0 <= left <= right <= width
        assert 0 <= float(bar.get("y")) <= height


async def test_the_pipeline_saves_names_and_sums_and_never_the_rows(tmp_path):
    async with Harness([DataPipeline(ask=lambda text: None)]) as h:
        handle = await h.client.start_for(DataPipeline, "p-1", Job(folder=tmp_path))
        await h.run_to_idle()
        steps = (await handle.record()).steps
    assert len([step for step in steps if step.name.startswith("aggregate-")]) == 16
    assert all(len(json.dumps(step.result)) < 2_000 for step in steps)


async def test_the_pipeline_writes_nothing_when_somebody_says_no(tmp_path):
    async with Harness([DataPipeline(ask=lambda text: None)]) as h:
        handle = await h.client.start_for(DataPipeline, "p-1", Job(folder=tmp_path))
        await handle.send("approval", Approval(approved=False, by="bob"))
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result("1s")
    assert isinstance(failed.value.failure.error, Rejected)
    assert not (tmp_path / "delays.csv").exists()


async def test_the_pipeline_survives_a_crash_after_every_save(tmp_path):
    some = [flight for flight in flights() if flight["carrier"] in {"AS", "HA"}]
    with (tmp_path / "some.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(some[0]))
        table.writeheader()
        table.writerows(some)
    shutil.copy(DATA / "airlines.csv", tmp_path)
    handler = DataPipeline(source=tmp_path, ask=lambda text: None)
    await replay_check(handler, Job("some", tmp_path), [("approval", Approval(approved=True, by="alice"))])


# ---- the agent ------------------------------------------------------------------------------------------------------


@pytest.fixture
def paid(monkeypatch):
    """Return what the agent pays for."""
    paid = []
    monkeypatch.setattr(agents, "paid", paid)
    return paid


async def test_the_agent_asks_its_tools_side_by_side_and_then_a_person(paid):
    async with Harness([agents.agent]) as h:
        handle = await h.client.start_for(agents.agent, "a-1", "a trip")
        await h.run_to_idle()
        record = await handle.record()
        assert sorted(paid) == ["calendar", "plan", "search", "weather", "write"]
        assert [(step.name, step.status) for step in record.steps if step.name == "ask-calendar"] == [
            ("ask-calendar", "failed")
        ]
        assert [wait.name for wait in record.waiting_for] == ["approval"]
        await handle.send("approval", agents.SHORTER)
        await h.run_to_idle()
        assert [wait.name for wait in (await handle.record()).waiting_for] == ["approval#2"]
        await handle.send("approval", agents.GOOD)
        await handle.send("question", "the same question")
        await handle.send("question", "the same question")
        await h.advance("23h")
        assert [wait.name for wait in (await handle.record()).waiting_for] == ["question#3"]
        await h.advance("1h")
        assert await handle.result("1s") == [
            "draft 1 of 2 facts",
            "draft 2 of 2 facts but shorter",
            "draft 3 of 3 facts with the same question",
            "draft 4 of 4 facts with the same question",
        ]


async def test_the_agent_survives_a_crash_after_every_save(paid):
    record = await replay_check(agents.agent, "a trip", agents.EVENTS)
    assert len(record.result) == 4


# ---- the saga -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sold_out", "calls"),
    [
        ("", ["book flight", "book hotel", "book car"]),
        ("flight", []),
        ("hotel", ["book flight", "cancel flight-1"]),
        ("car", ["book flight", "book hotel", "cancel hotel-1", "cancel flight-1"]),
    ],
)
async def test_the_saga_cancels_what_was_booked_in_reverse_order_and_once(sold_out, calls):
    partners = saga.Partners(sold_out, outages=5)
    handler = saga.booking(partners)
    async with Harness([handler]) as h:
        handle = await h.client.start_for(handler, "s-1", saga.WISHES)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        said = await handle.result("1h")
    assert partners.calls == calls
    assert said == (
        f"no {sold_out} left, so {len(calls) // 2} bookings were cancelled" if sold_out else "booked: flight, hotel, car"
    )


@pytest.mark.parametrize("sold_out", ["", *saga.WISHES])
async def test_the_saga_survives_a_crash_after_every_save(sold_out):
    await replay_check(saga.booking(saga.Partners(sold_out)), saga.WISHES)

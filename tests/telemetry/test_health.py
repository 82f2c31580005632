"""Whether a worker gets at its work: what `/readyz` says, of a worker's own port and of an API beside it."""

import asyncio

import httpx2
import pytest
from attrs import field, frozen

from tests.http.conftest import READ, ended, speaking
from tests.telemetry.conftest import Order
from zart import InMemoryScheduler, StorageUnavailable, Worker, WorkerConfig
from zart.errors import WorkerNotAlive
from zart.guard import digests
from zart.telemetry import Health, Metrics, watched
from zart.telemetry.health import PATIENCE
from zart.telemetry.probes import Probes
from zart.testing import FakeClock, Harness


@frozen
class Mood:
    """How claims are answered, and whether one was that began in this mood."""

    error: Exception | None = None
    met: asyncio.Event = field(factory=asyncio.Event)


class Moody(InMemoryScheduler):
    """Answers claims only when it is in the mood."""

    def __init__(self):
        super().__init__()
        self.mood = Mood()

    async def claim(self, demand):
        mood = self.mood
        try:
            if mood.error is not None:
                raise mood.error
            return await super().claim(demand)
        finally:
            mood.met.set()

    async def becomes(self, error):
        """Change the mood; return when a claim has met with it."""
        self.mood = Mood(error)
        await self.mood.met.wait()


@pytest.fixture
def moody():
    return Moody()


# ---- what is known --------------------------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def health(clock):
    return Health(clock)


def test_without_a_worker_nothing_is_wrong(health, clock):
    clock.advance("1h")
    assert health.problem() is None


def test_a_worker_has_some_time_for_its_first_claim(health, clock):
    health.joined("w")
    clock.advance(PATIENCE)
    assert health.problem() is None
    clock.advance("1s")
    assert "worker w has waited 11 s" in health.problem()
    health.claiming("w")
    health.claimed("w")
    assert health.problem() is None


def test_a_worker_without_free_slots_is_well(health, clock):
    health.joined("w")
    health.claiming("w")
    health.claimed("w")
    clock.advance("1h")
    assert health.problem() is None


def test_a_claim_that_fails_or_hangs_is_told_until_one_succeeds(health, clock):
    health.joined("w")
    health.claiming("w")
    health.failed("w", StorageUnavailable("postgres://user:canary@host"))
    assert health.problem() == "the last claim of worker w failed: StorageUnavailable"
    health.claiming("w")
    assert health.problem() is not None
    health.claimed("w")
    assert health.problem() is None
    health.claiming("w")
    clock.advance(PATIENCE + 1)
    assert "has waited" in health.problem()


def test_a_fault_is_told_by_no_name(health):
    health.joined("w")
    health.failed("w", RuntimeError("canary"))
    assert health.problem() == "the last claim of worker w failed: a fault"


def test_whoever_is_gone_is_told_of_until_another_comes(health):
    health.joined("w")
    health.gone("w")
    assert "worker w is gone" in health.problem()
    health.claiming("w")
    health.claimed("w")
    assert "worker w is gone" in health.problem()
    health.joined("x")
    assert health.problem() is None


async def test_a_worker_declared_dead_is_gone(clock):
    async with Harness([Order()], storage=lambda clock: watched(InMemoryScheduler(clock=clock), clock=clock)) as h:
        await h.run_to_idle()
        assert h.scheduler.health.problem() is None
        first = h.worker
        h.clock.advance(h.config.lease * 3)
        with pytest.raises(WorkerNotAlive):
            await first.claim_due()
        assert "failed: WorkerNotAlive" in h.scheduler.health.problem()


# ---- on a worker's port ---------------------------------------------------------------------------------------------


async def asked(url, path, **options):
    async with httpx2.AsyncClient(base_url=url) as client:
        return await client.request(options.pop("method", "GET"), path, **options)


async def test_readyz_fails_while_claims_do_and_healthz_does_not(moody):
    storage = watched(moody, Metrics())
    config = WorkerConfig(poll_interval="20ms")
    async with storage, Worker(storage, [Order()], config), Probes(storage, storage.watchers[0]) as probes:
        await moody.becomes(None)
        assert (await asked(probes.url, "/readyz")).status_code == 200
        await moody.becomes(StorageUnavailable("postgres://user:canary@host does not answer"))
        answer = await asked(probes.url, "/readyz")
        assert answer.status_code == 503
        assert answer.text.endswith("failed: StorageUnavailable\n")
        assert (await asked(probes.url, "/healthz")).text == "ok\n"
        await moody.becomes(None)
        assert (await asked(probes.url, "/readyz")).status_code == 200
        shown = await asked(probes.url, "/metrics")
        assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "zart_claim_seconds_count" in shown.text


async def test_who_may_see_metrics():
    storage = watched(InMemoryScheduler(), Metrics())
    (metrics,) = storage.watchers
    token = {"authorization": f"Bearer {READ}"}
    async with Probes(storage, metrics) as near, Probes(storage, metrics, tokens=digests(READ)) as guarded:
        assert (await asked(near.url, "/metrics")).status_code == 200
        assert (await asked(guarded.url, "/metrics")).status_code == 401
        assert (await asked(guarded.url, "/metrics", headers={"authorization": f"Bearer {READ}x"})).status_code == 401
        assert (await asked(guarded.url, "/metrics", headers=token)).status_code == 200
        assert (await asked(guarded.url, "/readyz")).status_code == 200
    async with Probes(storage, metrics, host="0.0.0.0") as far:
        assert (await asked(far.url, "/metrics")).status_code == 401
        assert (await asked(far.url, "/healthz")).status_code == 200


async def test_what_else_is_asked_of_a_probe():
    storage = watched(InMemoryScheduler())
    async with Probes(storage, None) as probes:
        assert (await asked(probes.url, "/metrics")).status_code == 404
        assert (await asked(probes.url, "/")).status_code == 404
        assert (await asked(probes.url, "/healthz", method="POST")).status_code == 405
        head = await asked(probes.url, "/healthz?x=1", method="HEAD")
        assert (head.status_code, head.content) == (200, b"")


class Limiting(FakeClock):
    """Tells when somebody was given a time."""

    def __init__(self):
        super().__init__()
        self.given = asyncio.Event()

    def call_later(self, seconds, callback):
        timer = super().call_later(seconds, callback)
        self.given.set()
        return timer


@pytest.mark.parametrize(
    ("sent", "passes"), [(b"", "5s"), (b"GET /healthz", "5s"), (b"x" * 20_000, "0s")], ids=["nothing", "half", "too-much"]
)
async def test_who_asks_slowly_or_too_much_is_cut_off(sent, passes):
    clock = Limiting()
    async with Probes(watched(InMemoryScheduler()), None, clock=clock) as probes:
        host, port = probes.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        await clock.given.wait()
        clock.advance(passes)
        assert await ended(reader) == b""
        writer.close()


# ---- beside an API --------------------------------------------------------------------------------------------------


async def test_an_api_is_not_ready_while_the_worker_beside_it_is_not(moody):
    storage = watched(moody, Metrics())
    async with storage, speaking(storage) as spoken:
        assert (await spoken.stranger.get("/readyz")).status_code == 200  # no worker: nothing to fail
        async with Worker(storage, [Order()], WorkerConfig(poll_interval="20ms")):
            await moody.becomes(None)
            assert (await spoken.stranger.get("/readyz")).status_code == 200
            await moody.becomes(RuntimeError("canary"))
            answer = await spoken.stranger.get("/readyz")
            assert answer.status_code == 503
            assert (answer.json()["code"], answer.headers["retry-after"]) == ("not_ready", "5")
            assert "canary" not in answer.text
            await moody.becomes(None)
            assert (await spoken.stranger.get("/readyz")).status_code == 200


async def test_metrics_of_an_api_are_for_readers(memory):
    async with speaking(watched(memory, Metrics())) as spoken:
        assert (await spoken.stranger.get("/metrics")).status_code == 401
        shown = await spoken.reader.get("/metrics")
        assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "zart_queue_depth 0.0" in shown.text
    async with speaking(watched(memory)) as spoken:
        assert (await spoken.reader.get("/metrics")).json()["code"] == "no_such_path"
    async with speaking(memory) as spoken:
        assert (await spoken.reader.get("/metrics")).status_code == 404


@pytest.fixture
async def memory():
    async with InMemoryScheduler() as opened:
        yield opened

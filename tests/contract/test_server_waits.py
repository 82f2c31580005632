"""What a claim has seen is known to the wait after it, so that nobody is asked again; what changes meanwhile counts more."""

import asyncio
from datetime import timedelta

import pytest

from tests.contract.grounds import ground
from zart.clock import SECOND, instant
from zart.schedulers.sql.waits import Waits
from zart.schedulers.sqlite import SqliteScheduler
from zart.testing.contract.scene import LEASE, beat, crash, demand, new, register, returns

__all__ = ["ground"]

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ground", "due"),
    [(server, due) for server in ("postgres_server", "mariadb_server") for due in (0, 2)],
    indirect=["ground"],
)
async def test_a_claim_that_got_less_than_it_asked_for_need_not_be_followed_by_a_look(ground, due, clock, monkeypatch):
    async with ground.open() as scheduler:
        await register(scheduler)
        await scheduler.start([*(new(f"x{number}") for number in range(due)), new("later", delay=60 * SECOND)])
        assert len(await scheduler.claim(demand(limit=5))) == due
        asked = []
        kind = type(scheduler._connections)
        run = kind.run
        monkeypatch.setattr(kind, "run", lambda *given: asked.append(given) or run(*given))

        async def wait():
            await scheduler.wait(demand(limit=5), HOUR)

        waiting = asyncio.ensure_future(wait())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not asked
        assert not waiting.done()
        clock.advance(60)
        await returns(asyncio.wait_for(waiting, None))
        assert [each.token.execution_id for each in await scheduler.claim(demand(limit=5))] == ["later"]


@pytest.mark.parametrize("ground", ["postgres_server", "mariadb_server"], indirect=True)
async def test_a_claim_that_got_all_it_asked_for_is_followed_by_a_look(ground):
    async with ground.open() as scheduler:
        await register(scheduler)
        await scheduler.start([new("a"), new("b")])
        assert len(await scheduler.claim(demand(limit=1))) == 1
        await returns(scheduler.wait(demand(limit=1), HOUR))


@pytest.mark.parametrize("how", ["leaves", "is declared dead"])
@pytest.mark.parametrize("ground", ["postgres_server", "mariadb_server"], indirect=True)
async def test_a_worker_that_is_no_more_is_forgotten(ground, clock, how):
    async with ground.open() as scheduler:
        await forgets(scheduler, clock, how)


@pytest.mark.parametrize("how", ["leaves", "is declared dead"])
async def test_a_file_forgets_a_worker_that_is_no_more(tmp_path, clock, how):
    async with SqliteScheduler(tmp_path / "zart.db", clock=clock) as scheduler:
        await scheduler.migrate()
        await forgets(scheduler, clock, how)


async def forgets(scheduler, clock, how):
    waits = scheduler._waits
    known = [getattr(waits, name) for name in ("_untold", "_outlooks", "_told_news") if hasattr(waits, name)]
    await register(scheduler, lease=LEASE)
    assert await scheduler.claim(demand()) == []
    waits._told_news["w"] = 1
    assert all("w" in each for each in known)
    if how == "leaves":
        await scheduler.beat(beat(leaving=True))
    else:
        await crash(scheduler, clock, "w")
        assert not (await scheduler.beat(beat())).alive
    assert not any("w" in each for each in known)


class Told(Waits):
    """Is told what its storage answers; a look takes until the test lets it go."""

    def tell(self, *found):
        self.found, self.looks = list(found), []

    async def _find(self, demand):
        self.looks.append(asyncio.Event())
        await self.looks[-1].wait()
        return self.found[len(self.looks) - 1], 0

    async def _ended(self, ids):
        return []

    def _until(self, due_at):
        return due_at - instant(self._clock.now())

    def _attend(self, ids):
        """Do nothing."""


async def waiting(waits, *, looks):
    """Begin to wait, and return when so many looks have begun."""

    async def wait():
        await waits.wait(demand(), HOUR)

    task = asyncio.ensure_future(wait())
    await has_begun(waits, looks)
    return task


async def has_begun(waits, looks):
    async with asyncio.timeout(10):
        while len(waits.looks) < looks:
            await asyncio.sleep(0)


async def test_a_look_that_something_has_overtaken_is_not_trusted(clock):
    waits = Told(clock)
    waits.tell(None, instant(clock.now()))
    task = await waiting(waits, looks=1)
    waits._call_everybody()
    waits.looks[0].set()
    await has_begun(waits, 2)
    waits.looks[1].set()
    await returns(asyncio.wait_for(task, None))


async def test_a_wait_goes_by_the_time_that_a_look_has_told(clock):
    waits = Told(clock)
    waits.tell(instant(clock.now()) + 60 * SECOND)
    task = await waiting(waits, looks=1)
    waits.looks[0].set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    clock.advance(60)
    await returns(asyncio.wait_for(task, None))

"""While no synchronous standby answers, nobody is told that something is there: neither who writes it nor who says it again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.present import newest_postgres
from zart.clock import SystemClock
from zart.errors import StorageUnavailable
from zart.records import Claim, Commit, Delivery, Fate, Reuse
from zart.schedulers.postgres import PostgresScheduler
from zart.status import ExecutionStatus
from zart.testing.contract.scene import completed, event, new, outcome, read, running

STANDBYS = "synchronous_standby_names"
CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
NOBODY_WAITS = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')"


class Followed(PostgresServer):
    """A server that may be told to wait for a standby that never comes."""

    def __init__(self) -> None:
        super().__init__(newest_postgres())

    def begin_again(self, standbys: str) -> None:
        """Start it once more, with these standbys."""
        self.stop()
        self._options[STANDBYS] = standbys
        self.start()

    @asynccontextmanager
    async def open(self, timeout: str) -> AsyncIterator[PostgresScheduler]:
        async with PostgresScheduler(self.dsn, timeout=timeout, listen=False, clock=SystemClock()) as scheduler:
            yield scheduler


@pytest.fixture
def server() -> Iterator[Followed]:
    with Followed() as server:
        yield server


Call = Callable[[PostgresScheduler, Sequence[Claim]], Awaitable[Any]]


async def starts(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    (answer,) = await scheduler.start([new("n", start_key="k")])
    return answer.accepted, answer.run


async def starts_with_others(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    """Some of them are there, and the others are opened."""
    answers = await scheduler.start([new("m", start_key="k"), new("c", start_key="k", reuse=Reuse.NEVER)])
    return [each.accepted for each in answers]


async def starts_what_is_taken(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    (answer,) = await scheduler.start([new("n", start_key="mine", reuse=Reuse.NEVER)])
    return answer.accepted


async def offers(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    return await scheduler.deliver([event("a")])


async def offers_two(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    return await scheduler.deliver([event("b", "e1"), event("b", "e2")])


async def saves(scheduler: PostgresScheduler, claims: Sequence[Claim]) -> Any:
    return [each.fate for each in await scheduler.commit([Commit(claims[0].token, [outcome(1)], 9)])]


async def moves(scheduler: PostgresScheduler, claims: Sequence[Claim]) -> Any:
    return [each.fate for each in await scheduler.commit([Commit(claims[1].token, [outcome(1)], 9, completed())])]


async def ends(scheduler: PostgresScheduler, claims: Sequence[Claim]) -> Any:
    return [each.fate for each in await scheduler.commit([Commit(claims[2].token, [], 9, completed())])]


async def offers_to_what_has_ended(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    return await scheduler.deliver([event("b", "e1")])


async def cancels(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    return (await scheduler.cancel(["d"]))["d"]


async def remembers(scheduler: PostgresScheduler, _: Sequence[Claim]) -> Any:
    return await scheduler.remember("shards", "three")


CALLS: list[tuple[Call, Any]] = [
    (starts, (True, 1)),
    (starts_what_is_taken, False),
    (starts_with_others, [True, False]),
    (offers, [Delivery.DUPLICATE]),
    (offers_two, [Delivery.DUPLICATE, Delivery.DUPLICATE]),
    (saves, [Fate.APPLIED]),
    (moves, [Fate.APPLIED]),
    (ends, [Fate.APPLIED]),
    (offers_to_what_has_ended, [Delivery.DUPLICATE]),
    (cancels, (ExecutionStatus.CANCELLED, False)),
    (remembers, "three"),
]


async def test_rule_10_what_no_standby_has_is_not_acknowledged_when_it_is_said_again(
    server: Followed, until: Callable[..., Awaitable[Any]]
) -> None:
    async with server.open("10s") as scheduler:
        await scheduler.migrate()
        claims = await running(scheduler, "a", "b", "c", "d")
    server.begin_again("nobody")
    session = await asyncpg.connect(server.dsn)
    async with server.open("500ms") as scheduler:
        for call, _ in CALLS:
            for _ in range(2):  # it is there with the first, whose client gave up
                with pytest.raises(StorageUnavailable):
                    await call(scheduler, claims)
                await session.execute(CANCEL)
                await until(session, NOBODY_WAITS)
        assert (await read(scheduler, "n")).status is ExecutionStatus.PENDING, "to look at it waits for nobody"
    session.terminate()
    server.begin_again("")
    async with server.open("10s") as scheduler:
        for call, said in CALLS:
            assert await call(scheduler, claims) == said, call.__name__

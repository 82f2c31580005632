"""What `zart doctor` examines: a database, or shards one by one and then together."""

from collections.abc import Sequence
from datetime import timedelta

from attrs import evolve

from zart.checkup import Examinable, Finding, Verdict
from zart.cli.database import storage_at
from zart.cli.errors import explain
from zart.cli.settings import masked
from zart.errors import NotSupported, SchedulerError
from zart.records import Query
from zart.schedulers import connect, urls_of


async def examined(url: str, held_for: timedelta) -> Sequence[Finding]:
    """Look at everything that a URL names; the checks of shards are called after their numbers, as in "shard 0: schema".

    Raises:
        NotSupported: it has no checks.
        Refused: as for `storage_at`.
    """
    storage_at(url)  # says what is wrong with the URL, in the same words as every command
    shards = urls_of(url)
    if len(shards) == 1:
        return await _one(url, held_for)
    found: list[Finding] = []
    for number, shard in enumerate(shards):
        found += [evolve(each, check=f"shard {number}: {each.check}") for each in await _one(shard, held_for)]
    if all(each.verdict is Verdict.OK for each in found if each.check.endswith((": database", ": schema"))):
        found.append(await _together(url, len(shards)))
    return found


async def _one(url: str, held_for: timedelta) -> Sequence[Finding]:
    storage = connect(url)  # no payload is looked at, so no codec is needed
    if isinstance(storage, Examinable):
        return await storage.examine(held_for)
    raise NotSupported(f"{masked(url)} has no checks; name a SQLite, PostgreSQL, MySQL or MariaDB database")


async def _together(url: str, number: int) -> Finding:
    """Whether each shard has been given its place, and the URLs are in the order of the places."""
    try:
        async with connect(url) as storage:
            await storage.find(Query(limit=1))  # asks all of them
    except SchedulerError as error:
        problem = explain(error)
        return Finding("shards", Verdict.FAIL, problem.message, problem.hint)
    return Finding("shards", Verdict.OK, f"the {number} shards belong together, in this order")

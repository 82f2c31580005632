"""What a MySQL database is asked besides when it is one of several shards."""

from itertools import product

from zart.records import Demand, Front
from zart.schedulers.mysql.talk import Talk, all_rows


async def remember(talk: Talk, name: str, value: str) -> str:
    """Keep a text for good; the first one wins."""
    await talk.ask(talk.say("shard.remember", title=name, value=value))
    return await recall(talk, name) or value


async def recall(talk: Talk, name: str) -> str | None:
    """Return what is kept under a name."""
    (answer,) = await talk.ask(talk.say("shard.recall", title=name))
    return str(answer.rows[0][0]) if answer.rows else None


async def front(talk: Talk, demand: Demand) -> list[Front]:
    """Return what a claim would take."""
    found: list[Front] = []
    places = list(product(dict.fromkeys(demand.queues), demand.tasks))
    for suspect, most in ((0, demand.limit), (1, min(demand.suspects, demand.limit))):
        if places and most > 0:
            asked = [{"queue": queue, "task": task, "suspect": suspect, "limit": most} for queue, task in places]
            rows = all_rows(await talk.ask(*talk.each("shard.front", asked)))
            found += sorted((due_at, bool(kind)) for due_at, kind in rows)[:most]
    return sorted(found)[: max(demand.limit, 0)]

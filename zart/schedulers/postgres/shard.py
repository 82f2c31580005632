"""What a PostgreSQL database is asked besides when it is one of several shards."""

from zart.records import Demand, Front
from zart.schedulers.postgres.connections import Talk


async def remember(talk: Talk, name: str, value: str) -> str:
    """Keep a text for good; the first one wins."""
    await talk.rows("shard.remember", name, value)
    kept = await recall(talk, name)
    await talk.rows("repeat.settle")
    return kept or value


async def recall(talk: Talk, name: str) -> str | None:
    """Return what is kept under a name."""
    kept: str | None = await talk.value("shard.recall", name)
    return kept


async def front(talk: Talk, demand: Demand) -> list[Front]:
    """Return what a claim would take."""
    queues, limit, suspects = list(dict.fromkeys(demand.queues)), max(demand.limit, 0), max(demand.suspects, 0)
    found = await talk.rows("shard.front", talk.now, queues, list(demand.tasks), limit, suspects)
    return [(due_at, suspect) for due_at, suspect in found]

"""Lists of what is on several shards, in the order of the start."""

import heapq
from collections.abc import Sequence
from itertools import count

from attrs import Factory, define, evolve

from zart.clock import Instant
from zart.records import Execution, Page, Query
from zart.schedulers.sharded.group import Group, whole

Place = tuple[Instant, int, int]
"""When an execution was started, as the how manieth in this process if that is known, and its shard."""

_KEPT = 10_000


@define(eq=False)
class Arrivals:
    """The order in which this process started executions: it decides where shards have some of the same microsecond.

    That is for those who start many at once and list them; it says nothing of what others started in that microsecond.
    """

    _numbers: dict[str, int] = Factory(dict)
    _next: "count[int]" = Factory(lambda: count(1))

    def note(self, execution_id: str) -> None:
        """Take note of a start."""
        self._numbers.pop(execution_id, None)
        self._numbers[execution_id] = next(self._next)
        if len(self._numbers) > 2 * _KEPT:
            self._numbers = dict(list(self._numbers.items())[-_KEPT:])

    def place(self, execution: Execution, shard: int) -> Place:
        """Return where an execution stands among those of all shards."""
        return execution.created_at, self._numbers.get(execution.id, 0), shard


async def page(query: Query, anchor: tuple[Execution, int] | None, group: Group, arrivals: Arrivals) -> Page:
    """Return one page of all shards; `anchor` is the execution that it comes after, and its shard."""
    last = None if anchor is None else arrivals.place(*anchor)
    wanted = query.offset + query.limit
    asked = {shard.number: _of_shard(query, wanted, shard.number, anchor) for shard in group.shards}
    pages: dict[int, Page] = {}
    while asked:
        found = await whole([_find(group, number, each) for number, each in asked.items()])
        pages |= dict(zip(asked, found, strict=True))
        # Some that were started with the anchor come before it: too few may be left of what was asked for.
        short = [
            shard for shard in asked if pages[shard].more and len(_after(pages[shard], shard, last, query, arrivals)) < wanted
        ]
        asked = {shard: evolve(asked[shard], limit=2 * asked[shard].limit + 1) for shard in short}
    lists = [
        [(arrivals.place(each, shard), each) for each in _after(found, shard, last, query, arrivals)]
        for shard, found in pages.items()
    ]
    merged = list(heapq.merge(*lists, key=lambda pair: pair[0], reverse=query.descending))
    more = len(merged) > wanted or any(found.more for found in pages.values())
    return Page([each for _, each in merged[query.offset : wanted]], more=more)


async def _find(group: Group, number: int, query: Query) -> Page:
    return await (await group.ready(group.shards[number])).find(query)


def _of_shard(query: Query, wanted: int, shard: int, anchor: tuple[Execution, int] | None) -> Query:
    asked = evolve(query, limit=wanted, offset=0)
    if anchor is None or anchor[1] == shard:
        return asked
    # The shard does not know the anchor, but when it was started.
    return evolve(asked, after=None, started=anchor[0].created_at)


def _after(found: Page, shard: int, last: Place | None, query: Query, arrivals: Arrivals) -> Sequence[Execution]:
    """Return what comes after the anchor."""
    if last is None or last[2] == shard:
        return found.executions
    return [each for each in found.executions if (arrivals.place(each, shard) < last) is query.descending]

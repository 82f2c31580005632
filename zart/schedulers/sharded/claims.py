"""How a claim is parted among shards."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TypeVar

from attrs import evolve

from zart.clock import SECOND
from zart.records import Demand, Front

S = TypeVar("S")

_EQUALLY_LONG = SECOND
"""What became due within the same second counts as due equally long: the clocks of shards differ, and it would be no use."""


def allot(demand: Demand, fronts: Mapping[S, Sequence[Front]], first: S) -> dict[S, Demand]:
    """Return what to ask of each shard, so that together they give what is due longest, and no more suspects than may be.

    Among what is due equally long, `first` comes first: a worker whose executions are on one shard saves them in one commit.
    Where nothing is due, every shard is asked for its part: something may have come meanwhile.
    """
    ahead = sorted(
        chain.from_iterable(
            ((due_at // _EQUALLY_LONG, shard != first, due_at, index, suspect) for due_at, suspect in front)
            for index, (shard, front) in enumerate(fronts.items())
        )
    )
    shards = list(fronts)
    taken, suspects = [0] * len(shards), [0] * len(shards)
    left = demand.suspects
    for _, _, _, index, suspect in ahead:
        if sum(taken) >= demand.limit:
            break
        if suspect:
            if left <= 0:
                continue
            left -= 1
            suspects[index] += 1
        taken[index] += 1
    if not ahead:
        return _in_parts(demand, shards)
    return {
        shard: evolve(demand, limit=taken[index], suspects=suspects[index])
        for index, shard in enumerate(shards)
        if taken[index]
    }


def _in_parts(demand: Demand, shards: Sequence[S]) -> dict[S, Demand]:
    """Return demands that come to no more than one: everybody has a part, as far as it goes."""

    def part(whole: int, index: int) -> int:
        return (whole + len(shards) - 1 - index) // len(shards)

    return {
        shard: evolve(demand, limit=part(demand.limit, index), suspects=part(demand.suspects, index))
        for index, shard in enumerate(shards)
    }

"""Transactions that users' writes are part of: each belongs to one shard, and so do the executions that it may speak of."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import frozen

from zart.errors import NotSupported
from zart.records import Commit, Committed, Delivery, Event, NewExecution, Started
from zart.scheduler import Bound, Transactional
from zart.schedulers.sharded.shard import Shard, number_of

Home = Callable[[str], Shard]


@frozen
class Within:
    """Speaks within a transaction that was opened on one shard."""

    shard: Shard
    bound: Bound
    home: Home

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs of executions of this shard."""
        self._check(each.id for each in new)
        return await self.bound.start(new)

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes of this shard."""
        self._check(each.execution_id for each in events)
        return await self.bound.deliver(events)

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say of executions of this shard."""
        if odd := [each.token.execution_id for each in commits if number_of(each.token) != self.shard.number]:
            raise NotSupported(f"execution {odd[0]!r} is not on {self.shard}, where the transaction is")
        return await self.bound.commit([self.shard.inside(each) for each in commits])

    def _check(self, ids: Iterable[str]) -> None:
        for each in ids:
            if (home := self.home(each)) is not self.shard:
                raise NotSupported(
                    f"execution {each!r} belongs to {home}, and the transaction is on {self.shard}; speak of it outside, or"
                    " give it an id of the same shard"
                )


@frozen
class Given:
    """Speaks within a transaction on somebody's connection: to whichever shard the ids belong, if that is where it leads."""

    connection: Any
    home: Home

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        if not new:
            return ()
        shard = self._shard([each.id for each in new])
        try:
            return await self._bound(shard).start(new)
        except TypeError as error:
            raise _elsewhere(new[0].id, shard, error) from error

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        if not events:
            return ()
        shard = self._shard([each.execution_id for each in events])
        try:
            return await self._bound(shard).deliver(events)
        except TypeError as error:
            raise _elsewhere(events[0].execution_id, shard, error) from error

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        if not commits:
            return ()
        shard = self._shard([each.token.execution_id for each in commits])
        return await self._bound(shard).commit([shard.inside(each) for each in commits])

    def _shard(self, ids: Sequence[str]) -> Shard:
        shards = {each: self.home(each) for each in ids}
        first = shards[ids[0]]
        if odd := [each for each, shard in shards.items() if shard is not first]:
            raise NotSupported(f"{ids[0]!r} belongs to {first} and {odd[0]!r} to {shards[odd[0]]}: no one transaction has both")
        return first

    def _bound(self, shard: Shard) -> Bound:
        return transactional(shard).bind(self.connection)


def transactional(shard: Shard) -> Transactional:
    """Return a shard's storage, whose transactions are meant."""
    if not isinstance(shard.storage, Transactional):
        raise NotSupported(f"{shard} has no transactions")
    return shard.storage


def _elsewhere(execution_id: str, shard: Shard, error: TypeError) -> TypeError:
    return TypeError(
        f"execution {execution_id!r} belongs to {shard}, and the connection does not lead there ({error}); open one to the"
        " database of `shard_of(id)`, or speak of the execution outside the transaction"
    )

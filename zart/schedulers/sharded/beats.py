"""One beat to several shards, and their answers as one."""

from collections.abc import Mapping, Sequence

from attrs import define, evolve

from zart.clock import SECOND, Instant
from zart.errors import SchedulerError
from zart.records import BeatReply, Held, Mail, Token, WorkerBeat
from zart.schedulers.sharded.group import Group
from zart.schedulers.sharded.seats import Seats, Worker
from zart.schedulers.sharded.shard import Shard, ask, number_of, own


@define(eq=False)
class Beats:
    """Beats on all shards. A shard that cannot be reached has no part in the answer."""

    _group: Group
    _seats: Seats

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Beat on all shards.

        What is held on a shard that was not heard of for most of the lease is lost: there the lease may pass to others.

        Raises:
            StorageUnavailable: none could be reached.
        """
        worker = self._seats.of(beat.worker)
        held: dict[int, list[Held]] = {shard.number: [] for shard in self._group.shards}
        for each in beat.held:
            held[number_of(each.token)].append(each)
        sent = self._group.clock.monotonic()
        replies = await self._say({each: worker.as_known(beat, each.number, sent) for each in self._group.shards}, held)
        if not replies.good:
            raise replies.failures[0]
        alive = any(reply.alive for reply in replies.good.values())
        if alive and not beat.leaving:
            await self._take_seats(worker, beat, [shard for shard, reply in replies.good.items() if not reply.alive])
            self._note(worker, beat, sent, replies.good)
        else:
            self._seats.forget(beat.worker)
        return self._as_one(worker, beat, sent, replies.good, held, alive=alive)

    async def _say(self, beats: Mapping[Shard, WorkerBeat], held: Mapping[int, Sequence[Held]]) -> "_Replies":
        answers = await ask(
            {shard: self._say_to(shard, beat, held[shard.number]) for shard, beat in beats.items()}, self._group.clock
        )
        replies = _Replies({}, [])
        for shard, answer in answers.items():
            if isinstance(answer, SchedulerError):
                shard.failed(answer)
                replies.failures.append(answer)
            else:
                shard.well()
                replies.good[shard] = answer
        return replies

    async def _say_to(self, shard: Shard, beat: WorkerBeat, held: Sequence[Held]) -> BeatReply:
        storage = await self._group.ready(shard)
        return await storage.beat(evolve(beat, held=[Held(own(each.token), each.seen) for each in held]))

    async def _take_seats(self, worker: Worker, beat: WorkerBeat, shards: Sequence[Shard]) -> None:
        """Register where the worker is not known, or not any more: there under another name."""
        for _ in range(2):
            if not shards:
                return
            names = {shard: worker.seats[shard.number].name for shard in shards}
            sent = self._group.clock.monotonic()
            news = {
                shard: evolve(beat, worker=name, held=(), held_at=None, register=True, in_time=False)
                for shard, name in names.items()
            }
            replies = await self._say(news, {shard.number: () for shard in shards})
            for shard, reply in replies.good.items():
                if reply.alive:
                    worker.seats[shard.number].heard(sent, self._group.clock.monotonic(), beat.lease / SECOND, first=False)
                else:
                    worker.reseat(beat.worker, shard.number, names[shard])
            shards = [shard for shard, reply in replies.good.items() if not reply.alive]

    def _note(self, worker: Worker, beat: WorkerBeat, sent: float, good: Mapping[Shard, BeatReply]) -> None:
        answered = self._group.clock.monotonic()
        times: list[Instant | None] = [None] * len(self._group.shards)
        for shard, reply in good.items():
            if reply.alive:
                worker.seats[shard.number].heard(sent, answered, beat.lease / SECOND, first=beat.register)
                times[shard.number] = reply.now
        worker.tell(_now(good), times)

    def _as_one(
        self,
        worker: Worker,
        beat: WorkerBeat,
        sent: float,
        good: Mapping[Shard, BeatReply],
        held: Mapping[int, Sequence[Held]],
        *,
        alive: bool,
    ) -> BeatReply:
        if not alive or beat.leaving:
            return BeatReply(alive=alive, now=_now(good))
        lost: list[Token] = []
        mail: dict[int, Sequence[Mail]] = {}
        for shard in self._group.shards:
            reply, here = good.get(shard), held[shard.number]
            if reply is None:
                if worker.seats[shard.number].is_lost(sent, beat.lease / SECOND):
                    lost += [each.token for each in here]
            elif not reply.alive:
                lost += [each.token for each in here]
            else:
                lost += [evolve(each, key=shard.key(each.key)) for each in reply.lost]
                mail |= shard.mail(reply.mail)
        taken_over = sum(reply.taken_over for reply in good.values())
        return BeatReply(alive=True, now=_now(good), lost=lost, mail=mail, taken_over=taken_over)


@define
class _Replies:
    good: dict[Shard, BeatReply]
    failures: list[SchedulerError]


def _now(good: Mapping[Shard, BeatReply]) -> Instant:
    """Return the time that has passed on every shard that answered."""
    living = [reply.now for reply in good.values() if reply.alive]
    return min(living or [reply.now for reply in good.values()])

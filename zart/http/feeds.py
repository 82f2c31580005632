"""What streams tell, as it becomes known: the lines of one execution's history, or what changes anywhere.

The storage port wakes those who wait for an end; anything else is seen by looking, more seldom while nothing happens.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

from attrs import define, field, frozen

from zart.client import DurableScheduler
from zart.clock import Clock, pause
from zart.errors import ExecutionNotFound, SchedulerError
from zart.http import wire
from zart.http.views import execution_of, snapshot_of, turn_of
from zart.ids import Randomness
from zart.records import Execution, Query, StepRecord
from zart.report import report
from zart.status import TERMINAL, ExecutionStatus

logger: logging.Logger = logging.getLogger("zart.http")

GAP_PATIENCE = 5.0
"""Seconds that a line waits for one before it: what a step saves in a transaction of its own may become visible later."""
_LIVE = tuple(status for status in ExecutionStatus if status not in TERMINAL)
_LIVE_WATCHED, _RECENT_WATCHED = 500, 100
_KEPT = 1000
_SLOWER = 4
_RESET_EVERY = 5.0


@frozen
class News:
    """One event of a stream; `id` resumes after it."""

    event: str
    id: str
    data: wire.Answer | None = None


END = "end"


@frozen
class Place:
    """Where a reader of one execution's stream was: the run, the last turn, and whether it has seen the end."""

    run: int | None = None
    turn: int = 0
    ended: bool = False

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that an event's id stands for; ids of a first run are bare numbers.

        Raises:
            ValueError: no such id was ever given.
        """
        run, colon, turn = text.rpartition(":")
        number = int(run) if colon else 1
        if number < 1:
            raise ValueError(text)
        return cls(number, 0, ended=True) if turn == END else cls(number, int(turn))

    @staticmethod
    def text(run: int, turn: int | str) -> str:
        """Return the id of an event."""
        return str(turn) if run == 1 and turn != END else f"{run}:{turn}"


class History:
    """One execution's run, told line by line to its end."""

    def __init__(self, client: DurableScheduler, clock: Clock, gap: float) -> None:
        self._client = client
        self._clock = clock
        self._gap = gap
        self._missing_since: float | None = None

    async def find(self, execution_id: str, run: int | None) -> Execution:
        """Return the run to follow, the current one by default.

        Raises:
            ExecutionNotFound: no such execution or run.
        """
        found = await self._client.scheduler.get(execution_id, run)
        if found is None:
            raise ExecutionNotFound(execution_id, run)
        return found

    async def follow(self, execution: Execution, after: int) -> AsyncGenerator[News, None]:
        """Yield every line with a greater turn, then the end."""
        execution_id, run = execution.id, execution.run
        told, gap, seen = after, self._gap, None
        while True:
            state = (execution.status, execution.fence, execution.mail, execution.attempt)
            fresh = False
            # What neither runs nor has moved has nothing new to tell.
            if state != seen or execution.status is ExecutionStatus.RUNNING or self._missing_since is not None:
                history = await self._client.scheduler.history(execution_id, run)
                for record in self._ripe(history.steps, told, ended=execution.status.is_terminal):
                    told, fresh = record.seq, True
                    yield News("step", Place.text(run, record.seq), turn_of(record, history))
            if execution.status.is_terminal:
                yield News(END, Place.text(run, END), execution_of(await self._client.status(execution_id, run)))
                return
            gap = self._gap if fresh or state != seen else min(gap * 2, self._gap * _SLOWER)
            seen = state
            await self._client.scheduler.wait([execution_id], timedelta(seconds=gap))
            execution = await self.find(execution_id, run)

    def _ripe(self, records: Sequence[StepRecord], told: int, *, ended: bool) -> list[StepRecord]:
        """Return the lines after `told`, up to a gap that may still be filled."""
        ripe: list[StepRecord] = []
        now = self._clock.monotonic()
        for record in records:
            if record.seq <= told:
                continue
            if record.seq > told + 1 and not ended:
                if self._missing_since is None:
                    self._missing_since = now
                if now - self._missing_since < GAP_PATIENCE:
                    return ripe
            self._missing_since = None
            told = record.seq
            ripe.append(record)
        return ripe


@define
class _Watch:
    """What the overview has seen of an execution, to tell whether it has changed."""

    live: bool
    state: tuple[object, ...]


class Overview:
    """What changes anywhere, seen by one look at a time for all readers; it looks only while somebody reads.

    It sees the newest live executions and the newest of all. What it cannot see it says: `reset` means that something may have
    changed unseen, and is also the first event of whoever comes without a place, or with one that is no longer kept.
    """

    def __init__(self, client: DurableScheduler, clock: Clock, randomness: Randomness, gap: float) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._gap = gap
        self._readers = 0
        self._looking: asyncio.Task[None] | None = None
        self._board = _Board("")

    async def follow(self, after: str | None) -> AsyncGenerator[News, None]:
        """Yield what changes from now on, or after an event that is still kept."""
        self._readers += 1
        try:
            if self._looking is None:
                self._board = _Board(self._randomness.uuid().hex[-12:])
                self._looking = asyncio.ensure_future(self._look(self._board))
            board = self._board
            await board.begun.wait()
            number = board.place(after)
            if number is None:
                number = board.last
                yield News("reset", board.id(number))
            while True:
                if number < board.last - len(board.news):
                    number = board.last
                    yield News("reset", board.id(number))
                for each in board.since(number):
                    number += 1
                    yield each
                await board.more(number)
        finally:
            self._readers -= 1
            if not self._readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self, board: "_Board") -> None:
        seen: dict[str, _Watch] | None = None
        reset_at = self._clock.monotonic()
        while True:
            try:
                seen, partly = await self._compare(board, seen)
            except SchedulerError as error:
                logger.warning("the stream of all executions could not look: %s", type(error).__name__)
                partly = True
            except Exception:
                # A fault of a backend's, or ours: whoever reads must not be left without an answer.
                logger.exception("the stream of all executions could not look")
                partly = True
            board.begun.set()
            if partly and self._clock.monotonic() - reset_at >= _RESET_EVERY:
                reset_at = self._clock.monotonic()
                board.tell("reset", None)
            await pause(self._clock, self._gap * _SLOWER)

    async def _compare(self, board: "_Board", seen: dict[str, _Watch] | None) -> tuple[dict[str, _Watch], bool]:
        live = await self._client.scheduler.find(Query(statuses=_LIVE, limit=_LIVE_WATCHED))
        recent = await self._client.scheduler.find(Query(limit=_RECENT_WATCHED))
        found = {each.id: each for each in (*live.executions, *recent.executions)}
        if seen is not None:
            for execution_id in [key for key, watch in seen.items() if watch.live and key not in found]:
                ended = await self._client.scheduler.get(execution_id)
                if ended is not None:
                    found[execution_id] = ended
            for execution in reversed(found.values()):  # oldest first
                before = seen.get(execution.id)
                if before is None or before.state != _state(execution):
                    board.tell("execution", snapshot_of(report(execution)))
        watched = {each.id: _Watch(not each.status.is_terminal, _state(each)) for each in found.values()}
        return watched, live.more


def _state(execution: Execution) -> tuple[object, ...]:
    return (execution.run, execution.status, execution.attempt, execution.fence, execution.reason, execution.served)


@define(eq=False)
class _Board:
    """The last events, numbered; `epoch` tells them from those of other boards."""

    epoch: str
    news: deque[News] = field(factory=lambda: deque[News](maxlen=_KEPT))
    last: int = 0
    begun: asyncio.Event = field(factory=asyncio.Event)
    _told: asyncio.Event = field(factory=asyncio.Event)

    def id(self, number: int) -> str:
        """Return the id of an event."""
        return f"{self.epoch}:{number}"

    def tell(self, event: str, data: wire.Answer | None) -> None:
        """Add an event."""
        self.last += 1
        self.news.append(News(event, self.id(self.last), data))
        self._told.set()
        self._told = asyncio.Event()

    def place(self, text: str | None) -> int | None:
        """Return the number of an event's id, None when it is of another board or no longer kept."""
        epoch, _, number = (text or "").rpartition(":")
        if epoch != self.epoch or not number.isdecimal() or not number.isascii() or len(number) > 18:
            return None
        return int(number) if self.last - len(self.news) <= int(number) <= self.last else None

    def since(self, number: int) -> list[News]:
        """Return the events after a number."""
        behind = self.last - number
        return list(self.news)[len(self.news) - behind :] if behind else []

    async def more(self, number: int) -> None:
        """Return when there are events after a number."""
        while self.last <= number:
            await self._told.wait()

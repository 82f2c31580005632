"""Group commit: what all executions of a worker have to say goes out together, one statement at a time.

An author that has something to say calls `write`. While one commit is in flight, authors gather; when it returns, the next goes
out with what they then have to say, everything of one author together. A commit is capped near half of the running executions,
so that storage writes for one half while Python works for the other; without a cap the two would take turns. An author is told
what became of its words when they are durable, never before.

When storage is unavailable the same commit is repeated until it is answered: repeating is harmless, forgetting is not. When a
backend answers with an error that is nobody's, or not to everything, each execution's words are said by themselves, and those
that still get no answer come again after a pause of their own: one execution must not silence all others.

An execution that is busy, because somebody else holds its row, comes again after a pause too, and after a longer one each time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from zart.clock import Clock, Timer, pause
from zart.errors import SchedulerError
from zart.ids import Randomness
from zart.records import Commit, Committed, Fate
from zart.scheduler import Scheduler

logger: logging.Logger = logging.getLogger("zart.journal")

SMALLEST_CAP = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_FIRST_GAP, _LONGEST_GAP = 0.005, 1.0
"""Seconds after which what was busy is said again, at first and at last."""
_UNANSWERED = Committed(Fate.BUSY)


class Author(Protocol):
    """An execution that writes."""

    @property
    def execution_id(self) -> str:
        """Whose words these are."""
        ...

    def take(self) -> Commit | None:
        """Return everything that is to be saved now; None when there is nothing (any more). Must not raise."""
        ...

    def saved(self, commit: Commit, answer: Committed) -> None:
        """Learn what became of it. Must not raise."""
        ...

    def lose(self) -> None:
        """Drop everything, unsaved words too: they cannot be taken."""
        ...


class Journal:
    """Collects the words of all running executions and commits them in groups."""

    def __init__(self, scheduler: Scheduler, clock: Clock, randomness: Randomness, running: Callable[[], int]) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._randomness = randomness
        self._running = running
        self._waiting: deque[Author] = deque()
        self._paused: dict[Author, Timer] = {}
        self._wake: asyncio.Event = asyncio.Event()
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self.commits: int = 0
        """How many groups were committed, for measuring."""

    def write(self, author: Author) -> None:
        """Have an author's words saved with the next group; call it once until `take` was called."""
        if not self._waiting:
            self._idle.clear()
            self._wake.set()
        self._waiting.append(author)

    def write_later(self, author: Author, tries: int) -> None:
        """Have an author's words saved after a pause, the longer the more often that was tried. See `hurry` and `forget`."""
        gap = min(_FIRST_GAP * 2 ** min(tries, 16), _LONGEST_GAP) * (0.5 + self._randomness.random() / 2)
        self._paused[author] = self._clock.call_later(gap, partial(self.hurry, author))

    def hurry(self, author: Author | None = None) -> None:
        """End an author's pause, or everybody's."""
        for each in list(self._paused) if author is None else [author]:
            if (timer := self._paused.pop(each, None)) is not None:
                timer.cancel()
                self.write(each)

    def forget(self, author: Author) -> None:
        """End an author's pause: it has nothing to say any more."""
        if (timer := self._paused.pop(author, None)) is not None:
            timer.cancel()
            self._rest()

    async def flushed(self) -> None:
        """Wait until nothing is left to say."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit groups until cancelled."""
        try:
            while True:
                await self._wake.wait()
                while self._waiting:
                    await self._flush()
                self._wake.clear()
                self._rest()
        finally:
            for timer in self._paused.values():
                timer.cancel()

    def _rest(self) -> None:
        if not self._paused and not self._wake.is_set():
            self._idle.set()

    async def _flush(self) -> None:
        cap = max(SMALLEST_CAP, self._running() // 2)
        authors: list[Author] = []
        commits: list[Commit] = []
        waiting = self._waiting
        while waiting and len(commits) < cap:
            author = waiting.popleft()
            try:
                commit = author.take()
            except Exception:
                # It would be waited for in vain. What it has not saved is done again by whoever claims it next.
                about = author.execution_id
                logger.exception("execution %s cannot say what it has to, it is let go", about, extra={"execution_id": about})
                self._let_go(author)
                continue
            if commit is not None:
                authors.append(author)
                commits.append(commit)
        if not commits:
            return
        answers = await self._commit(commits)
        self.commits += 1
        for author, commit, answer in zip(authors, commits, answers, strict=True):
            try:
                author.saved(commit, answer)
            except Exception:
                # One execution that the engine trips over must not silence all others.
                about = commit.token.execution_id
                logger.exception("execution %s did not take the answer", about, extra={"execution_id": about})

    def _let_go(self, author: Author) -> None:
        try:
            author.lose()
        except Exception:
            about = author.execution_id
            logger.exception("execution %s cannot be let go", about, extra={"execution_id": about})

    async def _commit(self, commits: list[Commit]) -> list[Committed]:
        gap = _FIRST_PAUSE
        while True:
            try:
                return await self._said(commits)
            except SchedulerError as error:
                logger.warning("saving %d executions failed, trying again: %s", len(commits), error)
            except Exception:
                # A fault of the backend's own. Dropping the words would strand every author in memory, so they are said again.
                logger.exception("saving %d executions failed, trying again one by one", len(commits))
                return [await self._alone(each) for each in commits]
            await pause(self._clock, gap * (0.5 + self._randomness.random() / 2))
            gap = min(gap * 2, _LONGEST_PAUSE)

    async def _alone(self, commit: Commit) -> Committed:
        try:
            (answer,) = await self._said([commit])
        except Exception as error:  # noqa: BLE001 # as above, where all of it was told
            about = commit.token.execution_id
            logger.warning("saving execution %s failed, trying again later: %r", about, error, extra={"execution_id": about})
            return _UNANSWERED
        return answer

    async def _said(self, commits: list[Commit]) -> list[Committed]:
        answers = list(await self._scheduler.commit(commits))
        if len(answers) != len(commits):
            raise RuntimeError(f"storage gave {len(answers)} answers to {len(commits)} commits; its backend breaks rule 3")
        return answers

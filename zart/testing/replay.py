"""Proves that a workflow survives a crash after any of its saves."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal

from zart.errors import ZartError
from zart.handler import TaskHandler
from zart.records import Commit, Committed
from zart.report import DurableExecutionStatus
from zart.scheduler import Storage
from zart.testing.harness import Harness

LONGEST = 10_000
"""Timers and crashes of one execution after which it is taken for endless."""


class ReplayProblem(ZartError, AssertionError):
    """A workflow does not replay as it ran; says which step and what differed."""


class _Dying:
    """A scheduler whose worker dies right after the n-th save: the save is durable, its reply never comes.

    It dies once more right before the end is saved, so that the body comes to its end twice over the same history.
    """

    def __init__(self, storage: Storage, watcher: "_Watcher") -> None:
        self._commit = storage.commit
        self._watcher = watcher
        self.saves = 0
        self.output: str | None = None
        """What the body returned the first time; the worker dies before it is saved."""
        self.dies_after: int | None = None
        self.died = asyncio.Event()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        output = next((commit.move.payload for commit in commits if commit.move is not None and commit.move.payload), None)
        if output is not None and self.output is None:
            self.output = output
            self.died.set()
            await asyncio.get_running_loop().create_future()
        if output is not None and output != self.output:
            self._watcher.report(
                f"the body ended with {self.output}, and with {output} on replay: it depends on more than its steps"
            )
        answers = await self._commit(commits)
        self.saves += 1
        self._watcher.saved(commits)
        if self.saves == self.dies_after:
            self.died.set()
            await asyncio.get_running_loop().create_future()
        return answers


class _Watcher:
    """Remembers which outcomes were saved and which values the body has seen."""

    def __init__(self) -> None:
        self._saved: set[str] = set()
        self._seen: dict[str, Any] = {}
        self.problem: ReplayProblem | None = None

    def saved(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            for record in commit.steps:
                if record.phase == "outcome" and record.ok:
                    self._saved.add(record.name)

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        if name in self._saved:
            self.report(f"step {name!r} ran again after its outcome was saved")

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        if name not in self._seen:
            self._seen[name] = value
            return
        first = self._seen[name]
        if isinstance(value, BaseException):
            if type(first) is not type(value) or str(first) != str(value):
                self.report(f"step {name!r} first raised {first!r}, and {value!r} on replay")
        elif type(first) is not type(value) or first != value:
            self.report(f"step {name!r} first gave {first!r}, and {value!r} on replay")

    def never_awaited(self, message: str) -> None:
        self.report(message)

    def report(self, text: str) -> None:
        self.problem = self.problem or ReplayProblem(text)


async def replay_check(
    handler: TaskHandler[Any, Any],
    data: Any = None,
    events: Iterable[tuple[str, Any]] = (),
    *,
    expect: Literal["completed", "failed"] = "completed",
) -> DurableExecutionStatus:
    """Run a handler again and again, with a crash after every save, and see that it always ends as it did without.

    `events` are pairs of name and payload, offered from the start. Durable waits and retries take no real time; what a step's
    function waits for itself does, each time anew. Returns the record of the run without a crash, so that a test can look at
    its `result`. A workflow that is meant to fail is checked with `expect="failed"`.

    Raises:
        ReplayProblem: a step ran again after its outcome was saved, the body diverged from what was saved, made a step and did
        nothing with it, or a value or the final status changed; names the step. Or it does not end as expected even without a
        crash, and proves nothing.
    """
    given = list(events)
    whole, saves = await _run(handler, data, given, None)
    if whole.status != expect:
        ended = f"{whole.status} ({whole.reason})" if whole.reason else str(whole.status)
        mend = "mend the handler or give other data and events" if expect == "completed" else "leave expect out"
        raise ReplayProblem(f"without any crash the execution ended {ended}, not {expect}; {mend}")
    for save in range(1, saves + 1):
        crashed, _ = await _run(handler, data, given, save)
        if crashed.status != whole.status:
            ended = f"{crashed.status} ({crashed.reason})"
            raise ReplayProblem(f"after a crash at save {save} the execution ended {ended}, without one {whole.status}")
    return whole


async def _run(
    handler: TaskHandler[Any, Any], data: Any, events: list[tuple[str, Any]], dies_after: int | None
) -> tuple[DurableExecutionStatus, int]:
    watcher = _Watcher()
    async with Harness([handler], observer=watcher) as h:
        dying = _Dying(h.scheduler, watcher)
        dying.dies_after = dies_after
        h.scheduler.commit = dying.commit  # type: ignore[method-assign] # the crash happens between storage and its worker
        handle = await h.client.start_for(handler, "replay-check", data)
        for name, payload in events:
            await handle.send(name, payload)
        for _ in range(LONGEST):
            await _until_idle_or_dead(h, dying)
            if watcher.problem is not None:
                raise watcher.problem
            record = await handle.record()
            if record.status.is_terminal:
                return record, dying.saves
            if record.reason is not None and record.reason.startswith("replay expected"):
                raise ReplayProblem(record.reason)
            due = await h.next_due()
            if due is None:
                waits = ", ".join(repr(wait.name) for wait in record.waiting_for)
                raise ReplayProblem(f"the execution waits for {waits} for ever; give the events that it needs")
            h.clock.advance(max(due - h.clock.now(), timedelta(0)))
        raise ReplayProblem(f"the execution has not ended after {LONGEST} timers")


async def _until_idle_or_dead(h: Harness, dying: _Dying) -> None:
    idle = asyncio.ensure_future(h.run_to_idle())
    dead = asyncio.ensure_future(dying.died.wait())
    await asyncio.wait((idle, dead), return_when=asyncio.FIRST_COMPLETED)
    if dying.died.is_set():
        dying.died.clear()
        idle.cancel()
        await asyncio.wait((idle,))
        await h.kill()
        await h.restart()
    else:
        dead.cancel()
        await idle

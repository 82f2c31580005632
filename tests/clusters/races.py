"""A worker says what it did while, over another node, it is handed back and claimed by somebody else: who may be believed?"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from tests.clusters.score import Score
from zart.clock import SECOND
from zart.errors import StorageUnavailable
from zart.records import Claim, Commit, Demand, Fate, NewExecution, StepRecord, WorkerBeat
from zart.scheduler import Storage, Transactional
from zart.status import Phase, StepKind

LEASE = 60 * SECOND
AT_ONCE, ROUNDS, SAVES = 8, 40, 12
TASKS = ("race",)


def _beat(worker: str, **more: bool) -> WorkerBeat:
    return WorkerBeat(worker, LEASE, ("default",), TASKS, **more)


async def _save(storage: Storage, claim: Claim, seq: int, value: str) -> Fate:
    record = StepRecord(seq, f"step {seq}", StepKind.STEP, Phase.OUTCOME, payload=value)
    (answer,) = await storage.commit([Commit(claim.token, [record], 0)])
    return answer.fate


async def _claim(storage: Storage, worker: str) -> Claim:
    while not (found := await storage.claim(Demand(worker, (worker.partition("-")[2],), {TASKS[0]: None}, 1))):
        await asyncio.sleep(0)
    return found[0]


async def race(one: Storage, other: Storage, score: Score, rounds: int = ROUNDS) -> None:
    """Have many such races; note what was acknowledged, and lost or doubled."""
    for number in range(rounds):
        await asyncio.gather(*(_race(one, other, score, f"{number:03}.{lane}") for lane in range(AT_ONCE)))


async def _race(one: Storage, other: Storage, score: Score, name: str) -> None:
    first, second = f"first-{name}", f"second-{name}"
    for storage, worker in ((one, first), (other, second)):
        await storage.beat(_beat(worker, register=True))
    await one.start([NewExecution(f"race-{name}", TASKS[0], '"in"', "key", name)])
    claim = await _claim(one, first)
    told, again = await asyncio.gather(_save_some(one, claim), _take_over(other, first, second))
    assert await _save(one, claim, len(told) + 1, '"first"') is Fate.LOST, f"race {name}: the first worker was not told"
    score.hits["takeover between two saves"] += 1
    seen = {step.seq: step.payload for step in again.steps}
    if missing := told.keys() - seen.keys():
        score.lost.append(
            f"race {name}: the first worker was told that it saved {sorted(missing)}; the second was given {seen}"
        )
    here = next(seq for seq in range(1, len(told) + len(seen) + 2) if seq not in seen)
    if await _save(other, again, here, '"second"') is Fate.APPLIED:  # what it was not given, it does
        seen[here] = '"second"'
    score.acknowledged += len(told) + 1
    stored = {step.seq: step.payload for step in (await one.history(f"race-{name}")).steps}
    if stored != seen:
        score.doubled.append(f"race {name}: {seen} should be saved, and {stored} is")


async def save_late(one: Storage, other: Storage, score: Score, delay: Callable[[], Awaitable[None]]) -> None:
    """Have a save ready to be committed when, over another node, the execution is handed back and claimed; then commit it.

    `delay` holds up what the other node says on its way to this one.
    """
    assert isinstance(one, Transactional)
    for storage, worker in ((one, "first-late"), (other, "second-late")):
        await storage.beat(_beat(worker, register=True))
    await one.start([NewExecution("late", TASKS[0], '"in"', "key", "late")])
    claim = await _claim(one, "first-late")
    record = StepRecord(1, "step 1", StepKind.STEP, Phase.OUTCOME, payload='"first"')
    again = None
    try:
        async with one.transaction(timedelta(seconds=30)) as (_, bound):
            (answer,) = await bound.commit([Commit(claim.token, [record], 0)])
            assert answer.fate is Fate.APPLIED, answer
            await delay()
            again = await _take_over(other, "first-late", "second-late")
    except StorageUnavailable:
        score.hits["save that came too late, refused"] += 1
    else:
        score.acknowledged += 1
        if again is not None and not again.steps:
            score.lost.append("late save: the first worker was told that it saved, and the second was given nothing")


async def _save_some(storage: Storage, claim: Claim) -> dict[int, str]:
    """Save step after step, until told that the execution is somebody else's; return what was told to be saved."""
    told: dict[int, str] = {}
    while len(told) < SAVES:
        seq = len(told) + 1
        match await _save(storage, claim, seq, '"first"'):
            case Fate.APPLIED:
                told[seq] = '"first"'
            case Fate.LOST:
                break
            case fate:
                assert fate is Fate.BUSY, fate
    return told


async def _take_over(storage: Storage, first: str, second: str) -> Claim:
    while True:
        with suppress(StorageUnavailable):  # so many conflicts: somebody else's last word comes first
            await storage.beat(_beat(first, leaving=True))
            return await _claim(storage, second)

"""Compares what came of a play with what its scenario says."""

from collections import Counter
from typing import Any, Protocol

from tests.conformance.backends import Ground
from tests.conformance.history import Bindings, difference, lines
from tests.conformance.language import Cancelled, Completed, Failed, Pending, Scenario, Unknown, Waiting
from tests.conformance.line import Broken, Faults, Weather, Witness
from zart import ExecutionHandle, ExecutionNotFound, ExecutionStatus
from zart.report import DurableExecutionStatus


class Played(Protocol):
    """A play at its end."""

    id: str
    scenario: Scenario
    ground: Ground
    weather: Weather
    faults: Faults
    witness: Witness
    noted: list[Any]
    deaths: Counter[tuple[str, int]]
    handle: ExecutionHandle[Any] | None
    copies: list[ExecutionHandle[Any]]

    async def record(self) -> DurableExecutionStatus:
        """Return the execution's record."""
        ...


def expect(what: str, expected: Any, found: Any) -> None:
    """See that something is as it should be.

    Raises:
        Broken: it is not.
    """
    if expected != found:
        raise Broken(f"{what}: expected {expected}, and found {found}")


def expect_reason(pattern: str | None, found: str | None) -> None:
    """See that a reason is what a pattern says; None: it does not matter.

    Raises:
        Broken: it is not.
    """
    if pattern is not None and not Bindings().matches(pattern, str(found)):
        raise Broken(f"reason: expected {pattern!r}, and found {found!r}")


async def judge(play: Played) -> None:
    """Judge a play.

    Raises:
        Broken: it has not come to what its scenario says, or proves nothing.
    """
    scenario, storm = play.scenario, play.weather is Weather.STORM
    if play.witness.problems:
        raise Broken("; ".join(play.witness.problems))
    faults = play.faults
    unused = [*faults.before, *faults.after, *+faults.lost, *+faults.down, *+play.deaths]
    if unused:
        raise Broken(f"these faults never struck: {unused}, of {faults.saves} saves")
    found = lines(await play.ground.storage.history(play.id))
    different = difference(scenario.expect, found, unordered=scenario.unordered and storm, strict=not storm)
    if different is not None:
        raise Broken(f"history, expected (-) and found (+):\n{different}")
    await _judge_end(play)
    if scenario.effects is not None and not storm:
        expect("effects", list(scenario.effects), play.noted)


async def _judge_end(play: Played) -> None:
    try:
        record = await play.record()
    except ExecutionNotFound:
        expect("end", play.scenario.end, Unknown())
        return
    match play.scenario.end:
        case Completed(output):
            expect("status", ExecutionStatus.COMPLETED, record.status)
            await _judge_output(play, output)
        case Failed(reason):
            expect("status", ExecutionStatus.FAILED, record.status)
            expect_reason(reason, record.reason)
        case Cancelled():
            expect("status", ExecutionStatus.CANCELLED, record.status)
        case Waiting(names, reason):
            expect("status", ExecutionStatus.WAITING, record.status)
            expect("waits for", names, tuple(wait.name for wait in record.waiting_for))
            expect_reason(reason, record.reason)
        case Pending():
            expect("status", ExecutionStatus.PENDING, record.status)
        case Unknown():
            raise Broken(f"it was started, and is {record.status}")


async def _judge_output(play: Played, output: Any) -> None:
    assert play.handle is not None
    for _ in range(2):  # whoever reads it again reads the same
        found = await play.handle.result(0)
        expect("output", f"{type(output).__name__} {output!r}", f"{type(found).__name__} {found!r}")
    for each in play.copies:
        expect("status of another", ExecutionStatus.COMPLETED, (await each.record()).status)
    if play.weather is Weather.CALM and not play.faults.hit:
        more = {key: count for key, count in play.witness.starts.items() if count != play.witness.calls[key]}
        expect("functions that ran more often than was saved, though nothing went wrong", {}, more)

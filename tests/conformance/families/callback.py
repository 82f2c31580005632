"""Callbacks: events. One that is to be heard while the body does something else is waited for by a task of its own."""

from datetime import datetime
from typing import Any

from attrs import frozen

from tests.conformance.compositions import Rejected, begun, callback, said
from tests.conformance.language import Advance, Completed, Event, Failed, Sees, family
from zart import EventTimeout, TaskContext

FAMILY = "callback"
scenario, inapplicable = family(FAMILY)

VALUE = {"value": "yes"}
REJECTED = {"error": "not approved"}


def ends(name: str, value: str, mail: int = 1) -> str:
    """Return the line of a callback's end."""
    return f"event {name} takes mail {mail} = {value}"


YES, NO = '{"value":"yes"}', '{"error":"not approved"}'


@frozen
class Approval:
    """A payload with a time in it."""

    by: str
    at: datetime


@scenario(
    "4-1",
    "a callback comes and its payload is the result",
    story=[Sees("waiting", ("cb",)), Event("cb", VALUE)],
    expect=["event cb begins", ends("cb", YES)],
    end=Completed("yes"),
)
async def basic(ctx: TaskContext, data: None) -> Any:
    return await callback(ctx, "cb")


@scenario(
    "4-2",
    "a callback's wait has a name of its own",
    story=[Sees("waiting", ("approval",)), Event("cb", VALUE)],
    expect=["event approval begins", ends("approval", YES)],
    end=Completed({"value": "yes"}),
)
async def named(ctx: TaskContext, data: None) -> Any:
    return await ctx.wait_for_event("cb", name="approval")


@scenario(
    "4-3",
    "no callback comes in time, and the execution fails",
    expect=["event cb begins, due in 5s", "event cb failed: EventTimeout: <*>"],
    end=Failed("EventTimeout: <*>"),
)
async def times_out(ctx: TaskContext, data: None) -> Any:
    return await callback(ctx, "cb", "5s")


@scenario(
    "4-4",
    "no sign of life comes in time",
    expect=["event cb begins, due in 5s", "event cb failed: EventTimeout: <*>"],
    end=Failed("EventTimeout: <*>"),
)
async def no_heartbeat(ctx: TaskContext, data: None) -> Any:
    return await callback(ctx, "cb", heartbeat="5s")


@scenario(
    "4-5",
    "a sign of life keeps the callback open past its first interval",
    story=[Advance("8m"), Event("cb", {"alive": True}), Advance("15m"), Sees("waiting"), Event("cb", VALUE)],
    expect=[
        "event cb begins, due in 10m",
        ends("cb", '{"alive":true}'),
        "event cb#2 begins, due in 10m",
        ends("cb#2", YES, 2),
    ],
    end=Completed("yes"),
)
async def heartbeat(ctx: TaskContext, data: None) -> Any:
    return await callback(ctx, "cb", heartbeat="10m")


@scenario(
    "4-6",
    "the other side reports a failure, and the execution fails with its words",
    story=[Event("cb", REJECTED)],
    expect=["event cb begins", ends("cb", NO)],
    end=Failed("<*>Rejected: not approved (<*>)"),
)
async def rejected(ctx: TaskContext, data: None) -> Any:
    return await callback(ctx, "cb")


@scenario(
    "4-7",
    "a callback is begun, a step runs, then the failure is met",
    story=[Event("cb", REJECTED)],
    expect=["event cb begins", 'step work = "x"', ends("cb", NO)],
    end=Failed("<*>Rejected: not approved (<*>)"),
)
async def step_between(ctx: TaskContext, data: None) -> Any:
    waiting = begun(callback(ctx, "cb"))
    await ctx.step("work", said("x"), returns=str)
    return await waiting


@scenario(
    "4-8",
    "a callback is begun, a step runs, then the time is up",
    expect=["event cb begins, due in 5m", 'step work = "x"', "event cb failed: EventTimeout: <*>"],
    end=Failed("EventTimeout: <*>"),
)
async def step_between_timeout(ctx: TaskContext, data: None) -> Any:
    waiting = begun(callback(ctx, "cb", "5m"))
    await ctx.step("work", said("x"), returns=str)
    return await waiting


@scenario(
    "4-9",
    "a callback comes while the body waits for something else",
    story=[Event("cb", VALUE), Sees("waiting", ("pause",))],
    expect=["sleep pause begins, due in 1h", "event cb begins", ends("cb", YES), "sleep pause is over"],
    end=Completed("yes"),
    unordered=True,
)
async def during_wait(ctx: TaskContext, data: None) -> Any:
    waiting = begun(callback(ctx, "cb"))
    await ctx.sleep("pause", "1h")
    return await waiting


@scenario(
    "4-10",
    "a failure comes while the body waits for something else",
    story=[Event("cb", REJECTED), Sees("waiting", ("pause",))],
    expect=["sleep pause begins, due in 1h", "event cb begins", ends("cb", NO), "sleep pause is over"],
    end=Failed("<*>Rejected: not approved (<*>)"),
    unordered=True,
)
async def failure_during_wait(ctx: TaskContext, data: None) -> Any:
    waiting = begun(callback(ctx, "cb"))
    await ctx.sleep("pause", "1h")
    return await waiting


@scenario(
    "4-11",
    "the time is up while the body waits for something else",
    story=[Advance("50m"), Sees("waiting", ("pause",))],
    expect=[
        "sleep pause begins, due in 1h",
        "event cb begins, due in 30m",
        "event cb failed: EventTimeout: <*>",
        "sleep pause is over",
    ],
    end=Failed("EventTimeout: <*>"),
)
async def timeout_during_wait(ctx: TaskContext, data: None) -> Any:
    waiting = begun(callback(ctx, "cb", "30m"))
    await ctx.sleep("pause", "1h")
    return await waiting


PAUSE = ["sleep pause begins, due in 1h", "sleep pause is over"]


@scenario(
    "4-12",
    "a callback comes, a wait follows, and a replay has both",
    story=[Event("cb", VALUE)],
    expect=["event cb begins", ends("cb", YES), *PAUSE],
    end=Completed("yes"),
)
async def then_wait(ctx: TaskContext, data: None) -> Any:
    value = await callback(ctx, "cb")
    await ctx.sleep("pause", "1h")
    return value


@scenario(
    "4-13",
    "a failure is caught, a wait follows, and a replay has both",
    story=[Event("cb", REJECTED)],
    expect=["event cb begins", ends("cb", NO), *PAUSE],
    end=Completed("not approved"),
)
async def caught(ctx: TaskContext, data: None) -> Any:
    try:
        said = await callback(ctx, "cb")
    except Rejected as error:
        said = str(error)
    await ctx.sleep("pause", "1h")
    return said


@scenario(
    "4-14",
    "a timeout is caught, a wait follows, and a replay has both",
    expect=["event cb begins, due in 3m", "event cb failed: EventTimeout: <*>", *PAUSE],
    end=Completed("too late"),
)
async def timeout_caught(ctx: TaskContext, data: None) -> Any:
    try:
        said = await callback(ctx, "cb", "3m")
    except EventTimeout:
        said = "too late"
    await ctx.sleep("pause", "1h")
    return said


@scenario(
    "4-15",
    "a payload becomes a class with a time in it",
    story=[Event("cb", {"by": "Ada", "at": "2026-01-01T12:00:00+00:00"})],
    expect=["event cb begins", "event cb takes mail 1 = <*>"],
    end=Completed(["Ada", 2026]),
)
async def typed(ctx: TaskContext, data: None) -> Any:
    approval = await ctx.wait_for_event("cb", Approval)
    return [approval.by, approval.at.year]


@scenario(
    "4-16",
    "a payload becomes a number; what is none is set aside, and the wait goes on",
    story=[Event("cb", "four"), Sees("waiting", ("cb",), "<*>set aside<*>"), Event("cb", 4)],
    expect=["event cb begins", "event cb sets mail 1 aside: DeserializationError: <*>", "event cb takes mail 2 = 4"],
    end=Completed([4, 8]),
)
async def number(ctx: TaskContext, data: None) -> list[int]:
    count = await ctx.wait_for_event("cb", int)
    return [count, count * 2]


@scenario(
    "4-17",
    "one callback after the other",
    story=[Event("a", {"value": 1}), Event("b", {"value": 2})],
    expect=["event a begins", ends("a", '{"value":1}'), "event b begins", ends("b", '{"value":2}', 2)],
    end=Completed([1, 2]),
)
async def one_after_the_other(ctx: TaskContext, data: None) -> Any:
    return [await callback(ctx, "a"), await callback(ctx, "b")]


@scenario(
    "4-18",
    "two callbacks at once, awaited in the order of their beginning, come in the other",
    story=[Event("b", {"value": 2}), Sees("waiting", ("a",)), Event("a", {"value": 1})],
    expect=["event a begins", "event b begins", ends("b", '{"value":2}'), ends("a", '{"value":1}', 2)],
    end=Completed([1, 2]),
    unordered=True,
)
async def two_at_once(ctx: TaskContext, data: None) -> Any:
    first, second = begun(callback(ctx, "a")), begun(callback(ctx, "b"))
    return [await first, await second]


@scenario(
    "4-19",
    "two callbacks at once, awaited in the other order",
    story=[Event("a", {"value": 1}), Sees("waiting", ("b",)), Event("b", {"value": 2})],
    expect=["event a begins", "event b begins", ends("a", '{"value":1}'), ends("b", '{"value":2}', 2)],
    end=Completed([2, 1]),
    unordered=True,
)
async def other_order(ctx: TaskContext, data: None) -> Any:
    first, second = begun(callback(ctx, "a")), begun(callback(ctx, "b"))
    return [await second, await first]

"""An event before the wait, at the moment of parking, of a timeout, of the end."""

import asyncio
from typing import Any

from tests.conformance.compositions import said
from tests.conformance.language import Advance, AtOnce, AtSave, Completed, Event, Jump, Sees, Start, Waiting, family
from zart import EventTimeout, TaskContext

FAMILY = "an event before the wait, or at the end"
scenario, inapplicable = family(FAMILY)


async def waits(ctx: TaskContext, data: Any) -> Any:
    """Wait for an event."""
    return await ctx.wait_for_event("go", int)


async def waits_an_hour(ctx: TaskContext, data: Any) -> Any:
    """Wait for an event, at most an hour."""
    try:
        return await ctx.wait_for_event("go", int, timeout="1h")
    except EventTimeout:
        return "too late"


TAKEN = "event go takes mail 1 = 1"


scenario(
    "D-1",
    "an event before the first worker has looked",
    story=[AtOnce((Start(), Event("go", 1)))],
    expect=[TAKEN],
    end=Completed(1),
)(waits)

for number, when, what in (
    (1, "before", "while the wait's beginning is being saved"),
    (1, "after", "when the wait's beginning has just been saved"),
    (2, "before", "while the body is leaving memory"),
    (2, "after", "when the body has just left memory"),
):
    scenario(
        f"D-2.{number}.{when}",
        f"an event comes {what}, and is not missed",
        story=[AtSave(number, Event("go", 1), when)],
        expect=["event go begins", TAKEN],
        end=Completed(1),
    )(waits)

scenario(
    "D-3",
    "an event comes while the wait's timeout is being saved: it was there in time",
    story=[AtSave(3, Event("go", 1), "before")],
    expect=["event go begins, due in 1h", TAKEN],
    end=Completed(1),
)(waits_an_hour)

scenario(
    "D-4",
    "an event comes when the timeout has been saved: it is too late, and stays unread",
    story=[AtSave(3, Event("go", 1), "after")],
    expect=["event go begins, due in 1h", "event go failed: EventTimeout: <*>"],
    end=Completed("too late"),
)(waits_an_hour)


@scenario(
    "D-5",
    "an event while the end is being saved is recorded and unread; one after it is refused",
    story=[AtSave(2, Event("go", 1), "before"), Sees("completed"), Event("go", 2, answer="ExecutionFinished")],
    expect=["step a = 1"],
    end=Completed(1),
)
async def at_the_end(ctx: TaskContext, data: None) -> Any:
    return await ctx.step("a", said(1), returns=int)


scenario(
    "D-6",
    "an event to an id that was never started is refused, and comes to nobody",
    story=[Event("go", 1, answer="ExecutionNotFound"), Start(), Sees("waiting", ("go",)), Event("go", 2)],
    expect=["event go begins", "event go takes mail 1 = 2"],
    end=Completed(2),
)(waits)


@scenario(
    "D-7",
    "events are taken in the order in which they were sent, one each",
    story=[AtOnce((Start(), Event("go", 1), Event("go", 2), Event("go", 3)))],
    expect=[TAKEN, "event go#2 takes mail 2 = 2", "event go#3 takes mail 3 = 3"],
    end=Completed([1, 2, 3]),
)
async def in_order(ctx: TaskContext, data: None) -> Any:
    return [await ctx.wait_for_event("go", int) for _ in range(3)]


@scenario(
    "D-8",
    "two branches wait for one name: each gets one event",
    story=[Event("go", 1), Sees("waiting", ("right",)), Event("go", 2)],
    expect=["event left begins", "event right begins", "event left takes mail 1 = 1", "event right takes mail 2 = 2"],
    end=Completed([1, 2]),
    unordered=True,
)
async def two_branches(ctx: TaskContext, data: None) -> Any:
    return await asyncio.gather(ctx.wait_for_event("go", int, name="left"), ctx.wait_for_event("go", int, name="right"))


scenario(
    "D-9",
    "an event sent twice under one id is one event",
    story=[AtOnce((Start(), Event("other", 1, "e"), Event("other", 1, "e", "duplicate")))],
    expect=["event go begins"],
    end=Waiting(("go",)),
)(waits)

scenario(
    "D-10",
    "an event of another name wakes nobody",
    story=[Event("other", 1), Sees("waiting", ("go",)), Event("go", 2)],
    expect=["event go begins", "event go takes mail 2 = 2"],
    end=Completed(2),
)(waits)


@scenario(
    "D-11",
    "a wait that has lost a race takes nothing: the event is the next wait's",
    story=[Advance("2h"), Event("go", 1)],
    expect=[
        "event lost begins",
        "sleep race begins, due in 1h",
        "sleep race is over",
        "? body abandons lost",
        "event go begins",
        TAKEN,
    ],
    end=Completed(1),
)
async def lost_race(ctx: TaskContext, data: None) -> Any:
    lost = asyncio.create_task(ctx.wait_for_event("go", int, name="lost"))
    race = asyncio.create_task(ctx.sleep("race", "1h"))
    await asyncio.wait((lost, race), return_when=asyncio.FIRST_COMPLETED)
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    return await ctx.wait_for_event("go", int, name="go")


@scenario(
    "D-12",
    "an event that a wait has taken, and lost in the same moment, is the next wait's",
    story=[AtOnce((Jump(3600), Event("go", 1)))],
    expect=[
        "sleep race begins, due in 1h",
        "event lost begins",
        "sleep race is over",
        "event lost takes mail 1 = 1",
        "event go begins",
        TAKEN,
    ],
    end=Completed(1),
    interruptions=False,
)
async def lost_at_once(ctx: TaskContext, data: None) -> Any:
    race = asyncio.create_task(ctx.sleep("race", "1h"))
    lost = asyncio.create_task(ctx.wait_for_event("go", int, name="lost"))
    await race
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    return await ctx.wait_for_event("go", int, name="go")

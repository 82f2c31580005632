"""The clock jumps: storage's, the only one that due times go by."""

from datetime import UTC, datetime
from typing import Any

from tests.conformance.ladder import LINES, OUTPUT, ladder
from tests.conformance.language import Advance, Completed, Event, Failed, Jump, Sees, Waiting, family
from zart import EventTimeout, TaskContext

FAMILY = "the clock jumps"
scenario, inapplicable = family(FAMILY)

HOUR = 3600.0

scenario(
    "F-1",
    "an hour forward while it sleeps: what is due by then is due now",
    story=[Jump(HOUR), Sees("completed")],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)(ladder)

scenario(
    "F-2",
    "an hour back while it sleeps: it wakes when storage's clock says so, and no sooner",
    story=[Jump(-HOUR), Advance("30m"), Sees("waiting", ("pause",))],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)(ladder)

scenario(
    "F-3",
    "a day forward and back again: no lease and no timer is lost for good",
    story=[Jump(24 * HOUR), Sees("completed"), Jump(-24 * HOUR), Sees("completed")],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)(ladder)


@scenario(
    "F-4",
    "a day back: a lease that lies far in the future holds up nobody",
    story=[Jump(-24 * HOUR), Event("go", 1), Sees("completed")],
    expect=["event go begins", "event go takes mail 1 = 1"],
    end=Completed(1),
)
async def back(ctx: TaskContext, data: None) -> Any:
    return await ctx.wait_for_event("go")


@scenario(
    "F-5",
    "an hour forward while it waits with a timeout: the time is up",
    story=[Jump(HOUR)],
    expect=["event go begins, due in 30m", "event go failed: EventTimeout: <*>"],
    end=Completed("too late"),
)
async def timeout(ctx: TaskContext, data: None) -> Any:
    try:
        return await ctx.wait_for_event("go", timeout="30m")
    except EventTimeout:
        return "too late"


@scenario(
    "F-6",
    "the deadline of the whole execution goes by storage's clock too",
    story=[Jump(HOUR)],
    expect=["event go begins"],
    end=Failed("<*>deadline<*>"),
    timeout="30m",
)
async def deadline(ctx: TaskContext, data: None) -> Any:
    return await ctx.wait_for_event("go")


for number, (length, shown) in enumerate(
    (("30d", "30d"), ("60d", "60d"), ("3653d", "3653d"), ("59s", "59s"), ("61s", "61s"), ("1500ms", "1500ms")), 1
):

    @scenario(
        f"F-7.{number}",
        f"a sleep of {length} is that long, and is not over before",
        data=length,
        expect=[f"sleep pause begins, due in {shown}", "sleep pause is over", "now after = <*>"],
        end=Completed(True),
    )
    async def lengths(ctx: TaskContext, data: str, play: Any) -> bool:
        await ctx.sleep("pause", data)
        return bool(await ctx.now("after") - play.begins >= play.span(data))


@scenario("F-8", "a sleep of no length is over at once", expect=["sleep pause is over"], end=Completed(None))
async def nothing(ctx: TaskContext, data: None) -> None:
    await ctx.sleep("pause", 0)


@scenario("F-9", "a sleep until a time that is past is over at once", expect=["sleep pause is over"], end=Completed(None))
async def past(ctx: TaskContext, data: None) -> None:
    await ctx.sleep_until("pause", datetime(2001, 1, 1, tzinfo=UTC))


for number, bad in enumerate((float("nan"), float("inf"), -1, True, "1 fortnight"), 1):

    @scenario(
        f"F-10.{number}",
        f"a length of {bad!r} is refused, and nothing is waited for",
        data=bad,
        expect=[],
        end=Failed("<*>Error: <*>"),
    )
    async def refused(ctx: TaskContext, data: Any) -> None:
        await ctx.sleep("pause", data)


scenario(
    "F-11",
    "time passes, and nothing is due: nothing happens",
    story=[Advance("59m"), Advance("59m")],
    expect=LINES[:2],
    end=Waiting(("pause",)),
    effects=[1],
)(ladder)

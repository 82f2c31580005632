"""Waits: durable sleeps."""

from tests.conformance.language import Advance, Completed, Sees, Waiting, family
from zart import TaskContext

FAMILY = "wait"
scenario, inapplicable = family(FAMILY)


@scenario("2-1", "a wait passes", expect=["sleep pause begins, due in 2s", "sleep pause is over"], end=Completed("after"))
async def basic(ctx: TaskContext, data: None) -> str:
    await ctx.sleep("pause", 2)
    return "after"


@scenario(
    "2-2",
    "a wait has the name that it was given, and shows it while it lasts",
    story=[Sees("waiting", ("until the tea is ready",))],
    expect=["sleep until the tea is ready begins, due in 5m", "sleep until the tea is ready is over"],
    end=Completed(None),
)
async def named(ctx: TaskContext, data: None) -> None:
    await ctx.sleep("until the tea is ready", "5m")


@scenario(
    "2-3",
    "two waits pass one after the other",
    story=[Sees("waiting", ("first",)), Advance("61m"), Sees("waiting", ("second",))],
    expect=[
        "sleep first begins, due in 1h",
        "sleep first is over",
        "sleep second begins, due in 1h",
        "sleep second is over",
    ],
    end=Completed(None),
)
async def sequential(ctx: TaskContext, data: None) -> None:
    await ctx.sleep("first", "1h")
    await ctx.sleep("second", "1h")


@scenario(
    "2-4",
    "minutes are minutes",
    story=[Advance("2m"), Sees("waiting", ("pause",))],
    expect=["sleep pause begins, due in 3m", "sleep pause is over"],
    end=Completed(None),
)
async def minutes(ctx: TaskContext, data: None) -> None:
    await ctx.sleep("pause", "3m")


@scenario(
    "2-5",
    "an hour is an hour, and no sooner",
    story=[Advance("59m"), Sees("waiting", ("pause",))],
    expect=["sleep pause begins, due in 1h", "sleep pause is over"],
    end=Completed(None),
)
async def hour(ctx: TaskContext, data: None) -> None:
    await ctx.sleep("pause", "1h")


@scenario(
    "2-6",
    "a wait that is not over is not over",
    story=[Advance("59m")],
    expect=["sleep pause begins, due in 1h"],
    end=Waiting(("pause",)),
)
async def not_over(ctx: TaskContext, data: None) -> None:
    await ctx.sleep("pause", "1h")

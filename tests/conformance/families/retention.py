"""Retention: an id that is used again begins a life of its own."""

from typing import Any

from tests.conformance.language import Advance, AtOnce, Cancel, Completed, Event, Sees, Start, family
from zart import TaskContext

FAMILY = "retention"
scenario, inapplicable = family(FAMILY)


async def counts(ctx: TaskContext, data: Any, play: Any) -> Any:
    """Return how many have run, after a wait."""

    async def count() -> int:
        play.note("ran")
        return len(play.noted)

    number = await ctx.step("count", count, returns=int)
    await ctx.sleep("pause", "1h")
    return number


PAUSE = ["sleep pause begins, due in 1h", "sleep pause is over"]

scenario(
    "K-1",
    "an ended id is started again: its steps run anew, and no result of the life before comes back",
    story=[Start(), Advance("2h"), Sees("completed"), Start()],
    expect=["step count = 2", *PAUSE],
    end=Completed(2),
    interruptions=False,
)(counts)

scenario(
    "K-2",
    "a cancelled id is started again: nothing that was left open comes back",
    story=[Start(), Cancel(), Start(reuse="failed")],
    expect=["step count = 2", *PAUSE],
    end=Completed(2),
    interruptions=False,
)(counts)

scenario(
    "K-3",
    "a live id is not started again",
    story=[Start(), Start(refused="ExecutionAlreadyExists")],
    expect=["step count = 1", *PAUSE],
    end=Completed(1),
    effects=["ran"],
    interruptions=False,
)(counts)

scenario(
    "K-4",
    "an ended id is not started again where that is not wanted",
    story=[
        Start(),
        Advance("2h"),
        Start(reuse="never", refused="ExecutionAlreadyExists"),
        Start(reuse="failed", refused="ExecutionAlreadyExists"),
    ],
    expect=["step count = 1", *PAUSE],
    end=Completed(1),
    effects=["ran"],
    interruptions=False,
)(counts)

scenario(
    "K-5",
    "a start said again after the end is that start, and not another life",
    story=[Start(key="k"), Advance("2h"), Sees("completed"), Start(key="k")],
    expect=["step count = 1", *PAUSE],
    end=Completed(1),
    effects=["ran"],
    interruptions=False,
)(counts)


@scenario(
    "K-6",
    "mail of the life before is not the next one's",
    story=[
        AtOnce((Start(), Event("old", 1, "e"), Event("go", 1))),
        Sees("completed"),
        Start(),
        Sees("waiting", ("go",)),
        Event("go", 2, "e"),
    ],
    expect=["event go begins", "event go takes mail 1 = 2"],
    end=Completed(2),
    interruptions=False,
)
async def mail(ctx: TaskContext, data: Any) -> Any:
    return await ctx.wait_for_event("go")


@scenario(
    "K-7",
    "a failed id is started again, and its failure is not the next one's",
    story=[Start(True), Sees("failed"), Start(False)],
    expect=[],
    end=Completed("well"),
    interruptions=False,
)
async def fails(ctx: TaskContext, data: bool) -> Any:
    if data:
        raise ValueError("no")
    return "well"


inapplicable(
    "K-8",
    "ended executions are deleted after a while, whole and by several at once",
    "nothing is deleted by itself: retention is later work",
)

"""Two owners of one execution: a worker that was thought dead wakes up and writes."""

from typing import Any

from tests.conformance.ladder import LINES, OUTPUT, SAVES, ladder
from tests.conformance.language import Advance, Completed, Crash, Event, Failed, Sees, Takeover, family
from zart import TaskContext

FAMILY = "two owners of one execution"
scenario, inapplicable = family(FAMILY)

for number in range(1, len(SAVES) + 1):
    for mark, meanwhile in (("a", "ended"), ("b", "running")):
        what = "has brought it to rest or to its end" if meanwhile == "ended" else "is in the middle of it"
        scenario(
            f"A-{number}{mark}",
            f"a worker stalls in save {number}, and writes when another {what}: nothing of it is saved",
            story=[Advance("61m"), Takeover(number, meanwhile)] if number > 3 else [Takeover(number, meanwhile)],
            expect=LINES,
            end=Completed(OUTPUT),
        )(ladder)


@scenario(
    "A-7",
    "a stalled worker's failure changes nothing: the other has completed",
    story=[Takeover(1)],
    expect=["step fails first = 2"],
    end=Completed(2),
)
async def failed_first(ctx: TaskContext, data: None, play: Any) -> int:
    async def work() -> int:
        if len(play.noted) == 0:
            play.note("first")
            raise ValueError("no")
        return 2

    return await ctx.step("fails first", work)


@scenario(
    "A-8",
    "a stalled worker's end changes nothing: the first result that was saved is everybody's",
    story=[Takeover(1)],
    expect=["step which = 2"],
    end=Completed(2),
)
async def first_result(ctx: TaskContext, data: None, play: Any) -> int:
    async def work() -> int:
        play.note("ran")
        return len(play.noted)

    return await ctx.step("which", work)


@scenario(
    "A-9",
    "a worker that stalled in the end of a failing execution takes nothing back",
    story=[Takeover(2)],
    expect=["step fails failed: <*>ValueError: no"],
    end=Failed("<*>ValueError: no"),
)
async def failing(ctx: TaskContext, data: None) -> Any:
    async def work() -> Any:
        raise ValueError("no")

    return await ctx.step("fails", work)


@scenario(
    "A-10",
    "an event that the stalled worker took is the other's, and is taken once",
    story=[Event("go", 1), Takeover(3)],
    expect=["event go begins", "event go takes mail 1 = 1"],
    end=Completed(1),
)
async def event(ctx: TaskContext, data: None) -> Any:
    return await ctx.wait_for_event("go")


@scenario(
    "A-11",
    "workers die one after the other while it waits, and nothing shows of it",
    story=[Crash(), Crash(), Crash(), Sees("waiting", ("pause",)), Crash()],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)
async def dying(ctx: TaskContext, data: None, play: Any) -> Any:
    return await ladder(ctx, data, play)

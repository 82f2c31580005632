"""A reply is lost: storage has done what it was asked, and whoever asked does not know."""

from typing import Any

from tests.conformance.ladder import LINES, OUTPUT, SAVES, ladder
from tests.conformance.language import AtOnce, AtSave, Cancel, Cancelled, Completed, Event, LoseReply, Start, family
from zart import TaskContext

FAMILY = "a reply is lost"
scenario, inapplicable = family(FAMILY)

for number in range(1, len(SAVES) + 1):
    scenario(
        f"C-{number}",
        f"the reply to save {number} is lost: said again, it is the same save, and nothing runs twice",
        story=[AtSave(number, LoseReply())],
        expect=LINES,
        end=Completed(OUTPUT),
        effects=[1, 2],
    )(ladder)


@scenario(
    "C-7",
    "the reply to a start is lost: said again, it is the same start",
    story=[LoseReply("start"), Start(key="k"), Start(key="k")],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)
async def start(ctx: TaskContext, data: None, play: Any) -> Any:
    return await ladder(ctx, data, play)


@scenario(
    "C-8",
    "the reply to an event is lost: sent again, it is the same event",
    story=[
        LoseReply("deliver"),
        Event("go", 1, "e", "StorageUnavailable"),
        Event("go", 1, "e", "duplicate"),
        Event("go", 2, "f"),
    ],
    expect=["event go begins", "event go takes mail 1 = 1", "<*>", "event go#2 takes mail 2 = 2"],
    end=Completed([1, 2]),
)
async def event(ctx: TaskContext, data: None) -> Any:
    return [await ctx.wait_for_event("go"), await ctx.wait_for_event("go")]


@scenario(
    "C-9",
    "the reply to a cancel is lost: said again, it says that it is cancelled, and not by this call",
    story=[LoseReply("cancel"), Cancel("StorageUnavailable"), Cancel(answer=False)],
    expect=LINES[:2],
    end=Cancelled(),
)
async def cancel(ctx: TaskContext, data: None, play: Any) -> Any:
    return await ladder(ctx, data, play)


@scenario(
    "C-10",
    "the reply to a claim is lost: what it brought comes back, and no death is counted",
    story=[AtOnce((LoseReply("claim"), Start()))],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)
async def claim(ctx: TaskContext, data: None, play: Any) -> Any:
    return await ladder(ctx, data, play)


@scenario(
    "C-11",
    "the reply to a sign of life is lost",
    story=[LoseReply("beat")],
    expect=LINES,
    end=Completed(OUTPUT),
    effects=[1, 2],
)
async def beat(ctx: TaskContext, data: None, play: Any) -> Any:
    return await ladder(ctx, data, play)

"""Cancel at every point."""

from typing import Any

from tests.conformance.families.step import failing
from tests.conformance.ladder import LINES, OUTPUT, SAVES, ladder, lines_after
from tests.conformance.language import (
    Advance,
    AtOnce,
    AtSave,
    Cancel,
    Cancelled,
    Completed,
    Event,
    Sees,
    Start,
    family,
)
from zart import RetryConfig, TaskContext

FAMILY = "cancel at every point"
scenario, inapplicable = family(FAMILY)

for number in range(1, len(SAVES) + 1):
    scenario(
        f"E-{number}a",
        f"while save {number} is being sent: that save comes to nothing",
        story=[AtSave(number, Cancel(), "before")],
        expect=lines_after(number - 1),
        end=Cancelled(),
    )(ladder)
    if number < len(SAVES):
        scenario(
            f"E-{number}b",
            f"when save {number} has just been stored: that save stays, and no other comes",
            story=[AtSave(number, Cancel(), "after")],
            expect=lines_after(number),
            end=Cancelled(),
        )(ladder)

scenario(
    "E-6b",
    "when the end has just been stored: it has ended, and the answer says so",
    story=[AtSave(len(SAVES), Cancel(answer=False), "after")],
    expect=LINES,
    end=Completed(OUTPUT),
)(ladder)

scenario(
    "E-7",
    "before a worker has seen it",
    story=[AtOnce((Start(), Cancel()))],
    expect=[],
    end=Cancelled(),
    effects=[],
)(ladder)

scenario(
    "E-8",
    "before it is due",
    story=[Start(delay="1h"), Sees("pending"), Cancel(), Cancel(answer=False)],
    expect=[],
    end=Cancelled(),
    effects=[],
)(ladder)

scenario(
    "E-9",
    "while it sleeps; nothing can be sent to it any more",
    story=[Sees("waiting", ("pause",)), Cancel(), Event("go", answer="ExecutionFinished"), Cancel(answer=False)],
    expect=LINES[:2],
    end=Cancelled(),
    effects=[1],
)(ladder)


@scenario(
    "E-10",
    "while it waits for an event",
    story=[Sees("waiting", ("go",)), Cancel()],
    expect=["event go begins, due in 1h"],
    end=Cancelled(),
)
async def event(ctx: TaskContext, data: None) -> Any:
    return await ctx.wait_for_event("go", timeout="1h")


@scenario(
    "E-11",
    "between two attempts of a step",
    story=[Sees("waiting", ("flaky",)), Cancel()],
    expect=["step flaky attempt 1 failed: <*>Transient: no, next in 1h"],
    end=Cancelled(),
)
async def retry(ctx: TaskContext, data: None) -> Any:
    return await ctx.step_with_retry("flaky", RetryConfig.fixed(3, "1h"), failing(9), returns=str)


@scenario(
    "E-12",
    "between two attempts of the body",
    story=[Sees("waiting"), Cancel()],
    expect=["body attempt 1 failed: <*>ValueError: no, next in 1h"],
    end=Cancelled(),
    retry=RetryConfig.fixed(3, "1h"),
)
async def body_retry(ctx: TaskContext, data: None) -> Any:
    raise ValueError("no")


async def never(ctx: TaskContext, data: Any, failure: Any) -> str:
    """Be called, which a cancel must not do."""
    return "made good"


@scenario(
    "E-13",
    "what makes good a failure is not called on cancel",
    story=[Cancel()],
    expect=["sleep pause begins, due in 1h"],
    end=Cancelled(),
    on_failure=never,
)
async def not_made_good(ctx: TaskContext, data: None) -> Any:
    await ctx.sleep("pause", "1h")


scenario(
    "E-14",
    "after its end: it stays as it is",
    story=[Advance("2h"), Sees("completed"), Cancel(answer=False), Sees("completed")],
    expect=LINES,
    end=Completed(OUTPUT),
)(ladder)

scenario(
    "E-15", "of an id that was never started", story=[Cancel("ExecutionNotFound"), Start()], expect=LINES, end=Completed(OUTPUT)
)(ladder)

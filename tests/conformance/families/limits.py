"""Limits and overload."""

from typing import Any

from tests.conformance.compositions import said
from tests.conformance.ladder import LINES, OUTPUT, ladder
from tests.conformance.language import AtSave, Completed, Crash, Event, Failed, Pending, Sees, Start, Unknown, family
from zart import PayloadTooLarge, TaskContext, WorkerConfig

FAMILY = "limits and overload"
scenario, inapplicable = family(FAMILY)

SMALL = WorkerConfig(lease="3s", heartbeat_interval="1s", payload_limit=1000)


@scenario("I-1", "a result at the limit is saved", expect=["step a = <*>"], end=Completed(998), config=SMALL)
async def at_limit(ctx: TaskContext, data: None) -> Any:
    return len(await ctx.step("a", said("x" * 998), returns=str))


@scenario(
    "I-2",
    "a result above the limit is the step's failure for good; its function is not called again, and the body may go on",
    expect=["step a failed: PayloadTooLarge: <*>1,001<*>", "step b = 1"],
    end=Completed(1),
    config=SMALL,
)
async def above_limit(ctx: TaskContext, data: None) -> Any:
    try:
        return await ctx.step("a", said("x" * 999), returns=str)
    except PayloadTooLarge:
        return await ctx.step("b", said(1), returns=int)


@scenario(
    "I-3",
    "an output above the limit fails the execution",
    expect=["step a = <*>"],
    end=Failed("PayloadTooLarge: <*>"),
    config=SMALL,
)
async def large_output(ctx: TaskContext, data: None) -> Any:
    return (await ctx.step("a", said("x" * 600), returns=str)) * 2


scenario(
    "I-4",
    "an event above the limit is refused, and its sender is told",
    story=[Event("go", "x" * 2**21, answer="PayloadTooLarge")],
    expect=LINES,
    end=Completed(OUTPUT),
)(ladder)

scenario(
    "I-5",
    "an input above the limit is refused, and nothing is started",
    story=[Start("x" * 2**21, refused="PayloadTooLarge")],
    expect=[],
    end=Unknown(),
)(ladder)

scenario(
    "I-6",
    "forty executions and two places for them: all of them end",
    story=[Start(times=40)],
    expect=LINES,
    end=Completed(OUTPUT),
    config=WorkerConfig(lease="3s", heartbeat_interval="1s", max_concurrent=2),
    interruptions=False,
)(ladder)

scenario(
    "I-7",
    "those that only wait take up no place",
    story=[Start(times=10), Sees("waiting", ("pause",))],
    expect=LINES,
    end=Completed(OUTPUT),
    config=WorkerConfig(lease="3s", heartbeat_interval="1s", max_concurrent=1),
)(ladder)

scenario(
    "I-8",
    "a queue that no worker serves is not claimed, and takes no harm",
    story=[Start(queue="elsewhere")],
    expect=[],
    end=Pending(),
    effects=[],
)(ladder)


@scenario(
    "I-9",
    "three hundred steps, with a death late in them",
    story=[AtSave(250, Crash())],
    expect=[f"step {n} = {n}" for n in range(300)],
    end=Completed(300),
)
async def long(ctx: TaskContext, data: None) -> Any:
    for n in range(300):
        await ctx.step(str(n), said(n), returns=int)
    return n + 1


@scenario(
    "I-10",
    "an execution that takes longer than it may fails when its time is up, whatever it does",
    story=[Sees("waiting", ("pause",))],
    expect=["sleep pause begins, due in 1h"],
    end=Failed("<*>deadline<*>"),
    timeout="30m",
)
async def deadline(ctx: TaskContext, data: None) -> Any:
    await ctx.sleep("pause", "1h")


@scenario(
    "I-11",
    "a name of 255 characters is one, and one of 256 is refused",
    expect=[f"step {'n' * 255} = 1"],
    end=Failed("ValueError: <*>255<*>"),
)
async def names(ctx: TaskContext, data: None) -> Any:
    await ctx.step("n" * 255, said(1), returns=int)
    return await ctx.step("n" * 256, said(1), returns=int)

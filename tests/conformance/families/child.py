"""Child contexts: async functions of their own inside a body, called with names of their own."""

from typing import Any

from tests.conformance.compositions import broken, said
from tests.conformance.families.step import failing
from tests.conformance.language import Completed, CrashIn, Failed, family
from zart import RetryConfig, StepFailed, TaskContext

FAMILY = "child context"
scenario, inapplicable = family(FAMILY)

PAUSE = ["sleep pause begins, due in 1h", "sleep pause is over"]


async def child(ctx: TaskContext, name: str, value: Any) -> Any:
    """Be a child with one step."""
    return await ctx.step(f"{name}/step", said(value), returns=Any)


@scenario("3-1", "a child with one step", data="x", expect=['step child/step = "x"'], end=Completed("x"))
async def basic(ctx: TaskContext, data: str) -> Any:
    return await child(ctx, "child", data)


@scenario("3-2", "a child is named by the input", data=["n", "x"], expect=['step n/step = "x"'], end=Completed("x"))
async def named(ctx: TaskContext, data: list[str]) -> Any:
    return await child(ctx, data[0], data[1])


@scenario(
    "3-3",
    "a child with two steps, the second on the first",
    data=1,
    expect=["step child/first = 2", "step child/second = 4"],
    end=Completed(4),
)
async def two_steps(ctx: TaskContext, data: int) -> Any:
    async def inner() -> int:
        first = await ctx.step("child/first", lambda: data + 1)
        return await ctx.step("child/second", lambda: first * 2)

    return await inner()


@scenario(
    "3-4",
    "a child's step fails, and with it the execution",
    expect=["step child/step failed: <*>ValueError: no"],
    end=Failed("<*>ValueError: no"),
)
async def fails(ctx: TaskContext, data: None) -> Any:
    async def inner() -> Any:
        return await ctx.step("child/step", broken())

    return await inner()


@scenario(
    "3-5",
    "a child's error is caught by the body around it",
    data="x",
    expect=["step child/step failed: <*>ValueError: no", 'step recover = "x"'],
    end=Completed("x"),
)
async def caught(ctx: TaskContext, data: str) -> Any:
    async def inner() -> Any:
        return await ctx.step("child/step", broken())

    try:
        return await inner()
    except StepFailed:
        return await ctx.step("recover", said(data), returns=str)


@scenario(
    "3-6",
    "a child in a child",
    data="x",
    expect=['step outer/step = "x"', 'step outer/inner/step = "x"'],
    end=Completed("x"),
)
async def nested(ctx: TaskContext, data: str) -> Any:
    async def outer() -> Any:
        return await child(ctx, "outer/inner", await child(ctx, "outer", data))

    return await outer()


@scenario(
    "3-7",
    "a step in a child is tried again",
    expect=["step child/step attempt 1 failed: <*>Transient: no, next in 1s", 'step child/step = "done"'],
    end=Completed("done"),
)
async def retried(ctx: TaskContext, data: None) -> Any:
    async def inner() -> Any:
        return await ctx.step_with_retry("child/step", RetryConfig.fixed(1, "1s"), failing(1), returns=str)

    return await inner()


@scenario(
    "3-8",
    "a step in a child is tried too often",
    expect=[
        "step child/step attempt 1 failed: <*>Transient: no, next in 1s",
        "step child/step failed: RetryExhausted: <*>",
    ],
    end=Failed("RetryExhausted: <*>"),
)
async def exhausted(ctx: TaskContext, data: None) -> Any:
    async def inner() -> Any:
        return await ctx.step_with_retry("child/step", RetryConfig.fixed(1, "1s"), failing(9), returns=str)

    return await inner()


@scenario(
    "3-9",
    "after a wait the child's steps are not run again",
    data="x",
    expect=['step child/step = "x"', *PAUSE],
    end=Completed("x"),
    effects=["x"],
)
async def replayed(ctx: TaskContext, data: str, play: Any) -> Any:
    async def inner() -> Any:
        return await ctx.step("child/step", play.note, data, returns=Any)

    value = await inner()
    await ctx.sleep("pause", "1h")
    return value


@scenario(
    "3-10",
    "a child with a step and a wait",
    data="x",
    expect=['step child/step = "x"', "sleep child/wait begins, due in 1h", "sleep child/wait is over"],
    end=Completed("x"),
)
async def with_wait(ctx: TaskContext, data: str) -> Any:
    async def inner() -> Any:
        value = await child(ctx, "child", data)
        await ctx.sleep("child/wait", "1h")
        return value

    return await inner()


@scenario(
    "3-11",
    "a child's large result is made again of its small steps, and is nowhere stored",
    data="x",
    expect=['step child/step = "x"', *PAUSE],
    end=Completed(300_000),
)
async def large(ctx: TaskContext, data: str) -> Any:
    async def inner() -> str:
        return str(await child(ctx, "child", data)) * 300_000

    first = await inner()
    await ctx.sleep("pause", "1h")
    return len(first)


@scenario(
    "3-12",
    "a child that was interrupted in its step runs that step again",
    data="x",
    story=[CrashIn("child/step")],
    expect=['step child/step = "x"'],
    end=Completed("x"),
    effects=["x", "x"],
)
async def interrupted(ctx: TaskContext, data: str, play: Any) -> Any:
    async def inner() -> Any:
        return await ctx.step("child/step", play.note, data, returns=Any)

    return await inner()


@scenario(
    "3-13",
    "a child with nothing but a wait, and a step after it",
    data="x",
    expect=["sleep child/wait begins, due in 1h", "sleep child/wait is over", 'step after = "x"'],
    end=Completed("x"),
)
async def only_wait(ctx: TaskContext, data: str) -> Any:
    async def inner() -> str:
        await ctx.sleep("child/wait", "1h")
        return data

    return await ctx.step("after", said(await inner()), returns=Any)


@scenario(
    "3-14",
    "what a child makes of its step's result is the same on replay",
    data="x",
    expect=['step child/step = "x"', *PAUSE],
    end=Completed("X"),
)
async def transformed(ctx: TaskContext, data: str) -> Any:
    async def inner() -> str:
        return str(await child(ctx, "child", data)).upper()

    value = await inner()
    await ctx.sleep("pause", "1h")
    return value


@scenario("3-15", "a child without any operation raises", expect=[], end=Failed("ValueError: no (<*>)"))
async def raises(ctx: TaskContext, data: None) -> Any:
    async def inner() -> Any:
        raise ValueError("no")

    return await inner()


@scenario("3-16", "a child without any operation returns nothing", expect=[], end=Completed(None))
async def nothing(ctx: TaskContext, data: None) -> Any:
    async def inner() -> None:
        return None

    return await inner()


@scenario(
    "3-17",
    "a child that must not run again is a capture: it runs once, and not on replay",
    data="x",
    expect=['capture child = "x"', *PAUSE],
    end=Completed("x"),
    effects=["x"],
)
async def captured(ctx: TaskContext, data: str, play: Any) -> Any:
    value = await ctx.capture("child", lambda: play.note(data), returns=Any)
    await ctx.sleep("pause", "1h")
    return value


@scenario(
    "3-18",
    "steps and waits inside a child and after it, over several replays",
    data="x",
    expect=[
        'step child/step = "x"',
        "sleep child/wait begins, due in 1h",
        "sleep child/wait is over",
        'step after = "x"',
        *PAUSE,
    ],
    end=Completed("x"),
    effects=["x", "x"],
)
async def mixed(ctx: TaskContext, data: str, play: Any) -> Any:
    async def inner() -> Any:
        value = await ctx.step("child/step", play.note, data, returns=Any)
        await ctx.sleep("child/wait", "1h")
        return value

    value = await ctx.step("after", play.note, await inner(), returns=Any)
    await ctx.sleep("pause", "1h")
    return value

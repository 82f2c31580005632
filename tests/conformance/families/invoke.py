"""Invoke: an execution starts another in a step, which reports its end as an event."""

from typing import Any

from tests.conformance.compositions import InvokeError, broken, invoke, reports, said
from tests.conformance.language import Completed, Failed, family
from zart import TaskContext

FAMILY = "invoke"
scenario, inapplicable = family(FAMILY)


async def echo(ctx: TaskContext, data: Any, play: Any) -> None:
    """Return what came, through a step."""
    await reports(ctx, data, play, lambda: ctx.step("echo", play.note, data["data"], returns=Any))


async def fails(ctx: TaskContext, data: Any, play: Any) -> None:
    """Fail."""
    play.note("failed")
    await reports(ctx, data, play, lambda: ctx.step("fails", broken()))


ECHO = {"echo": echo}
FAILS = {"fails": fails}
PAUSE = ["sleep pause begins, due in 1h", "sleep pause is over"]


def invoked(name: str, value: str, mail: int = 1) -> list[str]:
    """Return the lines of one that succeeded."""
    return [f"step invoke {name} = null", f"? event {name} begins", f'event {name} takes mail {mail} = {{"value":{value}}}']


REFUSED = ["step invoke call = null", "? event call begins", 'event call takes mail 1 = {"error":"no"}']


@scenario("5-1", "the other one's result", data="x", others=ECHO, expect=invoked("call", '"x"'), end=Completed("x"))
async def basic(ctx: TaskContext, data: str, play: Any) -> Any:
    return await invoke(ctx, play, "call", "echo", data)


@scenario("5-2", "the call is named by the input", data="n", others=ECHO, expect=invoked("n", "1"), end=Completed(1))
async def named(ctx: TaskContext, data: str, play: Any) -> Any:
    return await invoke(ctx, play, data, "echo", 1)


@scenario(
    "5-3",
    "a nested value goes there and comes back",
    data={"a": [1, {"b": None}]},
    others=ECHO,
    expect=invoked("call", '{"a":[1,{"b":null}]}'),
    end=Completed({"a": [1, {"b": None}]}),
)
async def nested(ctx: TaskContext, data: Any, play: Any) -> Any:
    return await invoke(ctx, play, "call", "echo", data)


@scenario("5-4", "nothing goes there and comes back", others=ECHO, expect=invoked("call", "null"), end=Completed(None))
async def nothing(ctx: TaskContext, data: Any, play: Any) -> Any:
    return await invoke(ctx, play, "call", "echo", None)


@scenario("5-5", "the other one fails, and so does this", others=FAILS, expect=REFUSED, end=Failed("<*>InvokeError: no (<*>)"))
async def failing(ctx: TaskContext, data: Any, play: Any) -> Any:
    return await invoke(ctx, play, "call", "fails")


@scenario("5-6", "the other one fails, and this one knows what to do", others=FAILS, expect=REFUSED, end=Completed("fallback"))
async def caught(ctx: TaskContext, data: Any, play: Any) -> Any:
    try:
        return await invoke(ctx, play, "call", "fails")
    except InvokeError:
        return "fallback"


LARGE = 250_000


@scenario("5-7", "a large value goes there", others=ECHO, expect=invoked("call", "<*>"), end=Completed(LARGE))
async def large(ctx: TaskContext, data: Any, play: Any) -> Any:
    return len(await invoke(ctx, play, "call", "echo", "x" * LARGE))


inapplicable(
    "5-8",
    "the other one runs for a tenant",
    "namespaces are later work: a queue of its own gives a tenant workers of its own, but hides nothing",
)


@scenario(
    "5-9",
    "after a wait the other one is not run again",
    data="x",
    others=ECHO,
    expect=[*invoked("call", '"x"'), *PAUSE],
    end=Completed("x"),
    effects=["x"],
)
async def replayed(ctx: TaskContext, data: str, play: Any) -> Any:
    value = await invoke(ctx, play, "call", "echo", data)
    await ctx.sleep("pause", "1h")
    return value


@scenario(
    "5-10",
    "after a wait the other one's failure is raised again, and it is not run again",
    others=FAILS,
    expect=[*REFUSED, *PAUSE],
    end=Completed("no"),
)
async def rethrown(ctx: TaskContext, data: Any, play: Any) -> Any:
    try:
        seen = str(await invoke(ctx, play, "call", "fails"))
    except InvokeError as error:
        seen = str(error)
    await ctx.sleep("pause", "1h")
    return seen


@scenario(
    "5-11",
    "first a step, then a call with its result",
    others=ECHO,
    expect=["step first = 2", *invoked("call", "2")],
    end=Completed(2),
)
async def step_first(ctx: TaskContext, data: Any, play: Any) -> Any:
    return await invoke(ctx, play, "call", "echo", await ctx.step("first", said(2), returns=int))


@scenario(
    "5-12",
    "first a call, then a step with its result",
    others=ECHO,
    expect=[*invoked("call", "2"), "step after = 4"],
    end=Completed(4),
)
async def call_first(ctx: TaskContext, data: Any, play: Any) -> Any:
    value = await invoke(ctx, play, "call", "echo", 2)
    return await ctx.step("after", said(value * 2), returns=int)


@scenario("5-13", "a call from within a child", others=ECHO, expect=invoked("child/call", "1"), end=Completed(1))
async def in_child(ctx: TaskContext, data: Any, play: Any) -> Any:
    async def inner() -> Any:
        return await invoke(ctx, play, "child/call", "echo", 1)

    return await inner()


@scenario(
    "5-14",
    "two calls, one after the other",
    others=ECHO,
    expect=[*invoked("a", "1"), *invoked("b", "2", 2)],
    end=Completed([1, 2]),
    effects=[1, 2],
)
async def two(ctx: TaskContext, data: Any, play: Any) -> Any:
    return [await invoke(ctx, play, "a", "echo", 1), await invoke(ctx, play, "b", "echo", 2)]


@scenario("5-15", "what is sent is transformed first", others=ECHO, expect=invoked("call", '"X"'), end=Completed("X"))
async def transformed(ctx: TaskContext, data: Any, play: Any) -> Any:
    return await invoke(ctx, play, "call", "echo", "x".upper())


@scenario(
    "5-16",
    "what comes back is transformed, on every replay alike",
    others=ECHO,
    expect=[*invoked("call", '"x"'), *PAUSE],
    end=Completed("X"),
)
async def transformed_result(ctx: TaskContext, data: Any, play: Any) -> Any:
    value = str(await invoke(ctx, play, "call", "echo", "x")).upper()
    await ctx.sleep("pause", "1h")
    return value

"""Plugins: a handler's `run` and its steps' functions, wrapped. What a wrapper raises is the wrapper's business."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.conformance.families.step import failing
from tests.conformance.language import Completed, Failed, family
from zart import RetryConfig, TaskContext, context

FAMILY = "plugin"
scenario, inapplicable = family(FAMILY)

Hook = Callable[..., None]


def told(hooks: tuple[Hook, ...], *what: Any) -> None:
    """Tell the hooks, and let none of them spoil anything."""
    for hook in hooks:
        with suppress(Exception):
            hook(*what)


async def watched(work: Callable[[], Any], *hooks: Hook) -> Any:
    """Be a body that tells of its beginnings and ends; leaving memory is an end too."""
    told(hooks, "begins")
    try:
        result = await work()
    except asyncio.CancelledError:
        told(hooks, "suspended")
        raise
    except Exception:
        told(hooks, "failed")
        raise
    told(hooks, "succeeded")
    return result


def attempts(fn: Any, *hooks: Hook) -> Any:
    """Return a step's function that tells of its attempts."""

    async def attempt() -> Any:
        number = context().current_attempt + 1
        told(hooks, "attempt", number)
        try:
            result = await fn()
        except Exception:
            told(hooks, "attempt failed", number)
            raise
        told(hooks, "attempt succeeded", number)
        return result

    return attempt


def noting(play: Any) -> Hook:
    """Return a hook that notes what it is told."""
    return lambda *what: play.note(" ".join(map(str, what)))


async def greets(ctx: TaskContext, *hooks: Hook, fails: int = 0, retries: int = 0) -> Any:
    """Be a body with one step."""
    return await ctx.step_with_retry(
        "greet", RetryConfig.fixed(retries, "1s"), attempts(failing(fails, "hello"), *hooks), returns=str
    )


GREET = 'step greet = "hello"'


@scenario(
    "10-1",
    "hooks of a body's beginning and end are called once",
    expect=[GREET],
    end=Completed("hello"),
    effects=["begins", "succeeded"],
)
async def lifecycle(ctx: TaskContext, data: None, play: Any) -> Any:
    return await watched(lambda: greets(ctx), noting(play))


@scenario(
    "10-2",
    "hooks of a step's beginning and end are called once, and not on replay",
    expect=[GREET, "sleep pause begins, due in 1h", "sleep pause is over"],
    end=Completed("hello"),
    effects=["attempt 1", "attempt succeeded 1"],
)
async def operations(ctx: TaskContext, data: None, play: Any) -> Any:
    said = await greets(ctx, noting(play))
    await ctx.sleep("pause", "1h")
    return said


@scenario(
    "10-3",
    "hooks of an attempt know its number and what became of it",
    expect=["step greet attempt 1 failed: <*>Transient: no, next in 1s", GREET],
    end=Completed("hello"),
    effects=["attempt 1", "attempt failed 1", "attempt 2", "attempt succeeded 2"],
)
async def each_attempt(ctx: TaskContext, data: None, play: Any) -> Any:
    return await greets(ctx, noting(play), fails=1, retries=1)


@scenario(
    "10-4",
    "what a hook raises changes nothing",
    expect=[GREET],
    end=Completed("hello"),
    effects=["begins", "attempt 1", "attempt succeeded 1", "succeeded"],
)
async def faulty(ctx: TaskContext, data: None, play: Any) -> Any:
    def raises(*what: Any) -> None:
        noting(play)(*what)
        raise RuntimeError("a hook")

    return await watched(lambda: greets(ctx, raises), raises)


@scenario(
    "10-5",
    "two hooks are both called, in their order",
    expect=[GREET],
    end=Completed("hello"),
    effects=["A begins", "B begins", "A succeeded", "B succeeded"],
)
async def two(ctx: TaskContext, data: None, play: Any) -> Any:
    first, second = (lambda *what, who=who: noting(play)(who, *what) for who in "AB")
    return await watched(lambda: greets(ctx), first, second)


@scenario(
    "10-6",
    "a body can tell its first pass from a replay",
    expect=["capture first = true", "sleep pause begins, due in 1h", "sleep pause is over"],
    end=Completed(None),
    effects=["begins", "first True", "suspended", "begins", "first False", "succeeded"],
)
async def first_pass(ctx: TaskContext, data: None, play: Any) -> Any:
    async def work() -> None:
        here: list[bool] = []
        await ctx.capture("first", lambda: bool(here.append(True) or here), returns=bool)  # type: ignore[func-returns-value] # that is why
        play.note(f"first {bool(here)}")
        await ctx.sleep("pause", "1h")

    return await watched(work, noting(play))


@scenario(
    "10-7",
    "the hook of a body's end is told of its failure",
    expect=["step greet failed: <*>Transient: no"],
    end=Failed("<*>Transient: no"),
    effects=["begins", "failed"],
)
async def failure(ctx: TaskContext, data: None, play: Any) -> Any:
    return await watched(lambda: greets(ctx, fails=9), noting(play))

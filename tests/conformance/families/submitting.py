"""Wait for callback: a step hands the callback's name to the other side, then its event is waited for."""

from typing import Any

from tests.conformance.compositions import Rejected, broken, callback, said
from tests.conformance.families.step import failing
from tests.conformance.language import Advance, Completed, Event, Failed, Sees, family
from zart import EventTimeout, RetryConfig, TaskContext

FAMILY = "wait for callback"
scenario, inapplicable = family(FAMILY)

YES = {"value": "yes"}
NO = {"error": "not approved"}


async def asked(ctx: TaskContext, name: str, submit: Any = None, timeout: str | None = None, **options: Any) -> Any:
    """Submit and wait."""
    heartbeat = options.pop("heartbeat", None)
    await ctx.step(f"submit {name}", submit or said(name), returns=Any, **options)
    return await callback(ctx, name, timeout, heartbeat=heartbeat)


def told(name: str, payload: str = '{"value":"yes"}', mail: int = 1, due: str = "") -> list[str]:
    """Return the lines of one that came."""
    began = f"event {name} begins" + (f", due in {due}" if due else "")
    return [f'step submit {name} = "{name}"', began, f"event {name} takes mail {mail} = {payload}"]


@scenario("7-1", "submitted, then completed", data="cb", story=[Event("cb", YES)], expect=told("cb"), end=Completed("yes"))
async def basic(ctx: TaskContext, data: str) -> Any:
    return await asked(ctx, data)


@scenario("7-2", "by a name of its own", story=[Event("approval", YES)], expect=told("approval"), end=Completed("yes"))
async def named(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "approval")


@scenario(
    "7-3",
    "a wait without a name of its own goes by its event, and the next by event#2",
    story=[Event("cb", 1), Event("cb", 2)],
    expect=["event cb begins", "event cb takes mail 1 = 1", "event cb#2 begins", "event cb#2 takes mail 2 = 2"],
    end=Completed([1, 2]),
)
async def unnamed(ctx: TaskContext, data: None) -> Any:
    return [await ctx.wait_for_event("cb"), await ctx.wait_for_event("cb")]


REFUSED = told("cb", '{"error":"not approved"}')


@scenario(
    "7-4",
    "refused by the other side",
    story=[Event("cb", NO)],
    expect=REFUSED,
    end=Failed("<*>Rejected: not approved (<*>)"),
)
async def rejected(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb")


LATE = ['step submit cb = "cb"', "event cb begins, due in 3m", "event cb failed: EventTimeout: <*>"]


@scenario("7-5", "never completed in time", expect=LATE, end=Failed("EventTimeout: <*>"))
async def times_out(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb", timeout="3m")


@scenario("7-6", "a refusal is caught", story=[Event("cb", NO)], expect=REFUSED, end=Completed("recovered"))
async def caught(ctx: TaskContext, data: None) -> Any:
    try:
        return await asked(ctx, "cb")
    except Rejected:
        return "recovered"


@scenario(
    "7-7",
    "submitting fails at each of 2 attempts, and nothing is waited for",
    expect=[
        "step submit cb attempt 1 failed: <*>ValueError: no, next in 1s",
        "step submit cb failed: RetryExhausted: <*>",
    ],
    end=Failed("RetryExhausted: <*>"),
)
async def not_submitted(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb", broken(), retry=RetryConfig.fixed(1, "1s"))


@scenario("7-8", "within a child", story=[Event("wrap/cb", YES)], expect=told("wrap/cb"), end=Completed("yes"))
async def in_child(ctx: TaskContext, data: None) -> Any:
    async def wrap() -> Any:
        return await asked(ctx, "wrap/cb")

    return await wrap()


@scenario(
    "7-9",
    "two, one after the other",
    story=[Event("first", YES), Event("second", YES)],
    expect=[*told("first"), *told("second", mail=2)],
    end=Completed(["yes", "yes"]),
)
async def two(ctx: TaskContext, data: None) -> Any:
    return [await asked(ctx, "first"), await asked(ctx, "second")]


@scenario(
    "7-10",
    "after a wait and a step",
    story=[Advance("90m"), Event("cb", YES)],
    expect=["sleep pause begins, due in 1h", "sleep pause is over", "step work = 1", *told("cb")],
    end=Completed("yes"),
)
async def mixed(ctx: TaskContext, data: None) -> Any:
    await ctx.sleep("pause", "1h")
    await ctx.step("work", said(1), returns=int)
    return await asked(ctx, "cb")


@scenario(
    "7-11",
    "the payload is an object",
    story=[Event("cb", {"value": {"ok": True}})],
    expect=told("cb", '{"value":{"ok":true}}'),
    end=Completed({"ok": True}),
)
async def structured(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb")


@scenario(
    "7-12",
    "no sign of life in time",
    expect=['step submit cb = "cb"', "event cb begins, due in 5s", "event cb failed: EventTimeout: <*>"],
    end=Failed("EventTimeout: <*>"),
)
async def no_heartbeat(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb", heartbeat="5s")


@scenario(
    "7-13",
    "a sign of life, then the end",
    story=[Advance("8m"), Event("cb", {"alive": True}), Advance("15m"), Sees("waiting"), Event("cb", YES)],
    expect=[
        *told("cb", '{"alive":true}', due="10m"),
        "event cb#2 begins, due in 10m",
        'event cb#2 takes mail 2 = {"value":"yes"}',
    ],
    end=Completed("yes"),
)
async def heartbeat(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb", heartbeat="10m")


@scenario("7-14", "a timeout is caught", expect=LATE, end=Completed("recovered"))
async def timeout_caught(ctx: TaskContext, data: None) -> Any:
    try:
        return await asked(ctx, "cb", timeout="3m")
    except EventTimeout:
        return "recovered"


@scenario("7-15", "completed with nothing", story=[Event("cb", {})], expect=told("cb", "{}"), end=Completed(None))
async def nothing(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb")


@scenario(
    "7-16",
    "submitting is tried again before anything is waited for",
    story=[Advance("1m"), Event("cb", YES)],
    expect=[
        "step submit cb attempt 1 failed: <*>Transient: no, next in 1s",
        'step submit cb = "done"',
        "event cb begins",
        'event cb takes mail 1 = {"value":"yes"}',
    ],
    end=Completed("yes"),
)
async def submitted_again(ctx: TaskContext, data: None) -> Any:
    return await asked(ctx, "cb", failing(1), retry=RetryConfig.fixed(1, "1s"))

"""Steps: results, replays, retries, errors."""

import logging
from datetime import timedelta
from typing import Any

from attrs import frozen

from tests.conformance.language import Advance, Completed, CrashIn, Failed, family
from tests.conformance.line import Broken
from zart import NonRetryable, RetryConfig, StepFailed, TaskContext, context

FAMILY = "step"
scenario, inapplicable = family(FAMILY)

logger = logging.getLogger("tests.conformance")


class Transient(Exception):
    """An error that may pass."""


class Interrupted(Exception):
    """A step that may run only once was interrupted: nobody knows how far it came."""


@frozen
class Report:
    """A result with parts of several types."""

    title: str
    counts: list[int]
    nested: dict[str, list[float]]


def failing(times: int, value: Any = "done", error: type[Exception] = Transient) -> Any:
    """Return a function that fails so many times and then returns a value; it goes by the attempt that is saved."""

    async def attempt() -> Any:
        if context().current_attempt < times:
            raise error("no")
        return value

    return attempt


@scenario("1-1", "a step succeeds at once", data="Ada", expect=['step greet = "hello Ada"'], end=Completed("hello Ada"))
async def basic(ctx: TaskContext, data: str) -> str:
    return await ctx.step("greet", "hello {}".format, data)


@scenario("1-2", "a step has the name that it was given", data="x", expect=['step a name of my own = "x"'], end=Completed("x"))
async def named(ctx: TaskContext, data: str) -> str:
    return await ctx.step("a name of my own", str, data)


@scenario(
    "1-3",
    "a step uses the result of the step before",
    data=2,
    expect=["step first = 3", "step second = 30"],
    end=Completed(30),
)
async def sequential(ctx: TaskContext, data: int) -> int:
    first = await ctx.step("first", lambda: data + 1)
    return await ctx.step("second", lambda: first * 10)


@scenario(
    "1-4",
    "a nested result of several types comes back as it was",
    expect=['step report = {"title":"t","counts":[1,2],"nested":{"a":[0.5]}}'],
    end=Completed(Report("t", [1, 2], {"a": [0.5]})),
)
async def nested(ctx: TaskContext, data: None) -> Report:
    return await ctx.step("report", lambda: Report("t", [1, 2], {"a": [0.5]}), returns=Report)


@scenario("1-5", "a step may return nothing", expect=["step nothing = null"], end=Completed(None))
async def nothing(ctx: TaskContext, data: None) -> None:
    return await ctx.step("nothing", lambda: None)


@scenario(
    "1-6",
    "a value that is transformed before it is saved is seen transformed on the first run too",
    data="ada",
    expect=['step shout = "ADA"', "sleep pause begins, due in 1h", "sleep pause is over"],
    end=Completed("ADA"),
)
async def transformed(ctx: TaskContext, data: str) -> str:
    value = await ctx.step("shout", data.upper)
    if value != "ADA":
        raise Broken(f"first seen as {value}")
    await ctx.sleep("pause", "1h")
    return value


@scenario(
    "1-7",
    "what a step logs is logged once, and not again on replay",
    expect=['step log = "logged"', "sleep pause begins, due in 1h", "sleep pause is over"],
    end=Completed("logged"),
    effects=["logged"],
)
async def logs(ctx: TaskContext, data: None, play: Any) -> str:
    def log() -> Any:
        logger.debug("in the step")
        return play.note("logged")

    said: str = await ctx.step("log", log, returns=str)
    await ctx.sleep("pause", "1h")
    return said


@scenario(
    "1-8",
    "after a wait the step before it is not run again",
    data="x",
    expect=['step before = "x"', "sleep pause begins, due in 2s", "sleep pause is over", 'step after = "xx"'],
    end=Completed("xx"),
    effects=["before", "after"],
)
async def step_and_wait(ctx: TaskContext, data: str, play: Any) -> str:
    before = await ctx.step("before", lambda: (play.note("before"), data)[1], returns=str)
    await ctx.sleep("pause", "2s")
    return await ctx.step("after", lambda: (play.note("after"), before * 2)[1], returns=str)


@scenario(
    "1-9",
    "a replay hands back the saved result of a step that is not what it would return now",
    expect=["step count = 1", "sleep pause begins, due in 1h", "sleep pause is over"],
    end=Completed(1),
    effects=["counted"],
)
async def replayed(ctx: TaskContext, data: None, play: Any) -> int:
    count: int = await ctx.step("count", lambda: (play.note("counted"), 1)[1], returns=int)
    await ctx.sleep("pause", "1h")
    return count


@scenario(
    "1-10",
    "a replay raises the saved error of a step again, without running it",
    expect=["step fails failed: <*>ValueError: no", "sleep pause begins, due in 1h", "sleep pause is over"],
    end=Completed(["no", "no"]),
    effects=["ran"],
)
async def rethrown(ctx: TaskContext, data: None, play: Any) -> list[str]:
    def fails() -> None:
        play.note("ran")
        raise ValueError("no")

    seen = []
    try:
        await ctx.step("fails", fails)
    except StepFailed as error:
        seen.append(error.message)
    await ctx.sleep("pause", "1h")
    return seen * 2


@scenario(
    "1-11",
    "a step fails, is tried again, and succeeds",
    expect=["step flaky attempt 1 failed: <*>Transient: no, next in 1s", 'step flaky = "done"'],
    end=Completed("done"),
)
async def retried(ctx: TaskContext, data: None) -> str:
    return str(await ctx.step_with_retry("flaky", RetryConfig.fixed(3, "1s"), failing(1), returns=str))


@scenario(
    "1-12",
    "a step that fails at each of 4 attempts has failed",
    expect=[f"step flaky attempt {n} failed: <*>Transient: no, next in 1s" for n in (1, 2, 3)]
    + ["step flaky failed: RetryExhausted: <*>"],
    end=Failed("RetryExhausted: <*>flaky<*>4<*>"),
)
async def exhausted(ctx: TaskContext, data: None) -> Any:
    return await ctx.step_with_retry("flaky", RetryConfig.fixed(3, "1s"), failing(9), returns=str)


@scenario(
    "1-13",
    "a policy of 6 attempts from 5 s to 1 min with jitter succeeds at the third",
    expect=[f"step flaky attempt {n} failed: <*>Transient: no, next in <*>" for n in (1, 2)] + ['step flaky = "done"'],
    end=Completed("done"),
)
async def jittered(ctx: TaskContext, data: None) -> str:
    policy = RetryConfig.exponential(5, "5s", max_delay="60s", jitter="full")
    return str(await ctx.step_with_retry("flaky", policy, failing(2), returns=str))


@scenario(
    "1-14",
    "delays grow as the policy says, and are saved",
    expect=[
        "step flaky attempt 1 failed: <*>Transient: no, next in 2s",
        "step flaky attempt 2 failed: <*>Transient: no, next in 6s",
        'step flaky = "done"',
    ],
    end=Completed("done"),
)
async def backed_off(ctx: TaskContext, data: None) -> str:
    return str(await ctx.step_with_retry("flaky", RetryConfig.exponential(2, "2s", 3.0), failing(2), returns=str))


@scenario(
    "1-15",
    "an error that the policy names is tried again",
    expect=["step flaky attempt 1 failed: <*>Transient: no, next in 1s", 'step flaky = "done"'],
    end=Completed("done"),
)
async def named_error(ctx: TaskContext, data: None) -> str:
    policy = RetryConfig.fixed(2, "1s", retry_on=Transient)
    return str(await ctx.step_with_retry("flaky", policy, failing(1), returns=str))


@scenario(
    "1-16",
    "an error that the policy does not name is not",
    expect=["step flaky failed: <*>Transient: no"],
    end=Failed("<*>Transient: no"),
)
async def unnamed_error(ctx: TaskContext, data: None) -> Any:
    return await ctx.step_with_retry("flaky", RetryConfig.fixed(2, "1s", retry_on=OSError), failing(1), returns=str)


async def once(ctx: TaskContext, name: str, fn: Any) -> Any:
    """Run a function at most once: a step before it says that it begins; who finds that saved finds it interrupted."""
    begun_here: list[int] = []
    await ctx.step(f"{name} begins", begun_here.append, 1)

    async def guarded() -> Any:
        if not begun_here:
            raise Interrupted(name)
        return fn()

    return await ctx.step(name, guarded, returns=Any, raises=Interrupted)


@scenario(
    "1-17",
    "a step that must run at most once, cut off by the worker's death, has failed and is not run again",
    story=[CrashIn("charge")],
    expect=["step charge begins = null", "step charge failed: <*>Interrupted: charge"],
    end=Failed("<*>Interrupted: charge"),
    effects=["charged"],
)
async def at_most_once(ctx: TaskContext, data: None, play: Any) -> Any:
    return await once(ctx, "charge", lambda: play.note("charged"))


@scenario(
    "1-18",
    "so it is with retries: each attempt runs at most once, and the second succeeds",
    story=[CrashIn("charge 1")],
    expect=[
        "step charge 1 begins = null",
        "step charge 1 failed: <*>Interrupted: charge 1",
        "step charge 2 begins = null",
        'step charge 2 = "charged"',
    ],
    end=Completed("charged"),
    effects=["charged", "charged"],
)
async def at_most_once_per_attempt(ctx: TaskContext, data: None, play: Any) -> str:
    for attempt in (1, 2):
        try:
            return str(await once(ctx, f"charge {attempt}", lambda: play.note("charged")))
        except Interrupted:
            continue
    raise Interrupted("twice")


@scenario(
    "1-19",
    "a step that fails without a policy fails the execution",
    expect=["step fails failed: <*>Transient: no"],
    end=Failed("<*>Transient: no"),
)
async def fails(ctx: TaskContext, data: None) -> Any:
    return await ctx.step("fails", failing(9), returns=str)


@scenario(
    "1-20",
    "an error that the body catches is no failure",
    expect=["step fails failed: <*>Transient: no", 'step after = "saved"'],
    end=Completed("saved"),
)
async def caught(ctx: TaskContext, data: None) -> str:
    try:
        await ctx.step("fails", failing(9), returns=str)
    except StepFailed:
        return await ctx.step("after", lambda: "saved")
    return "not failed"


@scenario(
    "1-21",
    "a retry's delay is kept over the worker's death",
    story=[Advance("30m")],
    expect=["step flaky attempt 1 failed: <*>Transient: no, next in 1h", 'step flaky = "done"'],
    end=Completed("done"),
)
async def long_delay(ctx: TaskContext, data: None) -> str:
    return str(await ctx.step_with_retry("flaky", RetryConfig.fixed(1, timedelta(hours=1)), failing(1), returns=str))


@scenario(
    "1-22",
    "an error that says so is not tried again, whatever the policy",
    expect=["step stops failed: <*>ValueError: no"],
    end=Failed("<*>ValueError: no"),
)
async def not_retried(ctx: TaskContext, data: None) -> Any:
    def stops() -> None:
        raise NonRetryable(ValueError("no"))

    return await ctx.step_with_retry("stops", RetryConfig.fixed(5, "1s"), stops)

"""Wait for condition: a loop of a step and a sleep, whose state goes from check to check."""

from typing import Any

from attrs import evolve, frozen

from tests.conformance.compositions import condition
from tests.conformance.language import Completed, Failed, family
from zart import StepFailed, TaskContext

FAMILY = "wait for condition"
scenario, inapplicable = family(FAMILY)


@frozen
class Job:
    """What is polled."""

    status: str = "pending"
    attempts: int = 0


def more(state: Any) -> int:
    """Return one more."""
    return int(state or 0) + 1


def checks(states: list[Any], name: str = "poll", every: str = "2s") -> list[str]:
    """Return the lines of checks that came to these states, with a pause between."""
    told: list[str] = []
    for number, state in enumerate(states, 1):
        told.append(f"step {name} {number} = {state}")
        if number < len(states):
            told += [f"sleep {name} {number} pause begins, due in {every}", f"sleep {name} {number} pause is over"]
    return told


@scenario("6-1", "a counter is polled until it is high enough", data=3, expect=checks([1, 2, 3]), end=Completed(3))
async def basic(ctx: TaskContext, data: int) -> Any:
    return await condition(ctx, "poll", more, lambda state: state >= data)


@scenario("6-2", "a condition that is met at once is not waited for", expect=checks([5]), end=Completed(5))
async def at_once(ctx: TaskContext, data: None) -> Any:
    return await condition(ctx, "poll", lambda state: state, lambda state: state >= 5, 5)


@scenario("6-3", "each check bears the name", expect=checks([1, 2], "poll-status"), end=Completed(2))
async def named(ctx: TaskContext, data: None) -> Any:
    return await condition(ctx, "poll-status", more, lambda state: state >= 2)


@scenario("6-4", "the first check is given the first state", expect=checks([6, 7]), end=Completed(7))
async def seeded(ctx: TaskContext, data: None) -> Any:
    return await condition(ctx, "poll", more, lambda state: state >= 7, 5)


@scenario("6-5", "each pause is as long as it was told", expect=checks([1, 2, 3], every="1h"), end=Completed(3))
async def paced(ctx: TaskContext, data: None) -> Any:
    return await condition(ctx, "poll", more, lambda state: state >= 3, every="1h")


@scenario(
    "6-6",
    "a condition that is not met in 3 checks fails the execution",
    expect=checks([1, 2, 3]),
    end=Failed("<*>Exhausted: poll: not met in 3 attempts (<*>)"),
)
async def exhausted(ctx: TaskContext, data: None) -> Any:
    return await condition(ctx, "poll", more, lambda state: False, attempts=3)


def breaks(state: Any) -> Any:
    """Raise."""
    raise ValueError("no")


BROKEN = ["step poll 1 failed: <*>ValueError: no"]


@scenario("6-7", "a check that raises fails the execution", expect=BROKEN, end=Failed("<*>ValueError: no"))
async def raises(ctx: TaskContext, data: None) -> Any:
    return await condition(ctx, "poll", breaks, lambda state: True)


@scenario("6-8", "a check that raises is caught", expect=BROKEN, end=Completed("fallback"))
async def caught(ctx: TaskContext, data: None) -> Any:
    try:
        return await condition(ctx, "poll", breaks, lambda state: True)
    except StepFailed:
        return "fallback"


@scenario(
    "6-9",
    "the state is an object",
    expect=checks(['{"status":"pending","attempts":1}', '{"status":"done","attempts":2}']),
    end=Completed(["done", 2]),
)
async def structured(ctx: TaskContext, data: None) -> Any:
    def check(job: Job) -> Job:
        seen = evolve(job, attempts=job.attempts + 1)
        return evolve(seen, status="done") if seen.attempts == 2 else seen

    job = await condition(ctx, "poll", check, lambda job: job.status == "done", Job(), returns=Job)
    return [job.status, job.attempts]


@scenario("6-10", "the last state may be nothing", expect=checks(["null"]), end=Completed(None))
async def nothing(ctx: TaskContext, data: None) -> Any:
    return await condition(ctx, "poll", lambda state: None, lambda state: True)


@scenario(
    "6-11",
    "a state that JSON has no word for goes from check to check as it is",
    expect=checks(["<*>", "<*>", "<*>"]),
    end=Completed(["set", 3]),
)
async def typed(ctx: TaskContext, data: None) -> Any:
    def check(state: set[int]) -> set[int]:
        return state | {len(state)}

    state = await condition(ctx, "poll", check, lambda state: len(state) == 3, set(), returns=set[int])
    return [type(state).__name__, len(state)]


@scenario(
    "6-12",
    "the last state feeds a step, and no check runs again",
    data=2,
    expect=[*checks([1, 2]), "step after = 20"],
    end=Completed(20),
    effects=[1, 2],
)
async def then_step(ctx: TaskContext, data: int, play: Any) -> Any:
    state = await condition(ctx, "poll", lambda state: play.note(more(state)), lambda state: state >= data)
    return await ctx.step("after", lambda: state * 10, returns=int)


@scenario(
    "6-13",
    "two conditions, the second seeded by the first",
    expect=[*checks([1, 2], "first"), *checks([3, 4], "second")],
    end=Completed(4),
)
async def two(ctx: TaskContext, data: None) -> Any:
    state = await condition(ctx, "first", more, lambda state: state >= 2)
    return await condition(ctx, "second", more, lambda state: state >= 4, state)

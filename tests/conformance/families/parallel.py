"""Parallel: gather. How many at once, and when it is enough, is the body's own few lines."""

import asyncio
from typing import Any

from tests.conformance.compositions import Until, batch, branch, broken, said
from tests.conformance.language import Advance, Completed, Event, Failed, Sees, family
from zart import TaskContext

FAMILY = "parallel"
scenario, inapplicable = family(FAMILY)

PAUSE = ["sleep pause begins, due in 1h", "sleep pause is over"]


def oks(*names: str) -> list[str]:
    """Return the lines of branches that return their names."""
    return [f'step {name} = "{name}"' for name in names]


def bad(name: str) -> str:
    """Return the line of a branch that failed."""
    return f"step {name} failed: <*>ValueError: no"


def mixed(ctx: TaskContext, pattern: str) -> list[Any]:
    """Return a branch for each letter: x fails, any other succeeds."""
    return [branch(ctx, f"b{n}", broken() if letter == "x" else said(f"b{n}")) for n, letter in enumerate(pattern)]


@scenario("8-1", "two branches of a step each", expect=oks("b0", "b1"), end=Completed(["b0", "b1"]))
async def basic(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "oo"), at_once=1)).unwrap()


async def value(it: Any) -> Any:
    """Be a branch without an operation."""
    return it


@scenario("8-2", "branches that need no operation", expect=[], end=Completed(["alpha", "beta"]))
async def bare(ctx: TaskContext, data: None) -> Any:
    return await asyncio.gather(value("alpha"), value("beta"))


@scenario(
    "8-3",
    "branches with names of their own",
    expect=oks("first", "second"),
    end=Completed({"first": "first", "second": "second"}),
)
async def named(ctx: TaskContext, data: None) -> Any:
    names = ["first", "second"]
    found = await batch([branch(ctx, name, said(name)) for name in names], at_once=1)
    return dict(zip(names, found.unwrap(), strict=True))


@scenario(
    "8-4",
    "branches that return different types",
    expect=['step text = "hello"', "step number = 42", 'step object = {"k":"v"}'],
    end=Completed(["hello", 42, {"k": "v"}]),
    unordered=True,
)
async def types(ctx: TaskContext, data: None) -> Any:
    return await asyncio.gather(
        ctx.step("text", said("hello"), returns=str),
        ctx.step("number", said(42), returns=int),
        ctx.step("object", said({"k": "v"}), returns=dict[str, str]),
    )


@scenario("8-5", "no branches at all", expect=[], end=Completed([[], "all completed"]))
async def none(ctx: TaskContext, data: None) -> Any:
    done = await batch([])
    return [done.results, done.reason]


@scenario(
    "8-6",
    "no failure is tolerated: after the first no branch begins",
    expect=[*oks("b0"), bad("b1")],
    end=Completed([["b0"], 1, "too many failed"]),
)
async def fail_fast(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "oxo"), at_once=1, until=Until(failures=0))
    return [done.succeeded, len(done.failures), done.reason]


@scenario(
    "8-7", "a branch's failure is raised and fails the execution", expect=[bad("b0")], end=Failed("<*>Rejected: no (<*>)")
)
async def rethrown(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "xo"), at_once=1, until=Until(failures=0))).unwrap()


@scenario(
    "8-8",
    "two successes are enough: no further branch begins",
    expect=oks("b0", "b1"),
    end=Completed([["b0", "b1"], "enough succeeded"]),
)
async def enough(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "oooo"), at_once=1, until=Until(successes=2))
    return [done.succeeded, done.reason]


@scenario(
    "8-9",
    "one failure is tolerated, and all branches run",
    expect=[*oks("b0"), bad("b1"), *oks("b2")],
    end=Completed([["b0", "b2"], "all completed"]),
)
async def tolerated(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "oxo"), at_once=1, until=Until(failures=1))
    return [done.succeeded, done.reason]


@scenario(
    "8-10",
    "two failures are more than the one that is tolerated",
    expect=[bad("b0"), bad("b1")],
    end=Completed([[], "too many failed"]),
)
async def exceeded(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "xxo"), at_once=1, until=Until(failures=1))
    return [done.succeeded, done.reason]


@scenario(
    "8-11",
    "the results come in the order of the branches, whatever the order of their ends",
    story=[Event("b2"), Sees("waiting", ("b0", "b1")), Event("b1"), Event("b0")],
    expect=[
        *[f"event b{n} begins" for n in (0, 1, 2)],
        *[f"event b{n} takes mail {mail} = null" for mail, n in enumerate((2, 1, 0), 1)],
    ],
    end=Completed(["r0", "r1", "r2"]),
    unordered=True,
)
async def ordered(ctx: TaskContext, data: None) -> Any:
    async def waits(number: int) -> str:
        await ctx.wait_for_event(f"b{number}")
        return f"r{number}"

    return await asyncio.gather(*(waits(number) for number in range(3)))


@scenario("8-12", "branches leave nothing but their steps in the history", expect=oks("fa", "fb"), end=Completed(["fa", "fb"]))
async def flat(ctx: TaskContext, data: None) -> Any:
    return (await batch([branch(ctx, name, said(name)) for name in ("fa", "fb")], at_once=1)).unwrap()


@scenario(
    "8-13",
    "a share of failures above the one that is tolerated stops it",
    expect=[bad("b0"), bad("b1")],
    end=Completed("too many failed"),
)
async def share(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "xxoo"), at_once=1, until=Until(percent=25))).reason


@scenario(
    "8-14",
    "one branch waits, the other does not run again",
    story=[Sees("waiting", ("pause",))],
    expect=['step b0 = "b0"', *PAUSE],
    end=Completed(["b0", "b1"]),
    effects=["b0"],
    unordered=True,
)
async def suspended(ctx: TaskContext, data: None, play: Any) -> Any:
    async def waits() -> str:
        await ctx.sleep("pause", "1h")
        return "b1"

    return (await batch([branch(ctx, "b0", lambda: play.note("b0")), waits], at_once=1)).unwrap()


@scenario("8-15", "results of a class come back as it", expect=["step a = <*>", "step b = <*>"], end=Completed(["set", "set"]))
async def typed(ctx: TaskContext, data: None) -> Any:
    branches = [branch(ctx, name, lambda: {1, 2}, set[int]) for name in "ab"]
    return [type(each).__name__ for each in (await batch(branches, at_once=1)).unwrap()]


@scenario(
    "8-16",
    "every branch fails, and all of it is tolerated",
    expect=[bad("b0"), bad("b1"), bad("b2")],
    end=Completed([3, "all completed"]),
)
async def all_fail(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "xxx"), at_once=1, until=Until(failures=3))
    return [len(done.failures), done.reason]


@scenario(
    "8-17",
    "three successes are never reached, and all branches run",
    expect=[*oks("b0"), bad("b1"), *oks("b2")],
    end=Completed([["b0", "b2"], 1, "all completed"]),
)
async def never_enough(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "oxo"), at_once=1, until=Until(successes=3))
    return [done.succeeded, len(done.failures), done.reason]


@scenario(
    "8-18",
    "too many failures come before enough successes",
    expect=[bad("b0"), bad("b1")],
    end=Completed("too many failed"),
)
async def both(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "xxoo"), at_once=1, until=Until(successes=3, failures=1))).reason


@scenario("8-19", "none at once is refused before any branch begins", expect=[], end=Failed("ValueError: at_once must be 1<*>"))
async def none_at_once(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "oo"), at_once=0)).unwrap()


@scenario(
    "8-20",
    "what succeeded and what failed can be told apart",
    expect=[*oks("b0"), bad("b1"), *oks("b2")],
    end=Completed({"succeeded": ["b0", "b2"], "failed": ["no"], "errors": [None, "no", None]}),
)
async def told_apart(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "oxo"), at_once=1, until=Until(failures=1))
    return {"succeeded": done.succeeded, "failed": done.failures, "errors": done.errors}


@scenario("8-21", "branches in a branch", expect=oks("i1", "i2"), end=Completed([["i1", "i2"]]))
async def nested(ctx: TaskContext, data: None) -> Any:
    async def outer() -> Any:
        return (await batch([branch(ctx, name, said(name)) for name in ("i1", "i2")], at_once=1)).unwrap()

    return (await batch([outer], at_once=1)).unwrap()


@scenario(
    "8-22",
    "a share of failures equal to the one that is tolerated does not stop it",
    expect=[bad("b0"), *oks("b1", "b2", "b3")],
    end=Completed([["b1", "b2", "b3"], "all completed"]),
)
async def equal_share(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "xooo"), at_once=1, until=Until(percent=25))
    return [done.succeeded, done.reason]


@scenario(
    "8-23",
    "the first of three to end wins, on every replay the same, and the others are abandoned",
    story=[Advance("30m"), Event("b1"), Advance("2h")],
    expect=[
        *[f"event b{n} begins" for n in (0, 1, 2)],
        "event b1 takes mail 1 = null",
        PAUSE[0],
        "? body abandons b0",
        "? body abandons b2",
        PAUSE[1],
    ],
    end=Completed(["b1"]),
)
async def first_wins(ctx: TaskContext, data: None) -> Any:
    tasks = [asyncio.create_task(ctx.wait_for_event(f"b{n}"), name=f"b{n}") for n in range(3)]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await ctx.sleep("pause", "1h")
    return [task.get_name() for task in done]

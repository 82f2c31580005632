"""Map: the same for the items of a list."""

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.conformance.compositions import Batch, Until, batch, branch, said
from tests.conformance.families.parallel import PAUSE, bad, mixed, oks
from tests.conformance.language import Completed, Event, Failed, Sees, family
from zart import TaskContext

FAMILY = "map"
scenario, inapplicable = family(FAMILY)


async def steps(ctx: TaskContext, items: Iterable[Any], fn: Any, name: str = "item {}", **options: Any) -> Batch:
    """Map items through a step each."""
    options.setdefault("at_once", 1)

    def step(item: Any, number: int) -> Any:
        async def run() -> Any:
            return fn(item, number)

        return branch(ctx, name.format(number), run)

    return await batch([step(item, number) for number, item in enumerate(items)], **options)


@scenario(
    "9-1",
    "a step for each item",
    data=["a", "b"],
    expect=['step item 0 = "hello a"', 'step item 1 = "hello b"'],
    end=Completed(["hello a", "hello b"]),
)
async def basic(ctx: TaskContext, data: list[str]) -> Any:
    return (await steps(ctx, data, lambda item, _: f"hello {item}")).unwrap()


@scenario("9-2", "items that need no operation", data=[1, 2], expect=[], end=Completed([2, 4]))
async def bare(ctx: TaskContext, data: list[int]) -> Any:
    async def double(item: int) -> int:
        return item * 2

    return await asyncio.gather(*(double(item) for item in data))


@scenario(
    "9-3",
    "each item with its place",
    data=[10, 20, 30],
    expect=["step item 0 = 10", "step item 1 = 21", "step item 2 = 32"],
    end=Completed([10, 21, 32]),
)
async def indexed(ctx: TaskContext, data: list[int]) -> Any:
    return (await steps(ctx, data, lambda item, number: item + number)).unwrap()


@scenario("9-4", "no items at all", data=[], expect=[], end=Completed([[], "all completed"]))
async def none(ctx: TaskContext, data: list[int]) -> Any:
    done = await steps(ctx, data, lambda item, _: item)
    return [done.results, done.reason]


@scenario(
    "9-5",
    "no failure is tolerated: after the first no item begins",
    expect=[*oks("b0"), bad("b1")],
    end=Completed([["b0"], 1, "too many failed"]),
)
async def fail_fast(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "oxo"), at_once=1, until=Until(failures=0))
    return [done.succeeded, len(done.failures), done.reason]


@scenario("9-6", "an item's failure is raised and fails the execution", expect=[bad("b0")], end=Failed("<*>Rejected: no (<*>)"))
async def rethrown(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "xo"), at_once=1, until=Until(failures=0))).unwrap()


@scenario("9-7", "two successes are enough", expect=oks("b0", "b1"), end=Completed(["b0", "b1"]))
async def enough(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "oooo"), at_once=1, until=Until(successes=2))).succeeded


@scenario(
    "9-8",
    "one failure is tolerated, and every item runs",
    expect=[*oks("b0"), bad("b1"), *oks("b2")],
    end=Completed([["b0", "b2"], "all completed"]),
)
async def tolerated(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "oxo"), at_once=1, until=Until(failures=1))
    return [done.succeeded, done.reason]


@scenario("9-9", "two failures are more than one", expect=[bad("b0"), bad("b1")], end=Completed("too many failed"))
async def exceeded(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "xxo"), at_once=1, until=Until(failures=1))).reason


@scenario("9-10", "half is more than a quarter", expect=[bad("b0"), bad("b1")], end=Completed("too many failed"))
async def share(ctx: TaskContext, data: None) -> Any:
    return (await batch(mixed(ctx, "xxoo"), at_once=1, until=Until(percent=25))).reason


@scenario(
    "9-11",
    "two at once, and the results come in the order of the items",
    story=[
        Sees("waiting", ("item 0", "item 1")),
        Event("item 1"),
        Sees("waiting", ("item 0", "item 2")),
        Event("item 2"),
        Event("item 0"),
    ],
    expect=[
        "event item 0 begins",
        "event item 1 begins",
        "event item 1 takes mail 1 = null",
        "event item 2 begins",
        "event item 2 takes mail 2 = null",
        "event item 0 takes mail 3 = null",
    ],
    end=Completed(["r0", "r1", "r2"]),
    unordered=True,
)
async def two_at_once(ctx: TaskContext, data: None) -> Any:
    def waits(number: int) -> Any:
        async def run() -> str:
            await ctx.wait_for_event(f"item {number}")
            return f"r{number}"

        return run

    return (await batch([waits(number) for number in range(3)], at_once=2)).unwrap()


@scenario("9-12", "items leave nothing but their steps in the history", expect=oks("fa", "fb"), end=Completed(["fa", "fb"]))
async def flat(ctx: TaskContext, data: None) -> Any:
    return (await batch([branch(ctx, item, said(item)) for item in ("fa", "fb")], at_once=1)).unwrap()


@scenario(
    "9-13",
    "names made of the items",
    data=[1, 2],
    expect=["step item-1 = 10", "step item-2 = 20"],
    end=Completed([10, 20]),
)
async def named(ctx: TaskContext, data: list[int]) -> Any:
    return (await batch([branch(ctx, f"item-{item}", said(item * 10)) for item in data], at_once=1)).unwrap()


@scenario(
    "9-14",
    "each item's result is transformed before it is saved",
    data=["x", "y"],
    expect=['step item 0 = "X"', 'step item 1 = "Y"', *PAUSE],
    end=Completed(["X", "Y"]),
)
async def transformed(ctx: TaskContext, data: list[str]) -> Any:
    found = (await steps(ctx, data, lambda item, _: item.upper())).unwrap()
    await ctx.sleep("pause", "1h")
    return found


@scenario(
    "9-15",
    "one item waits, the one before it does not run again",
    story=[Sees("waiting", ("pause",))],
    expect=['step r0 = "r0"', *PAUSE, 'step r1 = "r1"'],
    end=Completed(["r0", "r1"]),
    effects=["r0", "r1"],
)
async def suspended(ctx: TaskContext, data: None, play: Any) -> Any:
    async def waits() -> Any:
        await ctx.sleep("pause", "1h")
        return await ctx.step("r1", play.note, "r1", returns=Any)

    return (await batch([branch(ctx, "r0", lambda: play.note("r0")), waits], at_once=1)).unwrap()


LARGE = 70_000


@scenario(
    "9-16",
    "many large results, which are stored one by one and together nowhere",
    expect=[f"step item {n} = <*>" for n in range(4)] + PAUSE,
    end=Completed(4 * LARGE),
)
async def large(ctx: TaskContext, data: None) -> Any:
    found = (await steps(ctx, "abcd", lambda item, _: item * LARGE)).unwrap()
    await ctx.sleep("pause", "1h")
    return sum(map(len, found))


@scenario(
    "9-17",
    "after a wait the items are not run again",
    expect=['step item 0 = "X"', 'step item 1 = "Y"', *PAUSE],
    end=Completed(["X", "Y"]),
    effects=["X", "Y"],
)
async def then_wait(ctx: TaskContext, data: None, play: Any) -> Any:
    found = (await steps(ctx, "xy", lambda item, _: play.note(item.upper()))).unwrap()
    await ctx.sleep("pause", "1h")
    return found


@scenario(
    "9-18",
    "after a wait neither the failed item is run again",
    expect=[*oks("b0"), bad("b1"), *PAUSE],
    end=Completed([["b0"], ["no"]]),
)
async def failed_then_wait(ctx: TaskContext, data: None) -> Any:
    done = await batch(mixed(ctx, "ox"), at_once=1, until=Until(failures=1))
    await ctx.sleep("pause", "1h")
    return [done.succeeded, done.failures]


@scenario(
    "9-19",
    "the whole result is transformed, and saved as such",
    expect=['step item 0 = "X"', 'step item 1 = "Y"', 'capture whole = "X,Y"'],
    end=Completed("X,Y"),
)
async def whole(ctx: TaskContext, data: None) -> Any:
    found = (await steps(ctx, "xy", lambda item, _: item.upper())).unwrap()
    return await ctx.capture("whole", lambda: ",".join(found), returns=str)


@scenario(
    "9-20",
    "after a wait the whole result comes back as it was saved",
    expect=['step item 0 = "X"', 'step item 1 = "Y"', 'capture whole = "X,Y"', *PAUSE],
    end=Completed(["X", "Y"]),
    effects=["joined"],
)
async def whole_then_wait(ctx: TaskContext, data: None, play: Any) -> Any:
    found = (await steps(ctx, "xy", lambda item, _: item.upper())).unwrap()
    text = await ctx.capture("whole", lambda: (play.note("joined"), ",".join(found))[1], returns=str)
    await ctx.sleep("pause", "1h")
    return text.split(",")


@scenario(
    "9-21",
    "a hundred items side by side",
    expect=[f"step item {n} = {n}" for n in range(100)],
    end=Completed(4950),
)
async def many(ctx: TaskContext, data: None) -> Any:
    return sum((await steps(ctx, range(100), lambda item, _: item, at_once=None)).unwrap())

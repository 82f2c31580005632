"""Another body is deployed while an execution waits: it matches what was saved, or nothing happens until one does."""

from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import Any

from tests.conformance.compositions import said
from tests.conformance.language import Advance, Body, Completed, Deploy, Event, Failed, Waiting, family
from zart import TaskContext

FAMILY = "identity change between deploys"
scenario, inapplicable = family(FAMILY)

PAUSE = "sleep pause begins, due in 1h"
KINDS: dict[str, tuple[Callable[[TaskContext], Awaitable[Any]], list[str]]] = {
    "step": (lambda ctx: ctx.step("x", said(1), returns=int), ["step x = 1"]),
    "sleep": (lambda ctx: ctx.sleep("x", "1s"), ["sleep x begins, due in 1s", "sleep x is over"]),
    "event": (lambda ctx: ctx.wait_for_event("x"), ["event x begins", "event x takes mail 1 = 1"]),
    "capture": (lambda ctx: ctx.capture("x", lambda: 1, returns=int), ["capture x = 1"]),
    "now": (lambda ctx: ctx.now("x"), ["now x = <*>"]),
    "random": (lambda ctx: ctx.random("x"), ["random x = <*>"]),
}

STORIES = {"event": (Event("x", 1),), "sleep": (Advance("1s"),)}
"""What brings a body of a kind to its pause."""


def with_kind(kind: str) -> Body:
    """Return a body with an operation of a kind and a pause."""

    async def body(ctx: TaskContext, data: Any) -> Any:
        await KINDS[kind][0](ctx)
        await ctx.sleep("pause", "1h")
        return "done"

    return body


for old, new in permutations(KINDS, 2):
    scenario(
        f"H-1.{old}.{new}",
        f"saved as {old}, and now a {new} of the same name: refused, and nothing of the body runs",
        story=[*STORIES.get(old, ()), Deploy(with_kind(new)), Advance("3601s" if old == "sleep" else "1h")],
        expect=[*KINDS[old][1], PAUSE, f"body is set aside: replay expected {old} 'x'<*>{new} 'x'<*>"],
        end=Waiting(("pause",), f"replay expected {old} 'x'<*>"),
        interruptions=False,
    )(with_kind(old))


def steps(*names: str) -> Body:
    """Return a body with steps of these names, with a pause after the second."""

    async def body(ctx: TaskContext, data: Any, play: Any) -> Any:
        async def note(name: str) -> Any:
            return play.note(name)

        for name in names:
            if name == "pause":
                await ctx.sleep("pause", "1h")
            else:
                await ctx.step(name, note, name, returns=str)
        return list(names)

    return body


OLD = ("a", "b", "pause", "c")
SAVED = ['step a = "a"', 'step b = "b"', PAUSE]
REFUSED = "body is set aside: replay expected step '{}'<*>"

for number, (what, new_names, missing) in enumerate(
    (
        ("a step is renamed", ("a", "B", "pause", "c"), "b"),
        ("a step is inserted before what was saved", ("a", "new", "b", "pause", "c"), "b"),
        ("a step that was saved is gone", ("a", "pause", "c"), "b"),
        ("two steps change places", ("b", "a", "pause", "c"), "a"),
        ("the body is shorter than what was saved", ("a",), "b"),
    ),
    1,
):
    scenario(
        f"H-2.{number}",
        f"{what}: refused, naming it, and nothing new runs",
        story=[Deploy(steps(*new_names)), Advance("1h"), Advance("3601s")],
        # A body that has ended is refused at once, and again a second later; one that rests has a second to ask.
        expect=[*SAVED, *[REFUSED.format(missing)] * (2 if len(new_names) == 1 else 1)],
        end=Waiting(("pause",), f"replay expected step '{missing}'<*>"),
        interruptions=False,
        effects=["a", "b"],
    )(steps(*OLD))

scenario(
    "H-3",
    "a wait that had begun is gone: refused",
    story=[Deploy(steps("a", "b", "c")), Advance("1h"), Advance("3601s")],
    expect=[*SAVED, "body is set aside: replay expected sleep 'pause'<*>"],
    end=Waiting(("pause",), "replay expected sleep 'pause'<*>"),
    interruptions=False,
    effects=["a", "b"],
)(steps(*OLD))

scenario(
    "H-4",
    "the right body is deployed again: it goes on as if nothing had been",
    story=[Deploy(steps("a", "B", "pause", "c")), Advance("1h"), Advance("3601s"), Deploy(steps(*OLD))],
    expect=[*SAVED, REFUSED.format("b"), "sleep pause is over", 'step c = "c"'],
    end=Completed(list(OLD)),
    interruptions=False,
    effects=["a", "b", "c"],
)(steps(*OLD))

scenario(
    "H-5",
    "what comes after all that was saved may change freely",
    story=[Deploy(steps("a", "b", "pause", "d", "e"))],
    expect=[*SAVED, "sleep pause is over", 'step d = "d"', 'step e = "e"'],
    end=Completed(["a", "b", "pause", "d", "e"]),
    effects=["a", "b", "d", "e"],
    interruptions=False,
)(steps(*OLD))


async def same(ctx: TaskContext, data: Any) -> Any:
    """Ask for two operations of one name."""
    await ctx.step("a", said(1), returns=int)
    return await ctx.step("a", said(2), returns=int)


scenario(
    "H-6",
    "one name for two operations is refused at once",
    expect=["step a = 1"],
    end=Failed("DuplicateStepName: <*>"),
)(same)

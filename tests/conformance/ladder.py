"""A body whose every save is known: what the scenarios about one moment interrupt."""

from typing import Any

from zart import TaskContext

SAVES: tuple[tuple[str, ...], ...] = (
    ("step a = 1",),
    ("sleep pause begins, due in 1h",),
    (),  # it leaves memory
    ("sleep pause is over",),
    ("step b = 2",),
    (),  # it ends
)
"""The lines that each save brings."""

LINES = [line for save in SAVES for line in save]
OUTPUT = [1, 2]


async def ladder(ctx: TaskContext, data: Any, play: Any) -> list[int]:
    """Climb: a step, a sleep, a step."""

    async def effect(value: int) -> Any:
        return play.note(value)

    return [await ctx.step("a", effect, 1, returns=int), await _second(ctx, effect)]


async def _second(ctx: TaskContext, effect: Any) -> int:
    await ctx.sleep("pause", "1h")
    return int(await ctx.step("b", effect, 2, returns=int))


def lines_after(saves: int) -> list[str]:
    """Return the history after so many saves."""
    return [line for save in SAVES[:saves] for line in save]

"""Hostile payloads: what a database, a codec or a worker could stumble over."""

from typing import Any

from tests.conformance.compositions import said
from tests.conformance.language import Completed, Event, Failed, family
from zart import StepFailed, TaskContext

FAMILY = "hostile payloads"
scenario, inapplicable = family(FAMILY)


def deep(levels: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


VALUES: dict[str, Any] = {
    "a NUL": "a\0b",
    "a lone surrogate": "a\ud800b",
    "what is not a number": float("nan"),
    "infinity": float("-inf"),
    "minus zero": -0.0,
    "an integer of 4,000 digits": 10**4000,
    "lists 400 deep": deep(400),
    "keys in an order of their own": {"b": 1, "a": 2, "": 3},
    "keys that look like the codec's own": {"$zart:float": "nan", "$zart:dict": {}},
    "64 kibibytes": "é" * 32_768,
    "markup": "<script>alert(1)</script>'; DROP TABLE zart; --",
    "half a pair, a byte order mark and a line separator": "\udc00\ufeff\u2028",
}

for number, (words, value) in enumerate(VALUES.items(), 1):

    @scenario(
        f"G-{number}",
        f"{words}: as input, result, event, capture and output it comes back as it was",
        data=value,
        story=[Event("go", value)],
        expect=["step result = <x>", "event go begins", "event go takes mail 1 = <x>", "capture captured = <x>"],
        end=Completed([value] * 4),
    )
    async def everywhere(ctx: TaskContext, data: Any) -> Any:
        result = await ctx.step("result", said(data), returns=Any)
        event = await ctx.wait_for_event("go")
        captured = await ctx.capture("captured", lambda: result, returns=Any)
        return [data, result, event, captured]


class Unspeakable(Exception):
    """An error that cannot be looked at."""

    def __str__(self) -> str:
        """Raise."""
        raise RuntimeError("no words")


class Peculiar(Exception):
    """An error whose class takes other arguments than it has."""

    def __init__(self, one: str, *, two: str) -> None:
        super().__init__(f"{one} and {two}")


ERRORS: dict[str, BaseException] = {
    "with a NUL in its text": ValueError("a\0b"),
    "with a lone surrogate in its text": ValueError("a\ud800b"),
    "whose text is a mebibyte": ValueError("x" * 2**20),
    "that cannot be looked at": Unspeakable(),
    "with an __init__ of its own": Peculiar("one", two="two"),
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "that looks like the database's": ConnectionResetError("server closed the connection"),
}

for number, (words, error) in enumerate(ERRORS.items(), len(VALUES) + 1):

    @scenario(
        f"G-{number}",
        f"a step raises {'an error ' if words[0].islower() else ''}{words}: a recorded failure, once, and the body goes on",
        expect=["step raises failed: <*>", "step after = 1"],
        end=Completed(1),
        options={"error": error},
    )
    async def raises(ctx: TaskContext, data: None, play: Any) -> Any:
        async def run() -> Any:
            raise play.scenario.options["error"]

        try:
            await ctx.step("raises", run)
        except StepFailed:
            return await ctx.step("after", said(1), returns=int)


class Own:
    """A class that nobody has declared."""


@scenario(
    "G-22",
    "a result that cannot be saved fails its step for good, and its function is not called again",
    expect=["step result failed: UndeclaredType: <*>"],
    end=Failed("UndeclaredType: <*>"),
    effects=["called"],
    max_retries=0,
)
async def undeclared(ctx: TaskContext, data: None, play: Any) -> Any:
    async def run() -> Any:
        play.note("called")
        return Own()

    return await ctx.step("result", run, returns=Any)


@scenario("G-23", "a name with a NUL is refused", expect=[], end=Failed("ValueError: <*>name<*>"))
async def bad_name(ctx: TaskContext, data: None) -> Any:
    return await ctx.step("a\0b", said(1), returns=int)

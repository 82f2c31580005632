"""The same value, of the same type, on the first run and on replay, for every kind of value, on every backend."""

import enum
import math
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import pydantic
import pytest
from attrs import frozen

from tests.runtime.conftest import MakeHarness
from zart import TaskContext, TaskHandler
from zart.codec import ANY, codec_for


@frozen
class Attrs:
    a: int
    b: "list[Decimal]"


@dataclass
class Data:
    a: int
    b: dict[str, float]


class Model(pydantic.BaseModel):
    a: int
    b: tuple[int, str]


class Typed(TypedDict):
    a: int
    b: list[str]


class Named(NamedTuple):
    a: int
    b: bytes


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


VALUES: list[tuple[Any, Any]] = [
    (Attrs, Attrs(1, [Decimal("1.10"), Decimal("-0")])),
    (Data, Data(1, {"x": 0.1, "y": -0.0})),
    (Model, Model(a=1, b=(2, "x"))),
    (Typed, {"a": 1, "b": ["x"]}),
    (Named, Named(1, b"\x00\xff")),
    (Colour, Colour.RED),
    (Level, Level.LOW),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5, minutes=45)))),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, fold=1)),  # noqa: DTZ001 # naive values come back naive
    (date, date(2026, 1, 2)),
    (time, time(1, 2, 3, 4)),
    (timedelta, timedelta(days=-3, microseconds=1)),
    (Decimal, Decimal("1E+400")),
    (uuid.UUID, uuid.UUID(int=7)),
    (bytes, b"\x00\x80"),
    (set[int], {1, 2, 3}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (Path, Path("/a/b")),
    (int, 2**70),
    (int, -(2**64)),
    (dict[int, str], {1: "a", 2: "b"}),
    (list[Attrs | None], [None, Attrs(1, [])]),
    (int | str | None, "1"),
    (Any, {"b": [1, 2.5, None, True, "text"], "a": {}}),
    (Any, "nul \x00, surrogate \ud800, emoji 😀"),
    (Any, [math.inf, -math.inf, -0.0, 1e308]),
    (Any, None),
    (bool, True),
    (float, 0.1 + 0.2),
]


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of the same types all the way down."""
    return type(left) is type(right) and repr(left) == repr(right)


@pytest.mark.parametrize("number", range(len(VALUES)), ids=lambda n: str(VALUES[n][0])[:40])
async def test_values_come_back_as_they_were(harness: MakeHarness, number: int) -> None:
    declared, value = VALUES[number]
    seen: list[Any] = []

    def give() -> Any:
        return value

    class Keeps(TaskHandler[declared, declared]):  # type: ignore[valid-type]
        async def run(self, ctx: TaskContext, data: Any) -> Any:
            result = await ctx.step("step", give, returns=declared)
            event = await ctx.wait_for_event("event", declared)
            seen.append((data, result, event))
            await ctx.sleep("nap", "1h")
            return result

    async with harness(Keeps()) as h:
        handle = await h.client.start_for(Keeps, "x", value)
        # An object says itself what it is; of a container only the wait does, and from outside it is JSON.
        plain = ANY.decode(codec_for(declared).encode(value)) if type(value) in (list, dict) else value
        await handle.send("event", plain)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        output = await handle.result("2h")
        assert same(output, value)
        assert len(seen) == 2
        for found in (part for pass_ in seen for part in pass_):
            assert same(found, value), found


async def test_nan_comes_back(harness: MakeHarness) -> None:
    class Nan(TaskHandler[float, float]):
        async def run(self, ctx: TaskContext, data: float) -> float:
            return await ctx.step("s", _nan)

    async with harness(Nan()) as h:
        handle = await h.client.start_for(Nan, "x", math.nan)
        assert math.isnan(await handle.result("1s"))


async def _nan() -> float:
    return math.nan


class Declined(Exception):
    def __init__(self, code: int, *, retry: bool = False) -> None:
        super().__init__(f"declined with {code}")
        self.code = code
        self.retry = retry


async def test_declared_errors_come_back_as_themselves(harness: MakeHarness) -> None:
    seen: list[BaseException] = []

    async def decline() -> None:
        raise Declined(3, retry=True)

    class Pays(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            try:
                await ctx.step("pay", decline, raises=Declined)
            except Declined as error:
                seen.append(error)
            await ctx.sleep("nap", "1h")
            return 0

    async with harness(Pays()) as h:
        handle = await h.client.start_for(Pays, "x", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        await handle.result("2h")
        first, replayed = seen
        assert isinstance(first, Declined)
        assert isinstance(replayed, Declined)
        assert (first.code, first.retry, str(first), first.args) == (
            replayed.code,
            replayed.retry,
            str(replayed),
            replayed.args,
        )
        assert first.zart_step == replayed.zart_step == "pay"  # type: ignore[attr-defined]

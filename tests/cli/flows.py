"""Handlers for the tests of the command line; workers in other processes import them."""

import asyncio
from pathlib import Path
from typing import Any

from attrs import frozen

from zart import Registry, RetryConfig, TaskContext, TaskHandler, zart_step

ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202egpj.exe\x9b31m"


@frozen
class Dataset:
    dataset: str


@frozen
class Approval:
    approved: bool
    by: str


@frozen
class Written:
    rows_written: int


class Pipeline(TaskHandler[Dataset, Written]):
    name = "data-pipeline"

    async def run(self, ctx: TaskContext, data: Dataset) -> Written:
        rows = await ctx.step("load", lambda: 48291)
        await ctx.wait_for_event("approval", Approval, name="await-approval", timeout="48h")
        return await ctx.step("write", lambda: Written(rows), returns=Written)


class Once(TaskHandler[str, int]):
    """Its second step ends only when it runs for the second time; each start leaves a line in the file that it is given."""

    name = "once"

    async def run(self, ctx: TaskContext, data: str) -> int:
        await ctx.step("first", _note, data, "first")
        return await ctx.step("second", _hold, data)


def _note(path: str, line: str) -> int:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")
    return Path(path).read_text().count(line)


async def _hold(path: str) -> int:
    starts = _note(path, "second")
    if starts == 1:
        await asyncio.Event().wait()
    return starts


class Echo(TaskHandler[Any, Any]):
    name = "echo"

    async def run(self, ctx: TaskContext, data: Any) -> Any:
        return data


class Hostile(TaskHandler[None, Any]):
    name = "hostile"

    async def run(self, ctx: TaskContext, data: None) -> Any:
        await ctx.step("speak", lambda: ESCAPES)
        return {ESCAPES: ESCAPES}


class Failing(TaskHandler[None, None]):
    name = "failing"

    async def run(self, ctx: TaskContext, data: None) -> None:
        raise ValueError(f"boom {ESCAPES}")


class Unlucky(TaskHandler[None, None]):
    name = "unlucky"

    async def run(self, ctx: TaskContext, data: None) -> None:
        await ctx.step("try", _unlucky, retry=RetryConfig.fixed(1, 0))


def _unlucky() -> None:
    raise ValueError("no luck")


registry = Registry([Pipeline(), Once(), Echo(), Hostile(), Failing(), Unlucky()])
single = Echo()
several = [Echo(), Failing()]
twice = [Echo(), Echo()]
classes = [Echo(), Failing]
strangers = ["echo"]
nothing = Registry()
number = 7


def factory() -> Registry:
    return registry


def broken() -> Registry:
    raise RuntimeError("no registry today")


@zart_step("charge {order}")
def charge(order: str) -> str:
    return order


async def undecorated(order: str) -> str:
    return order

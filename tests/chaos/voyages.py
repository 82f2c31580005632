"""The handler of the long storms: like an errand, but some of what it is told fails, faints, starves, or kills.

A word is `verb:rest`; the whole word is the step's name.

- `step`: a step that takes a moment. `linger`: one that takes most of a second. `sync`: one in a thread.
- `flaky`: a step that fails about every second time, and is tried again. `both`: two steps side by side.
- `book`: a transaction with a row of the user's own. `nap`, `rest`: a timer, the second one long enough to park.
- `news`: the next event of that name. `greedy`: a step that wants much memory.
- `faint`: a step that kills its process the first time. `poison`: one that kills it every time.
- `doom`: the body raises, and `on_failure` makes it good.
"""

import asyncio
import mmap
import os
import random
import signal
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.chaos.ledger import Quill
from zart import ExecutionFailure, RetryConfig, TaskContext, TaskHandler

MUCH = 256 << 20
NAME = "voyage"


class Unlucky(Exception):
    """A step failed; it is worth another try."""


class Doomed(Exception):
    """The body cannot be completed."""


PATIENT = RetryConfig.fixed(1000, "100ms")


def steps_of(words: list[str]) -> list[str]:
    """Return the names under which the values of a body are saved, in the order of its result."""
    names: list[str] = []
    news = count(1)
    for word in words:
        match word.partition(":")[0]:
            case "both":
                names += [f"{word}.a", f"{word}.b"]
            case "news":
                number = next(news)
                names.append("news" if number == 1 else f"news#{number}")
            case "nap" | "rest" | "doom":
                pass
            case _:
                names.append(word)
    return names


@define(eq=False)
class Voyage(TaskHandler[list[str], list[Any]]):
    """Does what it is told, and notes all of it."""

    name = NAME
    retry = RetryConfig.fixed(1000, "200ms", give_up_on=Doomed)
    quill: Quill
    bookings: str
    """The user's table."""
    marks: Path
    """A folder with one file for each step that has fainted."""
    _calls: Any = field(factory=lambda: count(1))

    async def run(self, ctx: TaskContext, data: list[str]) -> list[Any]:
        execution_id = ctx.info.execution_id
        self.quill.note("body", execution_id)
        values: list[Any] = []
        for word in data:
            values += await self._do(ctx, execution_id, word)
        self.quill.note("done", execution_id)
        return values

    async def on_failure(self, ctx: TaskContext, data: list[str], failure: ExecutionFailure) -> list[Any]:
        execution_id = ctx.info.execution_id
        self.quill.note("undoing", execution_id, value=str(failure)[:200])
        value = await self._saved(ctx, execution_id, "undo:1")
        self.quill.note("undone", execution_id)
        return [value]

    async def _do(self, ctx: TaskContext, execution_id: str, word: str) -> list[Any]:
        match word.partition(":")[0]:
            case "nap" | "rest":
                await ctx.sleep(word, "50ms" if word.startswith("nap") else "1.1s")
                return []
            case "news":
                return [await ctx.wait_for_event("news")]
            case "doom":
                raise Doomed(word)
            case "both":
                return await asyncio.gather(*(self._saved(ctx, execution_id, f"{word}.{side}") for side in "ab"))
            case _:
                return [await self._saved(ctx, execution_id, word)]

    async def _saved(self, ctx: TaskContext, execution_id: str, name: str) -> str:
        if name.startswith("book"):
            value = await ctx.transaction(name, self._book, execution_id, name, retry=PATIENT)
        elif name.startswith("sync"):
            value = await ctx.step(name, self._work_in_a_thread, execution_id, name, retry=PATIENT)
        else:
            value = await ctx.step(name, self._work, execution_id, name, retry=PATIENT)
        self.quill.note("saved", execution_id, name, value)  # the awaiter goes on only when the outcome is durable
        return value

    async def _work(self, execution_id: str, name: str) -> str:
        value = self._begun(execution_id, name)
        try:
            match name.partition(":")[0]:
                case "linger":
                    await asyncio.sleep(random.uniform(0.1, 0.8))
                case "greedy":
                    self._want(execution_id, name)
                case "flaky" if random.random() < 0.5:
                    raise Unlucky(name)
                case "faint" if self._is_first(execution_id, name):
                    self._die(execution_id, name)
                case "poison":
                    self._die(execution_id, name)
                case _:
                    await asyncio.sleep(random.uniform(0, 0.1))
        except (Unlucky, MemoryError):
            self.quill.note("fail", execution_id, name, value)
            raise
        self.quill.note("end", execution_id, name, value)
        return value

    def _work_in_a_thread(self, execution_id: str, name: str) -> str:
        value = self._begun(execution_id, name)
        self.quill.note("end", execution_id, name, value)
        return value

    async def _book(self, connection: AsyncConnection, execution_id: str, name: str) -> str:
        value = self._begun(execution_id, name)
        insert = text(f"INSERT INTO {self.bookings} (id, step, value) VALUES (:id, :step, :value)")
        try:
            await connection.execute(insert, {"id": execution_id, "step": name, "value": value})
        except Exception:
            self.quill.note("fail", execution_id, name, value)
            raise
        self.quill.note("end", execution_id, name, value)
        return value

    def _begun(self, execution_id: str, name: str) -> str:
        value = f"{name} by {os.getpid()}, call {next(self._calls)}"
        self.quill.note("begin", execution_id, name, value)
        return value

    def _want(self, execution_id: str, name: str) -> None:
        try:
            mmap.mmap(-1, MUCH).close()  # addresses, not memory: nothing is written there, and nobody else has less of it
        except OSError as error:
            self.quill.note("starved", execution_id, name)
            raise MemoryError from error

    def _is_first(self, execution_id: str, name: str) -> bool:
        try:
            (self.marks / f"{execution_id}.{name}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _die(self, execution_id: str, name: str) -> None:
        self.quill.note("died", execution_id, name)
        match random.randrange(3):
            case 0:
                os.kill(os.getpid(), signal.SIGKILL)
            case 1:
                os.kill(os.getpid(), signal.SIGSEGV)
            case _:
                os._exit(9)

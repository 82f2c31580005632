"""What really happened, outside any database: one line for each thing that a worker's process did, in the order of the doing.

The lines go through a named pipe. A write to one is whole or not at all, and what was written stays when the writer is killed.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import asdict, define, field, frozen

from zart.clock import SystemClock

T = TypeVar("T")
PATIENCE = 20.0
LONGEST_LINE = 1000  # a pipe keeps up to 4096 bytes whole


@frozen
class Line:
    """One thing that a process did."""

    pid: int
    what: str
    id: str = ""
    step: str = ""
    value: Any = None
    at: float = 0.0
    """In monotonic seconds, which all processes of a machine share."""


@define
class Quill:
    """Writes to the ledger, from a worker's process."""

    path: Path
    _file: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Open the pipe."""
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def note(self, what: str, execution_id: str = "", step: str = "", value: Any = None) -> None:
        """Write a line."""
        line = Line(os.getpid(), what, execution_id, step, value, SystemClock.monotonic())
        os.write(self._file, json.dumps(asdict(line)).encode() + b"\n")


@define(eq=False)
class Ledger:
    """Reads it, in the test; use it in a `with` on a running loop."""

    path: Path
    lines: list[Line] = field(factory=list)
    done: set[str] = field(factory=set)
    """The executions whose bodies have come to their ends."""
    _file: int = field(init=False)
    _rest: bytes = b""
    _grown: asyncio.Event = field(factory=asyncio.Event)

    def __enter__(self) -> Self:
        """Make the pipe."""
        os.mkfifo(self.path)
        self._file = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)  # also a writer: without any it would be at its end
        asyncio.get_running_loop().add_reader(self._file, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        """Read no more."""
        asyncio.get_running_loop().remove_reader(self._file)
        os.close(self._file)

    def note(self, what: str, execution_id: str = "", value: Any = None) -> None:
        """Add a line of the reader's own: through the pipe it might wait for itself."""
        self.lines.append(Line(os.getpid(), what, execution_id, "", value, SystemClock.monotonic()))

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._file, 65536)).split(b"\n")
        for each in lines:
            line = Line(**json.loads(each))
            self.lines.append(line)
            if line.what == "done":
                self.done.add(line.id)
        self._grown.set()

    async def until(self, question: Callable[[], T], what: str, within: float = PATIENCE) -> T:
        """Wait until a question about the ledger has an answer that is true."""
        try:
            async with asyncio.timeout(within):
                while not (answer := question()):
                    self._grown.clear()
                    await self._grown.wait()
                return answer
        except TimeoutError:
            raise AssertionError(f"{what}: not within {within:g} s; at last:\n{self}") from None

    async def comes(self, what: str, execution_id: str | None = None, step: str | None = None, *, count: int = 1) -> Line:
        """Wait for so many lines of a kind; return the last."""
        found = await self.until(
            lambda: self.find(what, execution_id, step)[count - 1 :], f"{count} x {what} {execution_id} {step}"
        )
        return found[0]

    def find(
        self, what: str, execution_id: str | None = None, step: str | None = None, *, pid: int | None = None
    ) -> list[Line]:
        """Return the lines of a kind."""
        return [
            line
            for line in self.lines
            if line.what == what and execution_id in {None, line.id} and step in {None, line.step} and pid in {None, line.pid}
        ]

    def logged(self, text: str, pid: int | None = None) -> list[Line]:
        """Return the log records that have a text in them."""
        return [line for line in self.find("log", pid=pid) if text in line.value]

    def begins(self, *, but: tuple[str, ...] = ()) -> dict[tuple[str, str], list[Line]]:
        """Return the calls of every step's function, but for the steps of some names."""
        calls: dict[tuple[str, str], list[Line]] = defaultdict(list)
        for line in self.find("begin"):
            if not line.step.startswith(but):
                calls[line.id, line.step].append(line)
        return calls

    def most_at_once(self, pid: int) -> int:
        """Return how many bodies a process has run at one moment."""
        changes = {"body": 1, "done": -1, "cancelled": -1}
        return max(accumulate(changes.get(line.what, 0) for line in self.lines if line.pid == pid))

    def open_steps(self, pid: int) -> set[tuple[str, str]]:
        """Return the steps that a process has begun and not yet known to be saved."""
        begun = {(line.id, line.step) for line in self.find("begin", pid=pid)}
        return begun - {(line.id, line.step) for line in self.find("saved")}

    def check(self, excused: Callable[[int], bool] = lambda _: False) -> None:
        """Make sure that no saved step was called again, and an unsaved one only if its caller was hindered.

        Args:
            excused: whether the process with this id was killed, or declared dead.
        """
        saved: dict[tuple[str, str], Any] = {}
        callers: dict[tuple[str, str], list[int]] = defaultdict(list)
        ends: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for line in self.lines:
            key = line.id, line.step
            if line.what == "begin":
                assert key not in saved, f"{key} was called again after it was saved\n{self}"
                assert all(excused(pid) for pid in callers[key]), f"{key} was called again, and nobody was hindered\n{self}"
                callers[key].append(line.pid)
            elif line.what == "end":
                ends[key].append(line.value)
            elif line.what == "saved":
                assert saved.setdefault(key, line.value) == line.value, f"{key} had two values"
                assert line.value in ends[key], f"{key} was saved with a value that no call returned"

    def __str__(self) -> str:
        """The last lines, for people."""
        return "\n".join(self._last(60))

    def _last(self, count: int) -> Iterator[str]:
        for line in self.lines[-count:]:
            yield f"{line.at:.3f} {line.pid} {line.what} {line.id} {line.step} {'' if line.value is None else line.value}"

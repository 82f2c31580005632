"""A process that a measurement starts, and the marks by which it says when what happened.

Times are `time.monotonic()`, which all processes of one machine share. Only the standard library and attrs are needed here: the
peers have an environment of their own.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from attrs import frozen

PATIENCE = 60.0
_GRACE = 3.0
_TICKS = os.sysconf("SC_CLK_TCK")
_OF_A_PROCESS = 2
"""The kind of Linux's processor clocks that counts all threads of a process (CPUCLOCK_SCHED in the kernel)."""


@frozen
class Mark:
    """Something that happened in a child."""

    at: float
    value: str


def say(name: str, value: object = "", at: float | None = None) -> None:
    """Tell the parent that something has happened: now, or when it did."""
    sys.stdout.write(f"@{name} {time.monotonic() if at is None else at!r} {value}\n")
    sys.stdout.flush()


def end_with_parent() -> None:
    """End this process when its standard input ends, as it does when the parent is gone, however it went."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def processor_time(pid: int) -> float:
    """Return the seconds that a process and those of its children that have ended spent on processors."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    of_the_ended = sum(int(each) for each in fields[13:15]) / _TICKS
    # As clock_getcpuclockid(3) makes a clock of a process: /proc counts in hundredths of a second, more than a small run takes.
    return time.clock_gettime(~pid << 3 | _OF_A_PROCESS) + of_the_ended


def family_time(pid: int) -> float:
    """Return the seconds that a process and all its children spent on processors."""
    total = processor_time(pid)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended in between
                if int((entry / "stat").read_text("utf-8").rpartition(")")[2].split()[1]) == pid:
                    total += processor_time(int(entry.name))
    return total


class Child:
    """A process under measurement; what it writes to stderr goes into a log."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._marks: dict[str, list[Mark]] = defaultdict(list)
        self._news = asyncio.Condition()
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def begin(cls, command: Sequence[str], log: Path) -> Self:
        """Start a process."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        return cls(process, log)

    async def __aenter__(self) -> Self:
        """Use it; at the end of the block it is stopped."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()

    async def mark(self, name: str, count: int = 1, patience: float = PATIENCE) -> Mark:
        """Wait until something has happened so many times, and return the last of them.

        Raises:
            RuntimeError: the process has ended before.
            TimeoutError: it did not happen in time.
        """
        async with asyncio.timeout(patience), self._news:
            while len(self._marks[name]) < count:
                if self._reading.done():
                    said = self._log.read_text("utf-8", "replace")[-2000:]
                    raise RuntimeError(f"a worker ended before it said {name!r} for the {count}. time: {said}")
                await self._news.wait()
        return self._marks[name][count - 1]

    def marks(self, name: str) -> list[Mark]:
        """Return what has happened so far."""
        return list(self._marks[name])

    def processor_time(self) -> float:
        """Return the seconds that it spent on processors, all threads."""
        return processor_time(self._process.pid)

    async def stop(self) -> None:
        """Ask it to stop, and make it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_GRACE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        await self.ended()

    async def ended(self) -> None:
        """Wait until it has ended."""
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        output = self._process.stdout
        while output is not None and (line := await output.readline()):
            words = line.decode("utf-8", "replace").rstrip("\n").split(" ", 2)
            if words[0].startswith("@") and len(words) == 3:
                async with self._news:
                    self._marks[words[0][1:]].append(Mark(float(words[1]), words[2]))
                    self._news.notify_all()
        async with self._news:
            self._news.notify_all()

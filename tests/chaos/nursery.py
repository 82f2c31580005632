"""A process that makes worker processes: it has imported everything, and so a new worker is there in milliseconds.

Orders come as lines of JSON and each is answered with one. When its input ends, which is when the test run ends, however it
ends, its workers end too.
"""

import asyncio
import json
import logging
import os
import random
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.chaos.errands import Errand
from tests.chaos.ledger import LONGEST_LINE, Quill
from tests.chaos.patrons import Patrons
from tests.chaos.voyages import Voyage
from zart import DurableScheduler, SqliteScheduler, TaskHandler, Worker, WorkerConfig
from zart.clock import SystemClock
from zart.scheduler import Storage
from zart.schedulers.postgres import PostgresScheduler

PATIENCE = 15.0


class Noted(logging.Handler):
    """Brings what a worker logs into the ledger."""

    def __init__(self, quill: Quill) -> None:
        super().__init__()
        self._quill = quill

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._quill.note("log", value=self.format(record)[:LONGEST_LINE])


class Announced(Worker):
    """Says when it is registered."""

    quill: Quill

    async def join(self) -> None:
        """Register, and say so."""
        await super().join()
        self.quill.note("ready", value=self.id)


async def work(spec: dict[str, Any]) -> None:
    """Be a worker until told to stop."""
    quill = Quill(Path(spec["ledger"]))
    logger = logging.getLogger("zart")
    logger.addHandler(Noted(quill))
    logger.setLevel(logging.INFO)
    handler: TaskHandler[Any, Any]
    if "marks" in spec:
        handler = Voyage(quill, spec["bookings"], Path(spec["marks"]))
    else:
        handler = errand = Errand(quill, spec["bookings"], spec["holds"], spec["stops"], spec["patient"])
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, errand.released.set)
    async with storage_of(spec) as storage:
        worker = Announced(storage, [handler], WorkerConfig(**spec["config"]))
        worker.quill = quill
        await worker.run()
    quill.note("left")


async def ask(spec: dict[str, Any]) -> None:
    """Be a client until told to stop."""
    quill = Quill(Path(spec["ledger"]))
    async with storage_of(spec) as storage:
        patrons = Patrons(DurableScheduler(storage), quill, spec["patrons"], random.Random(spec["patrons"]))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, patrons.stopping.set)
        quill.note("ready", value=spec["patrons"])
        await patrons.work()
    quill.note("left")


def storage_of(spec: dict[str, Any]) -> Storage:
    """Return the storage that a process is told to use, not opened."""
    if "path" in spec:
        return SqliteScheduler(spec["path"])
    return PostgresScheduler(spec["dsn"], schema=spec["schema"])


def become(spec: dict[str, Any]) -> None:
    """Go on as a worker or a client, and never come back."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        asyncio.run(ask(spec) if "patrons" in spec else work(spec))
        code = 0
    except BaseException:  # noqa: BLE001 # whatever it is, it must not come back into the parent's loop
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int) -> int | None:
    """Return a worker's exit code when it has ended, negative for a signal; None if it does not end."""
    until = SystemClock.monotonic() + PATIENCE
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        left = until - SystemClock.monotonic()
        if left <= 0:
            return None
        signal.sigtimedwait({signal.SIGCHLD}, left)


def ended(workers: set[int]) -> dict[int, int]:
    """Return the exit codes of all that have ended and were not asked for yet."""
    codes = {}
    for pid in workers:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes


def main() -> None:
    """Carry out orders until there are no more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    workers: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        answer: int | dict[int, int] | None
        if "start" in order:
            answer = os.fork()
            if not answer:
                become(order["start"])
            workers.add(answer)
        elif "ended" in order:
            answer = ended(workers)
            workers -= answer.keys()
        else:
            answer = wait(order["wait"])
            if answer is not None:
                workers.discard(order["wait"])
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()

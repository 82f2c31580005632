"""A process that makes worker processes: it has imported everything, and so a new worker is there in milliseconds.

Orders come as lines of JSON and each is answered with one. When its input ends, which is when the test run ends, however it
ends, its workers end too.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.chaos.errands import Errand
from tests.chaos.ledger import LONGEST_LINE, Quill
from zart import SqliteScheduler, Worker, WorkerConfig
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
    errand = Errand(quill, spec["bookings"], spec["holds"], spec["stops"], spec["patient"])
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, errand.released.set)
    storage: Storage = (
        SqliteScheduler(spec["path"]) if "path" in spec else PostgresScheduler(spec["dsn"], schema=spec["schema"])
    )
    async with storage:
        worker = Announced(storage, [errand], WorkerConfig(**spec["config"]))
        worker.quill = quill
        await worker.run()
    quill.note("left")


def become_worker(spec: dict[str, Any]) -> None:
    """Go on as a worker, and never come back."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        asyncio.run(work(spec))
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


def main() -> None:
    """Carry out orders until there are no more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    workers: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        answer: int | None
        if "start" in order:
            answer = os.fork()
            if not answer:
                become_worker(order["start"])
            workers.add(answer)
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

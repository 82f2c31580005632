"""One worker process: `python -m tests.clusters.hands JSON`. It ends when its standard input does."""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path

from tests.chaos.errands import Errand
from tests.chaos.ledger import Quill
from tests.chaos.nursery import Announced, Noted
from zart import WorkerConfig, connect


async def work(url: str, ledger: str, bookings: str) -> None:
    """Be a worker until killed."""
    quill = Quill(Path(ledger))
    logger = logging.getLogger("zart")
    logger.addHandler(Noted(quill))
    logger.setLevel(logging.INFO)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, os._exit, 1)
    config = WorkerConfig(
        lease="3s", heartbeat_interval="500ms", poll_interval="300ms", max_crashes=99, max_concurrent=10, claim_batch=5
    )
    async with connect(url) as storage:
        worker = Announced(storage, [Errand(quill, bookings, patient=True)], config)
        worker.quill = quill
        await worker.run()


if __name__ == "__main__":
    asyncio.run(work(**json.loads(sys.argv[1])))

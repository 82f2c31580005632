"""`zart worker`."""

import asyncio
import logging
import os
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from importlib import import_module
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from zart.cli.database import storage_at, tell_of_others
from zart.cli.errors import usage
from zart.cli.eventloop import rest_collector, run_quickly
from zart.cli.handlers import registry_of
from zart.cli.inputs import read_length, read_name
from zart.cli.settings import DEFAULTS, AppOption, DatabaseSettings, masked
from zart.cli.terminal import visible
from zart.config import WorkerConfig
from zart.registry import Registry
from zart.scheduler import Storage
from zart.worker import Worker

_BEAT = timedelta(seconds=1)


def worker(
    *,
    app: AppOption = None,
    concurrency: Annotated[int, Parameter(validator=Number(gte=1))] = 200,
    lease: str = "15s",
    poll: str = "1s",
    queue: Annotated[list[str] | None, Parameter(negative=())] = None,
    health: str | None = None,
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), negative=())] = False,
    settings: DatabaseSettings = DEFAULTS,
) -> None:
    """Run executions until stopped by SIGTERM or Ctrl-C.

    A second SIGTERM or Ctrl-C stops more quickly. stderr has warnings, each failed execution among them with its error in
    words.

    Args:
        app: Where the handlers are, as package.module:name: a Registry, handlers, or a function that returns them.
        concurrency: How many executions run at once; parked ones do not count.
        lease: How long after the worker's death its executions are given to others.
        poll: How often it looks for work when no hint comes.
        queue: A queue to serve; may be given several times.
        health: Answer /healthz, /readyz and /metrics on this port, or HOST:PORT; without a host only to this machine.
        verbose: One line on stderr whenever an execution is taken up (running), let go (what became of it; if it failed, is
            tried again or was set aside, also why) or lost (cancelled, or taken over).
        settings: What every command takes.
    """
    registry = registry_of(app)
    length = read_length(lease, "--lease", above_zero=True)
    with usage(hint="see `zart worker --help`"):
        config = WorkerConfig(
            max_concurrent=concurrency,
            lease=length,
            heartbeat_interval=min(_BEAT, length / 2),
            poll_interval=read_length(poll, "--poll", above_zero=True),
            queues=tuple(read_name(each, "queue") for each in queue or ("default",)),
        )
    _log(verbose=verbose)
    storage = bare = storage_at(settings.database)
    probes: AbstractAsyncContextManager[None] = nullcontext()
    if health is not None:
        module = import_module("zart.cli.probing")
        storage = module.watching(storage)
        probes = module.probing(storage, health)
    run_quickly(_work(storage, registry, config, probes, bare, settings.database))


async def _work(
    unopened: Storage,
    registry: Registry,
    config: WorkerConfig,
    probes: AbstractAsyncContextManager[None],
    bare: Storage,
    url: str,
) -> None:
    async with unopened as storage, probes:
        await tell_of_others(bare, url)
        worker = Worker(storage, registry, config)
        rest_collector()
        working = asyncio.ensure_future(worker.run())
        await asyncio.sleep(0)  # now it handles signals
        tasks = ", ".join(sorted(task.name for task in registry))
        sys.stderr.write(visible(f"zart: worker {worker.id} runs {tasks} on {masked(url)}") + "\n")
        sys.stderr.flush()
        await working
    if worker.left_behind:
        # Bodies that swallow their cancellation: the loop would wait for them for ever, and all that can be saved is saved.
        logging.shutdown()
        os._exit(0)


class _Lines(logging.Formatter):
    """Log lines in which nothing can act on a terminal; a traceback keeps its line breaks."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n")


def _log(*, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if verbose:
        logging.getLogger("zart").setLevel(logging.INFO)

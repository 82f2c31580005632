"""What `zart worker --health` does; imported when it is asked for."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import zart.telemetry
from zart.cli.errors import Exit, Refused, usage
from zart.cli.terminal import visible
from zart.guard import digests
from zart.scheduler import Storage
from zart.telemetry.probes import Exposed, Probes
from zart.telemetry.watched import Watched, watched

_TOKENS = ("ZART_READ_TOKEN", "ZART_OPERATOR_TOKEN")


def watching(storage: Storage) -> Watched:
    """Return a storage that is watched, and measured where the extra `metrics` is installed."""
    metrics = getattr(zart.telemetry, "Metrics", None)
    return watched(storage, *(() if metrics is None else (metrics(),)))


@asynccontextmanager
async def probing(storage: Watched, place: str) -> AsyncIterator[None]:
    """Answer probes at a place, `PORT` or `HOST:PORT`, while the block runs.

    Raises:
        Refused: (2) it is no place, or a token is no text of a header; (78) it cannot be listened on.
    """
    host, _, port = place.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise Refused("usage", f"--health {place!r} is no port", "give PORT, or HOST:PORT such as 0.0.0.0:9464", Exit.USAGE)
    with usage(hint="tokens are printable ASCII, without spaces"):
        tokens = tuple(each for name in _TOKENS for each in digests(os.environ.get(name)))
    metrics = next((each for each in storage.watchers if isinstance(each, Exposed)), None)
    probes = Probes(storage, metrics, host=host.strip("[]") or "127.0.0.1", port=int(port), tokens=tokens)
    try:
        await probes.__aenter__()
    except OSError as error:
        message = f"cannot listen on {place}: {error.strerror or error}"
        raise Refused("cannot_listen", message, "choose another --health", Exit.CONFIGURATION) from error
    sys.stderr.write(visible(f"zart: health at {probes.url}") + "\n")
    sys.stderr.flush()
    try:
        yield
    finally:
        await probes.__aexit__(None, None, None)

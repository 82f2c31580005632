"""Backends: where executions are kept. `connect` makes the one that a URL names and imports no other."""

from urllib.parse import unquote, urlsplit

from zart.errors import NotSupported
from zart.scheduler import Storage

_WORKING = "`memory://`, `sqlite:///relative.db` or `sqlite:////absolute.db`"
_TO_COME = frozenset({"postgresql", "postgres", "mysql", "mariadb"})


def connect(url: str) -> Storage:
    """Return the scheduler that a URL names, not yet opened: use it with `async with`.

    `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`. Memory and a SQLite file that is absent or has no tables are
    migrated on entering; anything else wants `migrate()`.

    Raises:
        ValueError: no URL of a known form.
        NotSupported: a database that this version does not know yet.

    Example:
        >>> connect("sqlite:///zart.db")  # doctest: +ELLIPSIS
        SqliteScheduler('.../zart.db')
    """
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    if scheme in _TO_COME:
        raise NotSupported(f"this version of Zart has no backend for {scheme!r}; use {_WORKING}")
    if scheme == "memory" and not parts.netloc and parts.path in {"", "/"}:
        from zart.schedulers.memory import InMemoryScheduler

        return InMemoryScheduler()
    if scheme == "sqlite" and not parts.netloc and len(parts.path) > 1 and not parts.query:
        from zart.schedulers.sqlite import SqliteScheduler

        return SqliteScheduler(unquote(parts.path[1:]), create=True)
    raise ValueError(f"{url!r} names no storage; use {_WORKING}")

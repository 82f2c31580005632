"""Backends: where executions are kept. `connect` makes the one that a URL names and imports no other."""

import re
from urllib.parse import unquote, urlsplit

from zart.errors import NotSupported
from zart.scheduler import Storage

_WORKING = "`memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://user:password@host:port/database`"
_TO_COME = frozenset({"mysql", "mariadb"})


def connect(url: str) -> Storage:
    """Return the scheduler that a URL names, not yet opened: use it with `async with`.

    `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host:port/database`. Memory and
    a SQLite file that is absent or has no tables are migrated on entering; anything else wants `migrate()`.

    A PostgreSQL URL may give options of `PostgresScheduler`, `?schema=app&prefix=zart_&pooler=true&listen=false` as well as
    `pool_size` and `timeout`; the parameters of libpq that the driver knows, `sslmode` for one, go to the driver.

    Raises:
        ValueError: no URL of a known form, or one with a parameter that is unknown or wrong.
        TypeError: no text.
        NotSupported: a database that this version does not know yet.

    Example:
        >>> connect("sqlite:///zart.db")  # doctest: +ELLIPSIS
        SqliteScheduler('.../zart.db')
    """
    if not isinstance(url, str):
        raise TypeError(f"connect takes a URL as text, not {url!r}; use {_WORKING}")
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme in _TO_COME:
        raise NotSupported(f"this version of Zart has no backend for {scheme!r}; use {_WORKING}")
    if scheme in {"postgresql", "postgres"} and "://" in url:
        from zart.schedulers.address import Address
        from zart.schedulers.postgres import PostgresScheduler

        address = Address.of(url)
        return PostgresScheduler(address.dsn, **address.options)
    parts = urlsplit(url)
    if scheme == "memory" and not parts.netloc and parts.path in {"", "/"} and not parts.query:
        from zart.schedulers.memory import InMemoryScheduler

        return InMemoryScheduler()
    if scheme == "sqlite" and not parts.netloc and len(parts.path) > 1 and not parts.query:
        from zart.schedulers.sqlite import SqliteScheduler

        return SqliteScheduler(unquote(parts.path[1:]), create=True)
    raise ValueError(f"{_without_password(url)!r} names no storage; use {_WORKING}")


def _without_password(url: str) -> str:
    place, mark, _ = url.partition("?")
    return re.sub(r"^([^:/]*:(?://)?).*@", r"\1***@", place) + mark + ("…" if mark else "")

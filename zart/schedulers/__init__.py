"""Backends: where executions are kept. `connect` makes the one that a URL names and imports no other."""

import re
from urllib.parse import unquote, urlsplit

from zart.payloads import PayloadCodec
from zart.places import BETWEEN
from zart.scheduler import Storage

_WORKING = (
    "`memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host:port/database` or"
    " `mysql://user:password@host:port/database`"
)


def connect(url: str, *, payload_codec: PayloadCodec | None = None) -> Storage:
    """Return the scheduler that a URL names, not yet opened: use it with `async with`.

    `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host:port/database`,
    `mysql://user:password@host:port/database` (or `mariadb://…`). Memory and a SQLite file that is absent or has no tables are
    migrated on entering; anything else wants `migrate()`.

    A PostgreSQL URL may give options of `PostgresScheduler`, `?schema=app&prefix=zart_&pooler=true&listen=false` as well as
    `pool_size` and `timeout`; the parameters of libpq that the driver knows, `sslmode` for one, go to the driver. A MySQL URL
    may give `?prefix=zart_&pool_size=8&timeout=10s`, `unix_socket`, `ssl_mode`, `ssl_ca`, `ssl_cert` and `ssl_key`.

    Several URLs, parted by commas or spaces, are the shards of a `ShardedScheduler`, in this order.

    With a `payload_codec`, such as `zart.sealing.Sealed`, everything that may hold users' values goes through it.

    Raises:
        ValueError: no URL of a known form, one with a parameter that is unknown or wrong, or a shard that is given twice.
        TypeError: no text.
        NotSupported: a database whose driver is not installed.

    Example:
        >>> connect("sqlite:///zart.db")  # doctest: +ELLIPSIS
        SqliteScheduler('.../zart.db')
    """
    first, *others = parts = urls_of(url)
    if any(part.endswith(",") for part in parts):
        raise ValueError("a URL ends with a comma; put commas only between the URLs of shards")
    if not others:
        return _coded(_named(first), payload_codec)
    if len(set(parts)) < len(parts):
        raise ValueError("a shard is given twice; give each URL once, always in the same order")
    from zart.schedulers.sharded import ShardedScheduler

    return ShardedScheduler([_coded(_named(part), payload_codec) for part in parts])


def urls_of(url: str) -> tuple[str, ...]:
    """Return the URLs that a text for `connect` names: one, or those of the shards in their order.

    Raises:
        TypeError: no text.
    """
    if not isinstance(url, str):
        raise TypeError(f"connect takes a URL as text, not {url!r}; use {_WORKING}")
    return tuple(BETWEEN.split(url.strip())[::2])


def _coded(storage: Storage, codec: PayloadCodec | None) -> Storage:
    if codec is None:
        return storage
    from zart.schedulers.coded import coded

    return coded(storage, codec)


def _named(url: str) -> Storage:
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme in {"postgresql", "postgres"} and "://" in url:
        from zart.schedulers.address import Address
        from zart.schedulers.postgres import PostgresScheduler

        address = Address.of(url)
        return PostgresScheduler(address.dsn, **address.options)
    if scheme in {"mysql", "mariadb"} and "://" in url:
        return _mysql(url)
    parts = urlsplit(url)
    if scheme == "memory" and not parts.netloc and parts.path in {"", "/"} and not parts.query:
        from zart.schedulers.memory import InMemoryScheduler

        return InMemoryScheduler()
    if scheme == "sqlite" and not parts.netloc and len(parts.path) > 1 and not parts.query:
        from zart.schedulers.sqlite import SqliteScheduler

        return SqliteScheduler(unquote(parts.path[1:]), create=True)
    raise ValueError(f"{_without_password(url)!r} names no storage; use {_WORKING}")


def _mysql(url: str) -> Storage:
    from zart.schedulers.mysql import MySqlScheduler
    from zart.schedulers.mysql.address import Address

    address = Address.of(url)
    return MySqlScheduler(address, **address.options)


def _without_password(url: str) -> str:
    place, mark, _ = url.partition("?")
    return re.sub(r"^([^:/]*:(?://)?).*@", r"\1***@", place) + mark + ("…" if mark else "")

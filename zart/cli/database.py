"""The database that a URL names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from zart.cli.errors import Exit, Refused
from zart.cli.sealing import payload_codec
from zart.errors import NotSupported
from zart.scheduler import Storage
from zart.schedulers import connect


def storage_at(url: str) -> Storage:
    """Return the unopened storage of a database URL, behind the payload codec that the environment asks for.

    Raises:
        Refused: (78) it is no URL of a database that Zart knows, or the codec cannot be had.
    """
    codec = payload_codec()
    try:
        return connect(url, payload_codec=codec)
    except (ValueError, NotSupported) as error:
        hint = "give --database-url or ZART_DATABASE_URL, such as sqlite:///zart.db"
        raise Refused("bad_database_url", f"{url!r} cannot be used: {error}", hint, Exit.CONFIGURATION) from error


def is_absent(url: str) -> bool:
    """Whether the URL names a SQLite file that opening it would make.

    Raises:
        Refused: as for `storage_at`.
    """
    storage_at(url)
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] != "sqlite":
        return False
    file = Path(unquote(parts.path[1:]))
    return file.parent.is_dir() and not file.exists()

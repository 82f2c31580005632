"""A PostgreSQL URL, parted into what is said to Zart and what is said to the driver."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote_plus

from attrs import frozen

_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_LAST_PORT = 65535

_OWN = frozenset({"schema", "prefix", "pooler", "listen", "pool_size", "timeout"})
_DRIVERS = frozenset(
    {
        "host",
        "port",
        "dbname",
        "database",
        "user",
        "password",
        "passfile",
        "service",
        "servicefile",
        "sslmode",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslrootcert",
        "sslcrl",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "target_session_attrs",
        "krbsrvname",
        "gsslib",
        # Any other parameter would be sent to the server as a setting; these are what people mean to send.
        "application_name",
        "options",
        "search_path",
    }
)
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}
"""What the driver would complain about too, but not before it connects."""


@frozen
class Address:
    """Where a database is, as the driver knows it, and the options of `PostgresScheduler` that the URL gives besides."""

    dsn: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take Zart's own parameters out of a URL's query: `schema`, `prefix`, `pooler`, `listen`, `pool_size`, `timeout`.

        What stays is left as it was written.

        Raises:
            ValueError: host and port cannot be read; a parameter that nobody knows, is given twice or has no value, or one of
                Zart's with a value that it cannot have. No message shows a password.
        """
        place, _, query = url.partition("?")
        if "#" in url or not _has_hosts(place) or any("@" in part.partition("=")[0] for part in query.split("&")):
            # Not shown: where a password is not escaped, this is a part of it.
            raise ValueError(
                "host and port cannot be read from the URL; write host:port, and in user and password %2F %3F %23 for / ? #"
            )
        options: dict[str, Any] = {}
        kept: dict[str, str] = {}
        for part in filter(None, query.split("&")):
            name, _, value = (unquote_plus(each) for each in part.partition("="))
            if name in options or name in kept:
                raise ValueError(f"the URL gives {name!r} twice; give it once")
            if not value:
                raise ValueError(f"the URL gives {name!r} no value; write {name}=…, or leave it out")
            if name in _DRIVERS:
                kept[name] = part
            else:
                options[name] = _read(name, value)
            choices = _CHOICES.get(name, (value,))
            if value not in choices:
                raise ValueError(f"{name} in the URL must be one of {', '.join(choices)}, not {value!r}")
        return cls("?".join(filter(None, (place, "&".join(kept.values())))), options)


def _has_hosts(place: str) -> bool:
    hosts = place.partition("://")[2].partition("/")[0].rpartition("@")[2].split(",")
    found = [_HOST.fullmatch(each) for each in hosts]
    return all(each is not None and int(each["port"] or 0) <= _LAST_PORT for each in found)


def _read(name: str, value: str) -> Any:
    """Return the value of one of Zart's own parameters."""
    match name:
        case "schema" | "prefix" | "timeout":
            return value
        case "pooler" | "listen":
            if value not in {"true", "false"}:
                raise ValueError(f"{name} in the URL must be true or false, not {value!r}")
            return value == "true"
        case "pool_size":
            if not (value.isascii() and value.isdecimal()):
                raise ValueError(f"pool_size in the URL must be a whole number, not {value!r}")
            return int(value)
        case _:
            near = get_close_matches(name, _OWN | _DRIVERS, 1)
            mend = f"did you mean {near[0]!r}?" if near else "leave it out; settings go into options=-c%20name%3Dvalue"
            raise ValueError(f"neither Zart nor its driver knows the URL's parameter {name!r}; {mend}")

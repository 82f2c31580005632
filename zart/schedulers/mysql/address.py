"""A MySQL or MariaDB URL, parted into what is said to Zart and what is said to the driver."""

import re
import ssl
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, unquote_plus

from attrs import field, frozen

_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_LAST_PORT = 65535
_SCHEMES = frozenset({"mysql", "mariadb"})
_OWN = frozenset({"prefix", "pool_size", "timeout"})
_DRIVERS = frozenset({"unix_socket", "ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"})
_MODES = ("disabled", "required", "verify_ca", "verify_identity")


@frozen
class Address:
    """Where a database is, and the options of `MySqlScheduler` that the URL gives besides."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    settings: Mapping[str, str] = field(factory=dict)
    """`unix_socket`, `ssl_mode`, `ssl_ca`, `ssl_cert`, `ssl_key`."""
    options: Mapping[str, Any] = field(factory=dict)

    @classmethod
    def of(cls, url: str) -> "Address":
        """Read a URL: `mysql://user:password@host:port/database?…`, or `mariadb://…`; the name of a driver may follow a `+`.

        Raises:
            ValueError: it names no MySQL database, or has a parameter that nobody knows, is given twice or has no value, or one
                with a value that it cannot have. No message shows a password.
        """
        scheme, colon, rest = url.partition("://")
        if not colon or scheme.partition("+")[0].lower() not in _SCHEMES:
            raise ValueError("the URL names no MySQL or MariaDB database; use mysql://user:password@host:port/database")
        place, _, query = rest.partition("?")
        hosts, _, database = place.partition("/")
        login, _, host = hosts.rpartition("@")
        found = _HOST.fullmatch(host)
        odd = "#" in url or "/" in database or any("@" in part.partition("=")[0] for part in query.split("&"))
        if found is None or odd or int(found["port"] or 0) > _LAST_PORT:
            # Not shown: where a password is not escaped, this is a part of it.
            raise ValueError(
                "host and port cannot be read from the URL; write host:port, and in user and password %2F %3F %23 for / ? #"
            )
        if not database:
            raise ValueError("the URL names no database; write mysql://user:password@host:port/database")
        user, _, password = login.partition(":")
        options: dict[str, Any] = {}
        settings: dict[str, str] = {}
        for part in filter(None, query.split("&")):
            name, _, value = (unquote_plus(each) for each in part.partition("="))
            if name in options or name in settings:
                raise ValueError(f"the URL gives {name!r} twice; give it once")
            if not value:
                raise ValueError(f"the URL gives {name!r} no value; write {name}=…, or leave it out")
            if name in _DRIVERS:
                settings[name] = value
            else:
                options[name] = _read(name, value)
        if (mode := settings.get("ssl_mode", _MODES[0])) not in _MODES:
            raise ValueError(f"ssl_mode in the URL must be one of {', '.join(_MODES)}, not {mode!r}")
        port = int(found["port"] or 3306)
        return cls(
            found["host"].strip("[]") or "localhost",
            port,
            unquote(user),
            unquote(password),
            unquote(database),
            settings,
            options,
        )

    @property
    def place(self) -> str:
        """Name the database for people, without user and password."""
        where = self.settings.get("unix_socket", f"{self.host}:{self.port}")
        return f"the MySQL database {f'{where}/{self.database}'!r}"

    def arguments(self) -> dict[str, Any]:
        """Return what the driver is told."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user or None,
            "password": self.password.encode(),
            "database": self.database,
            "unix_socket": self.settings.get("unix_socket"),
            "ssl": self._tls(),
        }

    def _tls(self) -> ssl.SSLContext | None:
        """Return how to check the server: one on another machine must show a certificate, unless the URL says otherwise."""
        settings = self.settings
        mode = settings.get("ssl_mode", "verify_identity" if self._is_elsewhere or "ssl_ca" in settings else "disabled")
        if mode == "disabled":
            return None
        context = ssl.create_default_context(cafile=settings.get("ssl_ca"))
        context.check_hostname = mode == "verify_identity"
        context.verify_mode = ssl.CERT_NONE if mode == "required" else ssl.CERT_REQUIRED
        if "ssl_cert" in settings:
            context.load_cert_chain(settings["ssl_cert"], settings.get("ssl_key"))
        return context

    @property
    def _is_elsewhere(self) -> bool:
        if "unix_socket" in self.settings or self.host.lower() == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True


def _read(name: str, value: str) -> Any:
    """Return the value of one of Zart's own parameters."""
    if name == "pool_size":
        if not (value.isascii() and value.isdecimal()):
            raise ValueError(f"pool_size in the URL must be a whole number, not {value!r}")
        return int(value)
    if name in _OWN:
        return value
    near = get_close_matches(name, _OWN | _DRIVERS, 1)
    mend = f"did you mean {near[0]!r}?" if near else "leave it out"
    raise ValueError(f"neither Zart nor its driver knows the URL's parameter {name!r}; {mend}")

"""Whom a connection trusts: a server on another machine must show a certificate, unless the URL says otherwise.

The driver's own default is to encrypt if the server offers to, and to ask nobody who it is: whoever stands in between is given
the password and every payload.
"""

import logging
import os
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote

logger: logging.Logger = logging.getLogger("zart.schedulers")

_BUNDLES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"), Path("/etc/ssl/cert.pem"))
"""Where systems keep the authorities that they trust, if Python does not know."""
_OWN_BUNDLE = Path("~/.postgresql/root.crt")
_SEEMING = frozenset({"allow", "prefer", "require"})
"""Modes that look safe, and do not say who is at the other end."""


def verified(dsn: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a URL that asks a server on another machine for its certificate, if it does not say itself what to ask for.

    The authorities are those of `sslrootcert`, of `PGSSLROOTCERT` or `~/.postgresql/root.crt`, or else the system's.
    """
    place, _, query = dsn.partition("?")
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    if "service" in asked or not any(_is_elsewhere(host) for host in _hosts(place, asked, environment)):
        return dsn
    mode = asked.get("sslmode") or environment.get("PGSSLMODE")
    if mode is not None:
        if mode in _SEEMING:
            logger.warning("sslmode=%s does not check who the PostgreSQL server is; use sslmode=verify-full", mode)
        return dsn
    given = ["sslmode=verify-full"]
    if not ("sslrootcert" in asked or environment.get("PGSSLROOTCERT") or _OWN_BUNDLE.expanduser().exists()):
        trusted = ssl.get_default_verify_paths().cafile
        bundle = next((each for each in (Path(trusted or os.devnull), *_BUNDLES) if each.is_file()), None)
        given += [] if bundle is None else [f"sslrootcert={quote(str(bundle), safe='')}"]
    return f"{place}?{'&'.join([*filter(None, [query]), *given])}"


def _hosts(place: str, asked: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    named = place.partition("://")[2].partition("/")[0].rpartition("@")[2]
    hosts = [unquote(_without_port(each)) for each in named.split(",")] if named else []
    return [host for host in hosts or (asked.get("host") or environment.get("PGHOST", "")).split(",") if host]


def _without_port(host: str) -> str:
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_elsewhere(host: str) -> bool:
    if host.startswith(("/", "@")) or host.lower() == "localhost":
        return False  # a socket of this machine
    try:
        return not ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return True

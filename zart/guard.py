"""What guards a port: bearer tokens, kept as digests and compared so that how long it takes tells nothing; and its address."""

import hashlib
import hmac
from collections.abc import Collection, Iterable
from ipaddress import ip_address


def digests(given: str | Iterable[str | bytes] | None) -> tuple[bytes, ...]:
    """Return the digests of tokens; text may hold several, parted by commas. What is a digest already is left as it is.

    Raises:
        ValueError: a token with spaces, control or foreign characters.
    """
    if given is None:
        return ()
    return tuple(each for each in map(_digest, given.split(",") if isinstance(given, str) else given) if each)


def _digest(given: str | bytes) -> bytes:
    """Return a token's digest, nothing for nothing: of one length, so that comparing tells nothing about the tokens'."""
    if isinstance(given, bytes):
        return given
    token = given.strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("a token may hold printable ASCII characters only, without spaces; make another")
    return hashlib.sha256(token.encode()).digest() if token else b""


def bearer(header: bytes) -> bytes | None:
    """Return the digest of the token in an `Authorization` header; None if it is none of the scheme `Bearer`."""
    scheme, _, token = header.partition(b" ")
    return hashlib.sha256(token.strip()).digest() if scheme.lower() == b"bearer" else None


def is_among(given: bytes, known: Collection[bytes]) -> bool:
    """Whether a digest is one of those; all are compared, whichever fits."""
    return any([hmac.compare_digest(given, each) for each in known])  # noqa: C419 # a generator would stop at the first


def is_loopback(host: str) -> bool:
    """Whether a name or address can be reached from its own machine only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

"""Who may do what: bearer tokens for two scopes, and what protects a server without any.

Without tokens and without a hook, a server answers to programs of its own machine only: the caller's address, the Host and the
Origin must be loopback, and no proxy may stand in between. Cross-origin requests of browsers are refused in any case, unless
the origin is listed.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from zart.guard import bearer, digests, is_among, is_loopback
from zart.http.endpoints import Access
from zart.http.refusals import Refusal

SHORTEST_TOKEN = 16
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_PROXIED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")

Headers = Mapping[bytes, bytes]


@frozen
class Caller:
    """Somebody who calls: a name for logs, and what they may do."""

    name: str
    access: Access


Authenticate = Callable[[Mapping[str, str]], Awaitable[Caller | None]]
"""A hook: request headers, by lower-case name, to the caller; None refuses."""


@frozen(kw_only=True)
class AccessRules:
    """Who may call.

    Attributes:
        read: tokens that may look; text may hold several, parted by commas, so that one can be replaced without a gap.
        operator: tokens that may also start, send and cancel.
        authenticate: asked when no token fits, e.g. for an application's own sessions.
        hosts: the names that the Host header may have; None: any where there are tokens or a hook, else those of loopback.
        origins: origins such as "https://console.example" whose pages may call; they get CORS headers.

    Raises:
        ValueError: a token with spaces, control or foreign characters, or one token for both scopes.
    """

    read: tuple[bytes, ...] = field(default=None, converter=digests, repr=False)
    operator: tuple[bytes, ...] = field(default=None, converter=digests, repr=False)
    authenticate: Authenticate | None = None
    hosts: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse what would give a reader more than was meant."""
        if set(self.read) & set(self.operator):
            raise ValueError("one token stands for both read and operator; make another for one of the two")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **others: Any) -> "AccessRules":
        """Return the rules with the tokens of `ZART_READ_TOKEN` and `ZART_OPERATOR_TOKEN`."""
        return cls(read=environment.get("ZART_READ_TOKEN"), operator=environment.get("ZART_OPERATOR_TOKEN"), **others)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are."""
        return not (self.read or self.operator or self.authenticate)

    def check_place(self, headers: Headers, address: str | None) -> None:
        """Refuse a request that comes by a way on which this server does not answer.

        Raises:
            Refusal: (host_not_allowed) its Host, its Origin, or, where nobody needs a token, its sender.
        """
        host = headers.get(b"host", b"").decode("latin-1")
        hosts = self.hosts if self.hosts is not None or not self.is_open else tuple(_LOCAL)
        if hosts is not None and _name_of(host) not in hosts:
            raise Refusal("host_not_allowed", "the Host header names another server", "add it to the allowed hosts")
        origin = headers.get(b"origin")
        if origin is not None and not self._is_own(origin.decode("latin-1"), host):
            raise Refusal("host_not_allowed", "the Origin header names another site", "add it to the allowed origins")
        if self.is_open and (_is_far(address) or any(each in headers for each in _PROXIED)):
            raise Refusal("not_allowed", "a server without tokens answers to its own machine only", "give it tokens")

    def _is_own(self, origin: str, host: str) -> bool:
        return origin in self.origins or (origin != "null" and bool(host) and urlsplit(origin).netloc == host)

    async def caller(self, headers: Headers) -> Caller:
        """Return who calls.

        Raises:
            Refusal: (unauthorized) nobody known.
        """
        if self.is_open:
            return Caller("local", Access.OPERATOR)
        given = bearer(headers.get(b"authorization", b""))
        if given is not None:
            operates, reads = is_among(given, self.operator), is_among(given, self.read)
            if operates or reads:
                scope = Access.OPERATOR if operates else Access.READ
                return Caller(f"{scope}:{given.hex()[:8]}", scope)
        if self.authenticate is not None:
            texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
            found = await self.authenticate(texts)
            if found is not None:
                return found
        raise Refusal(
            "unauthorized",
            "the bearer token is missing or wrong",
            "send `Authorization: Bearer TOKEN`",
            {"www-authenticate": 'Bearer realm="zart"'},
        )


def check_access(caller: Caller, needed: Access) -> None:
    """Refuse a caller who may not.

    Raises:
        Refusal: (not_allowed) the endpoint needs more.
    """
    if needed is Access.OPERATOR and caller.access is not Access.OPERATOR:
        raise Refusal("not_allowed", "a read token may not do this", "use the operator token")


def _is_far(address: str | None) -> bool:
    return address is not None and not is_loopback(address)  # None: a socket of the file system


def _name_of(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()

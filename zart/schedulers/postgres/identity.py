"""Whether somebody's connection leads to the tables that this scheduler uses."""

from collections.abc import Mapping
from weakref import WeakSet

import asyncpg
from attrs import define, field

from zart.schedulers.postgres.connections import Connection, Row, Server, Talk


@define(eq=False)
class Identity:
    """Asks each connection once. What it compares is the same over every way to one running server, and for no other."""

    _server: Server
    _queries: Mapping[str, str]
    _ours: Row | None = None
    _known: "WeakSet[Connection]" = field(factory=WeakSet)

    async def check(self, talk: Talk) -> None:
        """Make sure that a connection sees this scheduler's tables.

        Raises:
            TypeError: it is to another database, or finds other tables there, or none.
        """
        connection = unwrapped(talk.connection)
        if connection in self._known:
            return
        theirs = await talk.row("transact.identity")
        if theirs != self._ours:
            self._ours = await self._ask()  # the first time, or the server was started again since
        if theirs != self._ours:
            raise TypeError(_difference(self._server.place, theirs, self._ours))
        self._known.add(connection)

    async def _ask(self) -> Row | None:
        connection = await self._server.connect(name="zart transaction", plans=False)
        try:
            return await connection.fetchrow(self._queries["transact.identity"], timeout=self._server.timeout)
        finally:
            connection.terminate()


def unwrapped(connection: Connection) -> Connection:
    """Return the connection itself: asyncpg's own pool hands out the same one in a new wrapping each time."""
    found: Connection = getattr(connection, "_con", connection)
    return found


def _difference(place: str, theirs: asyncpg.Record | None, ours: asyncpg.Record | None) -> str:
    name = None if theirs is None else theirs["name"]
    if theirs is not None and ours is not None and theirs["database"] == ours["database"] and theirs["since"] == ours["since"]:
        found = "no Zart tables" if theirs["tables"] is None else "other Zart tables"
        return f"the connection finds {found} in {place} where this Zart has its own; look at its search_path, and at `schema`"
    return f"the connection is to the database {name!r} of another server or name, and Zart's data is in {place}"

"""A Galera cluster of MariaDB on this machine: three nodes, each on ports of its own, gone when the run is gone."""

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from tests.servers.mariadb import MariaDbServer, installed
from zart.clock import SystemClock

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
PATIENCE = 60.0
_PROVIDER_OPTIONS = {
    "gcache.size": "64M",
    "pc.recovery": "FALSE",  # who comes back asks those who are there
    # A node that was killed is missed after two seconds instead of five.
    "evs.keepalive_period": "PT0.5S",
    "evs.inactive_check_period": "PT0.5S",
    "evs.suspect_timeout": "PT2S",
    "evs.inactive_timeout": "PT8S",
    "evs.join_retrans_period": "PT0.5S",
}


def missing() -> str | None:
    """Return what to install, None if it is there."""
    if installed() is None or not PROVIDER.exists():
        return "apt-get install mariadb-server galera-4 rsync"
    return None


class GaleraServer(MariaDbServer):
    """The server of a node."""

    def look_for(self, ports: list[int]) -> None:
        """Say where the others are when it starts the next time; without any it would make a cluster of its own."""
        self._options["wsrep_cluster_address"] = "gcomm://" + ",".join(f"127.0.0.1:{port}" for port in ports)


@define(eq=False)
class Node:
    """One node, and how to reach it."""

    server: GaleraServer
    url: str

    async def ask(self, sql: str) -> list[Any]:
        """Return the rows of a statement, said by somebody who is no client of Zart's."""
        session = await self.server.session(None)
        try:
            async with session.cursor() as cursor:
                await cursor.execute(sql)
                return list(await cursor.fetchall()) if cursor.description else []
        finally:
            session.close()

    async def status(self, name: str) -> str:
        """Return one of its status variables; empty if it does not answer."""
        try:
            rows = await self.ask(f"SHOW GLOBAL STATUS LIKE '{name}'")
        except Exception:  # noqa: BLE001 # it is being killed, or has not got up yet
            return ""
        return str(rows[0][1]) if rows else ""

    async def until_synced(self, size: int) -> None:
        """Wait until it is one of so many nodes, and has all that they have."""
        began = SystemClock.monotonic()
        while (await self.status("wsrep_local_state_comment"), await self.status("wsrep_cluster_size")) != (
            "Synced",
            str(size),
        ):
            if SystemClock.monotonic() - began > PATIENCE:
                raise RuntimeError(f"the node at {self.url} does not join {size - 1} others")
            await asyncio.sleep(0.05)


@define(eq=False)
class Galera:
    """Three nodes, for use in an `async with`."""

    nodes: list[Node] = field(factory=list)
    _stack: ExitStack = field(factory=ExitStack)

    async def __aenter__(self) -> Self:
        """Start one after the other; the first makes the cluster."""
        try:
            groups = _free_ports(3)
            for place in range(3):
                await self._add(groups, place)
        except BaseException:
            self._stack.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill all of them."""
        await asyncio.to_thread(self._stack.close)

    async def kill(self, node: Node) -> None:
        """Kill a node with -9."""
        await asyncio.to_thread(node.server.stop)

    async def bring_back(self, node: Node) -> None:
        """Start a node that was killed, and wait until it has caught up."""
        await asyncio.to_thread(node.server.start)
        await node.until_synced(len(self.nodes))

    async def _add(self, groups: list[int], place: int) -> None:
        (transfer, state) = _free_ports(2)
        provider = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{groups[place]}",
            "ist.recv_addr": f"127.0.0.1:{transfer}",
            **_PROVIDER_OPTIONS,
        }
        options = {
            "wsrep_on": "ON",
            "wsrep_provider": str(PROVIDER),
            "wsrep_provider_options": ";".join(f"{name}={value}" for name, value in provider.items()),
            "wsrep_cluster_name": "zart",
            # The first does not know of the others, because they are not there yet. It does when it comes back.
            "wsrep_cluster_address": "gcomm://" + ",".join(f"127.0.0.1:{port}" for port in groups[:place]),
            "wsrep_node_address": f"127.0.0.1:{groups[place]}",
            "wsrep_node_name": f"node{place}",
            "wsrep_sst_method": "rsync",
            "wsrep_sst_receive_address": f"127.0.0.1:{state}",
            "wsrep_slave_threads": "2",
            "binlog_format": "ROW",
            "innodb_autoinc_lock_mode": "2",
        }
        server = GaleraServer(options=options)
        await asyncio.to_thread(self._stack.enter_context, server)
        server.look_for([port for port in groups if port != groups[place]])
        node = Node(server, f"mysql://root@127.0.0.1:{server.port}/zart")
        await node.until_synced(place + 1)
        self.nodes.append(node)


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in taken]
    finally:
        for each in taken:
            each.close()

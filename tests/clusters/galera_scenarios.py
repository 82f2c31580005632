"""What is tried on three nodes of Galera, with workers at all of them."""

import asyncio

from tests.clusters.galera import Galera, Node
from tests.clusters.load import TABLE, loaded
from tests.clusters.races import race, save_late
from tests.clusters.score import Score
from zart import connect

KILLED = "node killed with -9 under load"
LATE = "save that came too late, refused"
BACK = "node back under load"
CONFLICT = "conflict between nodes (1213)"
_CONFLICTS = ("wsrep_local_cert_failures", "wsrep_local_bf_aborts")


async def fences(galera: Galera) -> Score:
    """Takeovers over one node, while the holder saves over another."""
    score = Score("galera: takeover over one node, saves over another", ("takeover between two saves", LATE, CONFLICT))
    urls = [f"{node.url}?prefix=race_" for node in galera.nodes]
    await connect(urls[0]).migrate()
    before = await _conflicts(galera.nodes)
    async with connect(urls[0]) as one, connect(urls[1]) as other:
        await race(one, other, score)
        await save_late(one, other, score, lambda: _hold_up(*galera.nodes[:2]))
    score.hits[CONFLICT] = await _conflicts(galera.nodes) - before
    return score


async def kills(galera: Galera) -> Score:
    """Two nodes are killed, one after the other, with workers and clients at all of them."""
    score = Score("galera: workers at three nodes, nodes killed", (KILLED, BACK, CONFLICT))
    await connect(galera.nodes[0].url).migrate()
    await galera.nodes[0].ask(TABLE.format(serial="AUTO_INCREMENT").replace("bookings", "zart.bookings", 1))
    async with loaded([node.url for node in galera.nodes], 6) as load:
        conflicts = -await _conflicts(galera.nodes)
        await load.start(60)
        for victim in (galera.nodes[2], galera.nodes[0]):
            await load.busy()
            conflicts += await _conflicts([victim])
            await galera.kill(victim)
            score.hits[KILLED] += 1
            _, _ = await asyncio.gather(load.start(40), load.busy())
            await galera.bring_back(victim)
            score.hits[BACK] += 1
            await load.start(20)
        await load.count(score, lambda: _bookings(galera.nodes[1]))
        score.hits[CONFLICT] = conflicts + await _conflicts(galera.nodes)
    return score


async def _hold_up(node: Node, other: Node) -> None:
    """Give a node so much to apply from another that what comes after it is known there, and not yet done."""
    await node.ask("SET GLOBAL wsrep_slave_threads = 1")
    await other.ask("CREATE TABLE zart.ballast (n INT PRIMARY KEY, text VARCHAR(200))")
    await other.ask("INSERT INTO zart.ballast SELECT seq, REPEAT('x', 200) FROM zart.seq_1_to_200000")


async def _conflicts(nodes: list[Node]) -> int:
    return sum([int(await node.status(name) or 0) for node in nodes for name in _CONFLICTS])


async def _bookings(node: Node) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in await node.ask("SELECT id, step, value FROM zart.bookings ORDER BY place")]

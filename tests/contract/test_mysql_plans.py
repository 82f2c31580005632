"""How MariaDB and MySQL find what is asked: by an index, and by one that has all that is asked where nothing may be locked."""

import pytest

from zart.testing.contract.scene import demand, new, register

pytestmark = pytest.mark.parametrize("mysql_place", ["mariadb_server", "mysql_server"], indirect=True)

FEW = [1, 2]
PLANS = {
    "claim.line": ({"queue": "default", "task": "t", "suspect": 0, "most": 5}, "due", True),
    "claim.lock": ({"keys": FEW, "now": 1 << 60, "suspect": 0}, "PRIMARY", False),
    "claim.take": ({"keys": FEW, "worker": "w", "now": 1, "length": None}, "PRIMARY", False),
    "claim.past": ({"keys": FEW}, "PRIMARY", False),
    "commit.hold": ({"keys": FEW}, "PRIMARY", False),
    "commit.move": (
        dict.fromkeys(["status", "due_at", "completed_at", "result", "reason", "attempt", "deadline"]) | {"key": 1, "fence": 1},
        "PRIMARY",
        False,
    ),
    "deliver.last": ({"place": 0, "id": "x1"}, "id", True),
    "deliver.lock": ({"keys": FEW}, "PRIMARY", False),
    "deliver.duplicates": ({"keys": FEW, "event_ids": ["e"]}, "event_id", True),
    "cancel.cancel": ({"keys": FEW, "now": 1}, "PRIMARY", False),
    "start.last": ({"place": 0, "id": "x1"}, "id", False),
    "start.same": ({"place": 0, "id": "x1", "start_key": "k"}, "start_key", False),
    "beat.under": ({"worker": "w", "held_at": 1}, "worker", False),
    "beat.release": ({"keys": FEW, "now": 1}, "PRIMARY", False),
    "beat.held": ({"keys": FEW}, "PRIMARY", False),
    "wait.ended": ({"id": "x1"}, "id", False),
    "wait.places": ({}, "due", True),
    "wait.backlog": ({"queue": "default", "task": "t", "suspect": 0, "now": 1 << 60}, "due", True),
}


@pytest.mark.parametrize("filled", [False, True])
async def test_no_hot_statement_reads_a_whole_table(mysql_place, filled):
    async with mysql_place.open() as scheduler, mysql_place.session() as session:
        if filled:
            await register(scheduler)
            await scheduler.start([new(f"x{number}") for number in range(2000)])
            await scheduler.claim(demand(limit=1000))
            await session.ask("ANALYZE TABLE zart_executions", "ANALYZE TABLE zart_steps", "ANALYZE TABLE zart_mail")
        if not scheduler._server.is_mariadb:
            await session.ask("SET SESSION explain_format = 'TRADITIONAL'")
        for name, (values, index, covering) in PLANS.items():
            said = scheduler._connections.queries[name].say(repr, values)
            found = [tuple(row) for row in await session.ask(f"EXPLAIN {said}")]
            # MySQL has a column before the kind, and one before the last.
            kinds, keys = (3, 5) if len(found[0]) == 10 else (4, 6)
            used = [(row[kinds], row[keys], row[-1] or "") for row in found if row[2] is not None]
            for kind, key, extra in used:
                assert kind != "ALL", (name, found)
                assert key == index, (name, found)
                assert not covering or "Using index" in extra, (name, found)
            if filled:
                assert used or "const" in str(found) or "Impossible" in str(found), (name, found)

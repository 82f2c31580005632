"""Every backend answers as the in-memory scheduler does, whatever it is told in whatever order.

`ZART_STORIES=2000 pytest tests/differential` tells that many stories, new ones each time.
"""

import os
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.differential.machine import Machine
from zart.schedulers.memory import InMemoryScheduler
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.postgres import PostgresScheduler
from zart.schedulers.sqlite import SqliteScheduler
from zart.testing.simulation import BUGS

_numbers = count(1)


WRONG = [bug for bug in BUGS if issubclass(InMemoryScheduler, bug.owner)]


def stories(usual: int) -> settings:
    asked = os.environ.get("ZART_STORIES")
    return settings(
        max_examples=usual if asked is None else int(asked),
        stateful_step_count=50,
        deadline=None,
        derandomize=asked is None,
        database=None,
        print_blob=True,
        phases=[Phase.generate] if asked is None else [Phase.generate, Phase.shrink],  # shrinking is slow on a real server
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(3600 if os.environ.get("ZART_STORIES") else 120)
def test_sqlite(tmp_path):
    def machine():
        path = tmp_path / f"{next(_numbers)}.db"

        async def reopen(clock):
            return SqliteScheduler(path, clock=clock)

        return Machine(reopen)

    run_state_machine_as_test(machine, settings=stories(40))


@pytest.mark.timeout(3600 if os.environ.get("ZART_STORIES") else 120)
def test_postgres(postgres_server):
    def machine():
        schema = f"differential_{next(_numbers)}"

        async def reopen(clock):
            return PostgresScheduler(postgres_server.dsn, schema=schema, clock=clock)

        return Machine(reopen)

    run_state_machine_as_test(machine, settings=stories(20))


@pytest.mark.timeout(3600 if os.environ.get("ZART_STORIES") else 120)
@pytest.mark.parametrize("server", ["mariadb_server", "mysql_server"])
def test_mysql(server, request):
    url = request.getfixturevalue(server).url

    def machine():
        prefix = f"differential_{next(_numbers)}_"

        async def reopen(clock):
            return MySqlScheduler(url, prefix=prefix, clock=clock)

        return Machine(reopen)

    run_state_machine_as_test(machine, settings=stories(20))


@pytest.mark.parametrize("bug", WRONG, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug):
    right = getattr(InMemoryScheduler, bug.attribute)
    wrong = type("Wrong", (InMemoryScheduler,), {bug.attribute: bug.change(right)})

    def machine():
        made = []

        async def reopen(clock):
            made[:] = made or [wrong(clock=clock)]
            return made[0]

        return Machine(reopen)

    with pytest.raises(AssertionError):
        # It ends with the first that shows it. Which that is depends on what is imported: Hypothesis draws from it.
        run_state_machine_as_test(machine, settings=settings(stories(500), phases=[Phase.generate]))

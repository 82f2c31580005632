"""What a row of the table of failure scenarios says."""

from attrs import field, frozen


@frozen
class Covered:
    """A scenario: what happens, the tests that cover it, and the conformance scenarios that do.

    `later` says what of it, or that all of it, is not built yet.
    """

    what: str
    tests: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = field(default=())
    later: str = ""


CONTRACT = {
    "memory": "tests/contract/test_memory.py::TestMemory",
    "SQLite": "tests/contract/test_sqlite.py::TestSqlite",
    "PostgreSQL": "tests/contract/test_postgres.py::TestPostgres",
    "MariaDB": "tests/contract/test_mysql.py::TestMariaDb",
}
"""The contract suite of each backend."""


def nodes(name: str) -> list[str]:
    """Return the tests that a name in the table stands for: a rule of the contract is one on each backend."""
    suite, _, rule = name.partition("::")
    return [f"{each}::{rule}" for each in CONTRACT.values()] if suite == "contract" else [name]

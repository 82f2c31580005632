"""The statements of the Inspector, looked at without a database."""

import pytest

from zart.records import Query
from zart.schedulers.sql import statements
from zart.schedulers.sql.migrate import Migration, migrations
from zart.schedulers.sqlite.compiled import Compiled
from zart.schedulers.sqlite.queries import LARGEST, Statement
from zart.schedulers.sqlite.queries import statements as queries
from zart.status import ExecutionStatus


def text(statement):
    return " ".join(Compiled.of(statement).sql.split())


def test_the_last_run_is_found_by_its_number():
    assert text(statements.get(pinned=False)).endswith(
        "WHERE zart_executions.id = :execution_id ORDER BY zart_executions.run DESC LIMIT 1 OFFSET :param_1"
    )


def test_a_pinned_run_is_found_by_its_key():
    assert text(statements.get(pinned=True)).endswith("WHERE zart_executions.id = :execution_id AND zart_executions.run = :run")


def test_a_page_has_one_more_than_asked_for_so_that_its_end_shows():
    compiled = Compiled.of(statements.find(Query(limit=10, offset=5)))
    sql, parameters = compiled.sql, compiled.parameters
    assert sql.split("\n")[-2:] == [
        'WHERE zart_executions.current = 1 ORDER BY zart_executions."key" DESC',
        " LIMIT :limit OFFSET :offset",
    ]
    assert (parameters["limit"], parameters["offset"]) == (11, 5)


def test_filters_are_parameters():
    query = Query(statuses=(ExecutionStatus.FAILED,), tasks=("a'b", "c"), after="x", descending=False)
    compiled = Compiled.of(statements.find(query))
    sql, parameters = compiled.sql, compiled.parameters
    assert "a'b" not in sql
    assert {"failed", "a'b", "c", "x"} <= set(parameters.values())
    assert 'zart_executions."key" > (SELECT last."key"' in sql
    assert 'ORDER BY zart_executions."key"\n' in sql


def test_a_count_knows_no_pages():
    sql = text(statements.count(Query(limit=1, offset=2, after="x", tasks=("t",))))
    assert "LIMIT" not in sql
    assert sql.endswith("AND zart_executions.task IN (:task_0) GROUP BY zart_executions.status")


def test_records_and_mail_come_in_order():
    steps, mail = statements.history(pinned=True)
    assert text(steps).endswith("ORDER BY zart_steps.seq")
    assert text(mail).endswith("ORDER BY zart_mail.seq")


@pytest.mark.parametrize("operation", ["start", "beat", "claim", "commit", "deliver", "cancel", "wait"])
def test_every_operations_file_begins_with_its_contract_and_names_its_statements(operation):
    found = queries(operation)
    assert found
    assert all(each.sql for each in found.values())


@pytest.mark.parametrize(
    ("rows", "sizes"), [(1, [1]), (2, [2]), (5, [6]), (100, [128]), (LARGEST, [LARGEST]), (LARGEST + 9, [LARGEST, 12])]
)
def test_rows_are_padded_to_few_sizes(rows, sizes):
    statement = Statement("INSERT INTO t VALUES /*rows*/ (?, ?)")
    chunks = list(statement.chunks([(number, "x") for number in range(1, rows + 1)]))
    assert [sql.count("(?, ?)") for sql, _ in chunks] == sizes
    assert [len(parameters) for _, parameters in chunks] == [2 * size for size in sizes]
    said = [pair for _, parameters in chunks for pair in zip(parameters[::2], parameters[1::2], strict=True)]
    assert [pair for pair in said if pair != (0, 0)] == [(number, "x") for number in range(1, rows + 1)]


def test_no_rows_are_no_statement():
    assert list(Statement("VALUES /*rows*/ (?)").chunks([])) == []


def test_a_migrations_statements_are_told_apart():
    migration = Migration(1, "x", "-- one; two\nCREATE TABLE a (\n  b TEXT DEFAULT ';'\n);\n\nCREATE TABLE c (d);\n")
    assert [each.strip() for each in migration.statements()] == [
        "-- one; two\nCREATE TABLE a (\n  b TEXT DEFAULT ';'\n);",
        "CREATE TABLE c (d);",
    ]


def test_migrations_are_numbered_without_gaps():
    assert [each.version for each in migrations("sqlite")] == list(range(1, len(migrations("sqlite")) + 1))

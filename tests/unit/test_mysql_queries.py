"""The statements of the MySQL backend, and what is put into them."""

from importlib.resources import files

import pytest

from zart.schedulers.mysql.queries import Names, Sql, Statement, portions
from zart.status import ExecutionStatus


def literal(text):
    assert type(text) is str
    return f"<{text}>"


def test_values_stand_as_literals_and_are_not_looked_through_again():
    statement = Statement.of("-- :comment\nSELECT :a, :b,\n    :c, :d, :e WHERE x IN (:f) AND y IN (:g) AND z IN (:h)")
    values = {"a": ":b %s ?", "b": None, "c": True, "d": -7, "e": Sql("NOW()"), "f": [1, 2], "g": [], "h": ["x", "y"]}
    said = "SELECT <:b %s ?>, NULL, 1, -7, NOW() WHERE x IN (1, 2) AND y IN (NULL) AND z IN (<x>, <y>)"
    assert statement.say(literal, values) == said
    assert Statement.of("SELECT :a").say(literal, {"a": ExecutionStatus.RUNNING}) == "SELECT <running>"


@pytest.mark.parametrize("value", [1.5, {"a": 1}, object()])
def test_what_is_no_value_is_refused(value):
    with pytest.raises(TypeError, match="is no value that a statement takes"):
        Statement.of("SELECT :a").say(literal, {"a": value})


def test_rows_go_in_as_many_statements_as_they_need():
    insert = Statement.of("INSERT INTO t VALUES :rows ON DUPLICATE KEY UPDATE a = a")
    assert list(insert.over_rows(literal, [])) == []
    assert list(insert.over_rows(literal, [(1, "x"), (2, None)])) == [
        "INSERT INTO t VALUES (1, <x>), (2, NULL) ON DUPLICATE KEY UPDATE a = a"
    ]
    assert [each.count("(") for each in insert.over_rows(literal, [(1,)] * 1200)] == [500, 500, 200]
    long = "x" * 150_000
    assert [each.count("(") for each in insert.over_rows(literal, [(long,), (1,), (long,), (2,)])] == [2, 2]


def test_lists_are_parted():
    assert [len(each) for each in portions(range(1001))] == [500, 500, 1]
    assert list(portions([])) == []


def test_tables_get_their_names_and_the_collation_that_of_the_server():
    sql = "SELECT zart_steps.seq, @zart_now FROM zart_steps COLLATE utf8mb4_nopad_bin"
    assert Names("app_").apply(sql) == "SELECT `app_steps`.seq, @zart_now FROM `app_steps` COLLATE utf8mb4_nopad_bin"
    assert Names().apply(sql, mariadb=False).endswith("COLLATE utf8mb4_0900_bin")


@pytest.mark.parametrize("prefix", ["", "Zart_", "1_", "a`b", "x" * 49, "a;b", "ü"])
def test_a_prefix_that_needs_quotes_is_refused(prefix):
    with pytest.raises(ValueError, match="prefix must have 1 to 48 lower-case letters"):
        Names(prefix)


def test_the_lock_of_a_migration_is_of_these_tables_and_not_too_long():
    locks = {Names(prefix).lock(database) for prefix in ("zart_", "a_") for database in ("d", "e")}
    assert len(locks) == 4
    assert all(len(each) <= 64 for each in locks)


def test_every_statement_is_used_and_every_file_says_what_it_is_for():
    package = files("zart.schedulers.mysql")
    code = "".join(each.read_text("utf-8") for each in package.iterdir() if each.name.endswith(".py"))
    unused = [name for name in Names().queries() if f'"{name}"' not in code]
    assert not unused
    for each in (package / "queries").iterdir():
        assert each.read_text("utf-8").startswith(f"-- {each.name.removesuffix('.sql')}: ")

"""Which servers tests find, and that what is absent is passed over or told, and never a surprise."""

from pathlib import Path

import pytest

from tests.servers import mariadb, postgres
from tests.servers.present import need, newest_postgres, told

OLD, NEW = Path("/old/bin"), Path("/new/bin")


@pytest.fixture(autouse=True)
def not_all(monkeypatch):
    monkeypatch.delenv("ZART_ALL_SERVERS", raising=False)


def program(folder, said, code=0):
    """Return a program that says this of its version."""
    found = folder / "mysqld"
    found.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    found.chmod(0o755)
    return str(found)


def test_the_newest_postgres_is_taken_that_there_is(monkeypatch):
    monkeypatch.setattr(postgres, "installed", lambda: {"18": NEW, "15": OLD})
    assert newest_postgres() == NEW
    monkeypatch.setattr(postgres, "installed", lambda: {"15": OLD})
    assert newest_postgres() == OLD


def test_installed_servers_come_with_the_newest_first(monkeypatch, tmp_path):
    (tmp_path / "initdb").touch()
    monkeypatch.setattr(postgres, "embedded", lambda: tmp_path)
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    assert list(postgres.installed()) == ["18", "15"]


def test_a_test_without_any_postgres_is_skipped(monkeypatch):
    monkeypatch.setattr(postgres, "installed", dict)
    with pytest.raises(pytest.skip.Exception, match="PostgreSQL 18 is not installed"):
        newest_postgres()


def test_where_all_packages_are_said_to_be_there_an_older_one_will_not_do(monkeypatch):
    monkeypatch.setattr(postgres, "installed", lambda: {"15": OLD})
    monkeypatch.setenv("ZART_ALL_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="PostgreSQL 18 is not installed, and ZART_ALL_SERVERS is set"):
        newest_postgres()
    need("PostgreSQL 15")


def test_mysql_is_the_program_that_the_variable_names(monkeypatch, tmp_path):
    named = program(tmp_path, "mysqld  Ver 8.4.2 for Linux on x86_64 (MySQL Community Server - GPL)")
    monkeypatch.setenv("ZART_MYSQLD", named)
    assert mariadb.installed_mysql() == Path(named)
    assert "MySQL" in told().partition("; absent: ")[0]


@pytest.mark.parametrize(
    ("said", "code"),
    [("mariadbd  Ver 10.11.6-MariaDB for debian-linux-gnu", 0), ("true (GNU coreutils) 9.1", 0), ("mysqld  Ver 8.4.2", 1)],
)
def test_a_variable_that_names_another_program_ends_the_run(monkeypatch, tmp_path, said, code):
    monkeypatch.setenv("ZART_MYSQLD", program(tmp_path, said, code))
    with pytest.raises(pytest.UsageError, match="is no MySQL server that can be run"):
        mariadb.installed_mysql()


def test_a_variable_that_names_nothing_ends_the_run(monkeypatch, tmp_path):
    monkeypatch.setenv("ZART_MYSQLD", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.UsageError, match="nowhere is no MySQL server"):
        told()


def test_a_mariadb_under_mysqls_name_on_the_path_is_no_mysql(monkeypatch, tmp_path):
    monkeypatch.delenv("ZART_MYSQLD", raising=False)
    program(tmp_path, "mysqld  Ver 10.11.6-MariaDB")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mariadb.installed_mysql() is None

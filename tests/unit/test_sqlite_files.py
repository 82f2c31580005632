"""The SQLite file: who may read it, and what is said about files that are none."""

import asyncio
import os
import sqlite3
import stat
from contextlib import closing
from datetime import timedelta

import pytest

from zart.errors import NotSupported, SchemaMismatch, StorageUnavailable
from zart.records import Query
from zart.schedulers import connect
from zart.schedulers.memory import InMemoryScheduler
from zart.schedulers.sqlite import SqliteScheduler
from zart.schedulers.sqlite.database import Database
from zart.schedulers.sqlite.faults import of_storage
from zart.testing.contract.scene import new, returns


@pytest.fixture
def path(tmp_path):
    return tmp_path / "zart.db"


@pytest.fixture
def careless():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


async def test_all_its_files_are_their_owners_only(path, careless):
    async with SqliteScheduler(path) as scheduler:
        await scheduler.migrate()
        await scheduler.start([new()])
        modes = {each.name: mode(each) for each in path.parent.iterdir()}
    assert modes == {"zart.db": 0o600, "zart.db-wal": 0o600, "zart.db-shm": 0o600}


async def test_a_file_that_is_there_keeps_its_mode(path, careless):
    path.touch(0o640)
    async with connect(f"sqlite:///{path}") as scheduler:
        await scheduler.start([new()])
    assert mode(path) == 0o640


async def test_what_was_written_is_there_after_opening_it_again(path):
    scheduler = connect(f"sqlite:///{path}")
    async with scheduler:
        await scheduler.start([new("a"), new("b")])
    async with scheduler:
        await scheduler.start([new("c")])
    async with connect(f"sqlite:///{path}") as another:
        assert [each.id for each in (await another.find(Query(descending=False))).executions] == ["a", "b", "c"]


async def test_closing_leaves_no_other_file_behind(path):
    async with connect(f"sqlite:///{path}") as scheduler:
        await scheduler.start([new()])
        await scheduler.get("a")
    assert [each.name for each in path.parent.iterdir()] == ["zart.db"]


async def test_a_link_is_followed(path, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    async with connect(f"sqlite:///{link}") as scheduler:
        assert repr(scheduler) == f"SqliteScheduler({str(path)!r})"
        await scheduler.start([new()])
        assert scheduler._waits._look_at_wal() is not None
    async with connect(f"sqlite:///{path}") as scheduler:
        assert await scheduler.get("a") is not None


async def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(StorageUnavailable, match=r"'.*/missing/zart\.db' cannot be made: No such file.*make its folder"):
        async with SqliteScheduler(tmp_path / "missing" / "zart.db"):
            pass


async def test_a_folder_in_place_of_the_file_is_told(path):
    path.mkdir()
    with pytest.raises(StorageUnavailable, match=r"zart\.db' cannot be used: .*look whether .* it is a file"):
        async with SqliteScheduler(path):
            pass


async def test_a_file_that_is_no_database_is_told_and_kept(path):
    path.write_text("Dear diary, today I was mistaken for a database. " * 100)
    with pytest.raises(StorageUnavailable, match="file is not a database; name a SQLite database"):
        async with connect(f"sqlite:///{path}"):
            pass
    assert path.read_text().startswith("Dear diary")


async def test_a_damaged_database_is_told(path):
    async with connect(f"sqlite:///{path}") as scheduler:
        await scheduler.start([new(f"x{number}", payload="p" * 1000) for number in range(100)])
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * (size - 4096 * 3))

    async def read():
        async with SqliteScheduler(path) as scheduler:
            await scheduler.get("x1")

    with pytest.raises(StorageUnavailable, match="malformed; restore it from a backup"):
        await read()


def test_a_file_that_may_not_be_written_is_told(path):
    sqlite3.connect(path).close()
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reading,
        pytest.raises(sqlite3.OperationalError) as caught,
    ):
        reading.execute("CREATE TABLE t (c)")
    fault = of_storage(caught.value, str(path))
    assert isinstance(fault, StorageUnavailable)
    assert "readonly database; let this user write the file and its folder" in str(fault)


def test_a_full_disk_is_told(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("CREATE TABLE t AS SELECT zeroblob(100000)")
    connection.close()
    assert "make room on the disk" in str(of_storage(caught.value, str(path)))


def test_what_is_the_datas_fault_is_not_storages(path):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (c UNIQUE)")
    with pytest.raises(sqlite3.IntegrityError) as caught:
        connection.execute("INSERT INTO t VALUES (1), (1)")
    connection.close()
    assert of_storage(caught.value, str(path)) is None
    assert of_storage(ValueError("no fault of SQLite's"), str(path)) is None


async def test_tables_that_vanish_are_told(path):
    async with connect(f"sqlite:///{path}") as scheduler:
        other = sqlite3.connect(path)
        other.execute("DROP TABLE zart_mail")
        other.close()
        with pytest.raises(SchemaMismatch, match="no such table: zart_mail"):
            await scheduler.history("a")


async def test_what_is_not_open_says_so(path):
    scheduler = connect(f"sqlite:///{path}")
    with pytest.raises(StorageUnavailable, match="is not open; use it inside `async with`"):
        await scheduler.start([new()])
    async with scheduler:
        await scheduler.start([new()])
    with pytest.raises(StorageUnavailable, match="is not open"):
        await scheduler.cancel(["a"])
    with pytest.raises(StorageUnavailable, match="is not open"):
        await scheduler.get("a")


async def test_closing_finishes_what_was_given(path):
    async with connect(f"sqlite:///{path}") as scheduler:
        starts = [asyncio.ensure_future(scheduler.start([new(f"x{number}")])) for number in range(20)]
        await asyncio.sleep(0)
    assert all(answer.accepted for (answer,) in await asyncio.gather(*starts))


async def test_a_wait_does_not_keep_it_from_closing(path):
    async def close_while_somebody_waits():
        async with connect(f"sqlite:///{path}") as scheduler:
            wait = asyncio.ensure_future(scheduler.wait(["a"], timedelta(hours=1)))
            await asyncio.sleep(0)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)

    await returns(close_while_somebody_waits())


def test_an_old_library_is_refused(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(NotSupported, match=r"Zart needs 3\.35 or later"):
        Database(str(path)).open(0)
    assert not path.exists()


@pytest.mark.parametrize("name", ["", ":memory:"])
def test_a_scheduler_without_a_file_is_refused(name):
    with pytest.raises(ValueError, match="for memory take InMemoryScheduler"):
        SqliteScheduler(name)


def test_connect_takes_relative_and_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repr(connect("sqlite:///a/b%20c.db")) == f"SqliteScheduler({str(tmp_path / 'a' / 'b c.db')!r})"
    assert repr(connect("sqlite:////var/zart.db")) == "SqliteScheduler('/var/zart.db')"
    assert isinstance(connect("memory://"), InMemoryScheduler)


@pytest.mark.parametrize(
    "url",
    ["zart.db", "/zart.db", "", "redis://x", "sqlite://", "sqlite:///", "sqlite://zart.db", "sqlite:///z.db?x=1", "memory://x"],
)
def test_connect_names_what_works_for_anything_else(url):
    with pytest.raises(ValueError, match="names no storage; use `memory://`, `sqlite:///"):
        connect(url)

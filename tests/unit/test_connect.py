"""`connect`: what a URL says to Zart, and what to the driver."""

import pytest

from zart import DurableScheduler, InMemoryScheduler, PostgresScheduler, ShardedScheduler, SqliteScheduler
from zart.schedulers import connect, urls_of
from zart.schedulers.address import Address


@pytest.mark.parametrize(
    ("url", "dsn", "options"),
    [
        ("postgresql://h/d", "postgresql://h/d", {}),
        ("postgresql://h/d?", "postgresql://h/d", {}),
        (
            "postgresql://u:p%40@h:5432/d?schema=app&prefix=z_&pooler=true&listen=false&pool_size=4&timeout=500ms",
            "postgresql://u:p%40@h:5432/d",
            {"schema": "app", "prefix": "z_", "pooler": True, "listen": False, "pool_size": 4, "timeout": "500ms"},
        ),
        (
            "postgres://u@h1:1,[::1]:2,h3/d?sslmode=require&schema=app&options=-c%20jit%3Doff&",
            "postgres://u@h1:1,[::1]:2,h3/d?sslmode=require&options=-c%20jit%3Doff",
            {"schema": "app"},
        ),
        ("postgresql:///d?host=%2Frun%2Fpg&pooler=false", "postgresql:///d?host=%2Frun%2Fpg", {"pooler": False}),
        ("postgresql://u:a@b@h/d", "postgresql://u:a@b@h/d", {}),
        ("postgresql://h/d?user=ann@h", "postgresql://h/d?user=ann@h", {}),
    ],
)
def test_zart_s_own_parameters_are_taken_out_and_the_rest_is_left_as_it_was(url, dsn, options):
    assert Address.of(url) == Address(dsn, options)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://h/d?shema=app", "'shema'; did you mean 'schema'"),
        ("postgresql://h/d?ssl_mode=require", "'ssl_mode'; did you mean 'sslmode'"),
        ("postgresql://h/d?channel_binding=require", "'channel_binding'; leave it out; settings go into options"),
        ("postgresql://h/d?Schema=app", "did you mean 'schema'"),
        ("postgresql://h/d?schema=a&schema=b", "gives 'schema' twice"),
        ("postgresql://h/d?user=a&user=b", "gives 'user' twice"),
        ("postgresql://h/d?schema=", "gives 'schema' no value"),
        ("postgresql://h/d?sslmode", "gives 'sslmode' no value"),
        ("postgresql://h/d?sslmode=sure", "sslmode in the URL must be one of disable, .*, not 'sure'"),
        ("postgresql://h/d?target_session_attrs=any-old", "target_session_attrs in the URL must be one of any, primary, "),
        ("postgresql://h/d?pooler=1", "pooler in the URL must be true or false, not '1'"),
        ("postgresql://h/d?listen=False", "listen in the URL must be true or false, not 'False'"),
        ("postgresql://h/d?pool_size=-1", "pool_size in the URL must be a whole number, not '-1'"),
        ("postgresql://h/d?pool_size=0", "pool_size must be 1 or more"),
        ("postgresql://h/d?timeout=soon", "timeout: 'soon' is no duration"),
        ("postgresql://h/d?schema=My%20App", "schema must have 1 to 63"),
        ("postgresql://h/d?prefix=My", "prefix must have 1 to 40"),
    ],
)
def test_a_parameter_that_says_nothing_is_an_error_that_says_why(url, message):
    with pytest.raises(ValueError, match=message):
        connect(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h:x/d",
        "postgresql://h:99999/d",
        "postgresql://ann:s3/cret@h/d",
        "postgresql://ann:12?s3cret@h/d",
        "postgresql://ann:12#s3cret@h/d",
        "postgresql://[::1/d",
    ],
)
def test_host_and_port_that_cannot_be_read_are_told_without_showing_them(url):
    with pytest.raises(ValueError, match="host and port cannot be read") as caught:
        connect(url)
    assert "s3" not in str(caught.value)


def test_the_scheduler_has_the_options_of_its_url():
    scheduler = connect("postgresql+asyncpg://ann:s3cret@h:1/d?schema=app&prefix=z_&sslmode=require")
    assert repr(scheduler) == "<PostgresScheduler of the PostgreSQL database 'h:1/d' (app.z_*)>"


@pytest.mark.parametrize("url", ["postgress://ann:s3cret@h/d?password=s3cret", "redis://ann:s3@cret@h", "postgresql:h"])
def test_a_url_of_no_storage_is_told_without_its_password(url):
    with pytest.raises(ValueError, match="names no storage") as caught:
        connect(url)
    assert "cret" not in str(caught.value)


def test_memory_takes_no_parameters():
    with pytest.raises(ValueError, match="names no storage"):
        connect("memory://?schema=app")


@pytest.mark.parametrize("url", ["POSTGRES+x:u:secret@h", "postgresql:u:secret@h", "ftp://u:secret@h/x"])
def test_a_password_in_a_url_that_names_nothing_is_not_repeated(url):
    with pytest.raises(ValueError, match="names no storage") as refused:
        connect(url)
    assert "secret" not in str(refused.value)


# ---- shards -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("sqlite:///a.db", ["sqlite:///a.db"]),
        ("sqlite:///a.db,sqlite:///b.db", ["sqlite:///a.db", "sqlite:///b.db"]),
        (" sqlite:///a.db\n  sqlite:///b.db\n", ["sqlite:///a.db", "sqlite:///b.db"]),
        ("sqlite:///a.db , memory://", ["sqlite:///a.db", "memory://"]),
        ("sqlite:///a b,c.db", ["sqlite:///a b,c.db"]),
        (
            "postgresql://u@h1:1,h2:2/d,postgresql+asyncpg://u@h3/d",
            ["postgresql://u@h1:1,h2:2/d", "postgresql+asyncpg://u@h3/d"],
        ),
    ],
)
def test_several_urls_are_parted_by_commas_or_spaces_and_one_is_left_whole(url, parts):
    assert list(urls_of(url)) == parts


def test_several_urls_are_shards_in_their_order():
    scheduler = connect("memory://, sqlite:///b.db postgresql://h/d?schema=app")
    assert isinstance(scheduler, ShardedScheduler)
    shards = [scheduler.shard_of(str(number)) for number in range(200)]
    assert {type(each) for each in shards} == {InMemoryScheduler, SqliteScheduler, PostgresScheduler}
    first = ShardedScheduler([InMemoryScheduler(), InMemoryScheduler(), SqliteScheduler("c.db")])
    by_type = [isinstance(first.shard_of(str(number)), SqliteScheduler) for number in range(200)]
    assert by_type == [isinstance(each, PostgresScheduler) for each in shards], "the third is the third"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///a.db,sqlite:///a.db", "given twice"),
        ("sqlite:///a.db,sqlite:///b.db,", "ends with a comma"),
        ("sqlite:///a.db,,sqlite:///b.db", "ends with a comma"),
        ("sqlite:///a.db,", "ends with a comma"),
        (",sqlite:///a.db", "names no storage"),
        ("sqlite:///a.db,redis://ann:s3cret@h", "names no storage"),
    ],
)
def test_shards_that_cannot_be_meant_are_an_error_that_says_why(url, message):
    with pytest.raises(ValueError, match=message) as refused:
        connect(url)
    assert "s3cret" not in str(refused.value)


async def test_every_shard_has_the_payload_codec(tmp_path):
    class Backwards:
        allow_plain = False

        def seal(self, text, place):
            return text[::-1]

        def open(self, sealed, place):
            return sealed[::-1]

    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("a", "b")]
    async with connect(",".join(urls), payload_codec=Backwards()) as storage:
        await storage.migrate()
        for number in range(8):
            await DurableScheduler(storage).start(str(number), "echo", "a secret")
        found = await DurableScheduler(storage).list_executions()
        assert [each.execution_id for each in found] == [str(number) for number in reversed(range(8))]
    for url in urls:
        content = (tmp_path / url.rpartition("/")[2]).read_bytes()
        assert (b"terces" in content, b"secret" in content) == (True, False)

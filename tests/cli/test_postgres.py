"""The command line on PostgreSQL, as far as it is not the same as on SQLite; what is, runs on both."""

import pytest

from tests.cli.conftest import APP, StartWorker, Zart, until
from zart.cli.errors import Exit

pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)


@pytest.mark.parametrize("command", [("list",), ("schedule", "echo"), ("worker", "--app", APP)])
def test_without_the_schema_it_ends_with_78_and_says_what_to_do(zart: Zart, command: tuple[str, ...]) -> None:
    answer = zart(*command)
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "schema_mismatch")
    assert "zart migrate" in answer.problem["hint"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("zart@127.0.0.1:", "zart:s3cret@127.0.0.1:1/"), Exit.UNAVAILABLE),
        (("zart@", "nobody:s3cret@"), Exit.UNAVAILABLE),
        (("/postgres?", "/nowhere?"), Exit.UNAVAILABLE),
        (("schema=", "schema=A&password=s3cret&x="), Exit.CONFIGURATION),
        (("schema=", "shema="), Exit.CONFIGURATION),
        (("schema=", "listen=perhaps&schema="), Exit.CONFIGURATION),
        (("zart@", "zart:not/s3cret@"), Exit.CONFIGURATION),
    ],
)
def test_what_is_wrong_with_the_url_is_told_without_its_password(
    zart: Zart, url: str, change: tuple[str, str], code: Exit
) -> None:
    answer = zart("list", "--database-url", url.replace(*change))
    assert answer.exit == code
    assert answer.problem["code"] in {"storage_unavailable", "bad_database_url"}
    assert "s3cret" not in answer.err


def test_behind_a_pooler_and_without_listen_work_is_found_all_the_same(
    zart: Zart, url: str, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    zart("migrate")
    start_worker("--database-url", f"{url}&pooler=true&pool_size=2&timeout=5s")
    monkeypatch.setenv("ZART_DATABASE_URL", f"{url}&listen=false")
    zart("schedule", "data-pipeline", "--id", "one", "--data", '{"dataset":"x"}')
    until(lambda: zart("status", "one").data["step"] == "await-approval", "the approval")
    zart("event", "one", "approval", "--data", '{"approved":true,"by":"ann"}')
    assert zart("wait", "one", "--timeout", "20").data["output"] == {"rows_written": 48291}


def test_two_prefixes_in_one_schema_are_two_of_everything(zart: Zart, url: str) -> None:
    for prefix in ("zart_", "orders_"):
        assert zart("migrate", "--database-url", f"{url}&prefix={prefix}").data["from"] == 0
    zart("schedule", "echo", "--id", "one", "--database-url", f"{url}&prefix=orders_")
    assert zart("list").data == []
    assert [row["execution_id"] for row in zart("list", "--database-url", f"{url}&prefix=orders_").data] == ["one"]

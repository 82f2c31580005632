import pytest

from zart.cli.settings import Settings, format_of, masked


@pytest.mark.parametrize(
    ("tokens", "variable", "form"),
    [
        (["status", "x"], None, "json"),
        (["status", "x", "-o", "table"], None, "table"),
        (["status", "x", "--output=jsonl"], None, "jsonl"),
        (["--json", "status", "-o", "table"], None, "json"),
        (["status", "x"], "table", "table"),
        (["status", "x", "--json"], "table", "json"),
        (["status", "--", "-o", "table"], None, "json"),
        (["status", "-o"], "table", "json"),
        (["status", "-o", "nonsense"], None, "json"),
    ],
)
def test_the_format_of_a_command_line_is_known_before_it_is_understood(
    tokens: list[str], variable: str | None, form: str
) -> None:
    assert format_of(tokens, {} if variable is None else {"ZART_OUTPUT": variable}) == form


def test_a_person_gets_a_table_and_a_program_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().format == "json"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert Settings().format == "table"
    assert Settings(json=True).format == "json"
    assert Settings(output="jsonl").format == "jsonl"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:s3cret@db/zart", "postgresql://ann:***@db/zart"),
        ("postgresql://ann:a:b%40@db:5432/zart?x=1", "postgresql://ann:***@db:5432/zart?x=1"),
        ("postgresql://ann:p@ss@db/zart", "postgresql://ann:***@db/zart"),
        ("postgresql://ann:p/a@s#s@db/zart", "postgresql://ann:***@db/zart"),
        ("postgresql://ann:pass word@db/zart", "postgresql://ann:***@db/zart"),
        ("postgresql://db/zart?user=ann&password=s3cret&x=1", "postgresql://db/zart?user=ann&password=***&x=1"),
        ("sqlite:///zart.db", "sqlite:///zart.db"),
        ("no url ann:s3cret@db", "no url ann:s3cret@db"),
        ("postgresql://a:b@db/x , postgresql://c:d@db/y", "postgresql://a:***@db/x , postgresql://c:***@db/y"),
    ],
)
def test_passwords_in_urls_are_not_shown(url: str, shown: str) -> None:
    assert masked(url) == shown

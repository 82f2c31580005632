"""The session of an agent, typed from the page into a shell, on each kind of database, with a worker in another process."""

import pytest

from tests.docs.test_snippets import ROOT, Shell, matches, session, snippets
from tests.servers.postgres import PostgresServer

PAGE = ROOT / "docs" / "how-to" / "give-your-agent-durable-work.md"
LITERALLY = (
    """zart schedule data-pipeline --data '{"dataset":"sales-q4-2025"}' --id pipeline-001""",
    "zart status pipeline-001",
    """zart event pipeline-001 approval --data '{"approved":true,"by":"alice"}'""",
    "zart wait pipeline-001 --timeout 3600",
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_session_of_the_page_does_what_the_page_says(kind, tmp_path, request):
    shell = Shell(tmp_path)
    try:
        if kind == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            shell.type(f"export ZART_DATABASE_URL='{server.dsn}?schema=agent'")
        for snippet in snippets(PAGE):
            if snippet.file is not None:
                (tmp_path / snippet.file).write_text(snippet.text)
            elif snippet.language == "console":
                for command, expected in session(snippet.text):
                    printed = shell.type(command)
                    assert matches(expected, printed), f"$ {command}\nprinted:\n{printed}"
    finally:
        shell.close()
    assert (tmp_path / "zart.db").exists() is (kind == "sqlite")


def test_the_page_types_the_session_of_the_manual():
    typed = [command for snippet in snippets(PAGE) if snippet.language == "console" for command, _ in session(snippet.text)]
    places = [typed.index(command) for command in LITERALLY]
    assert places == sorted(places)

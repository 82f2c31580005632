"""Every snippet of README and docs runs, in the order of its page, and prints what the page says it prints.

A page is a folder, a Python module and a shell. Its `python` blocks run one after the other in the module, with `await` where
they like; one under `<!-- file: NAME -->` is written to the folder instead. Its `console` blocks are typed into the shell:
what follows a `$ ` line must be its output, with `...` for anything. Installation and measuring stand in `sh` blocks, which
run on the reader's machine only.

A page that speaks of postgresql://localhost/app has that database for itself, and its `sql` blocks run there. So has one
that speaks of mysql://app:secret@localhost/app, on a MariaDB server.
"""

import ast
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import asyncpg
import pytest
from attrs import evolve, frozen

from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer, installed

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = {"python", "console", "sql"}
READ = {"sh", "text", "json", "toml", "ini", "yaml", "dockerfile"}
DATABASE = re.compile(r"postgresql://(?P<user>\w+@)?localhost/app\b")
MYSQL = re.compile(r"mysql://app:secret@localhost/app\b")
ELSEWHERE = (
    "mkdir ",
    "pip install ",
    "make ",
    "python3 -m venv ",
    ". .venv/bin/activate",
    ".venv/bin/python -m benchmarks",
    "zart bench ",
    "git clone ",
    "cd ",
)
FENCE = re.compile(
    r"(?:^<!-- file: (?P<file>\S+) -->\n+)?^(?P<tick>```+)(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=tick)$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<target>[^)#]+)(?:#[^)]*)?\)")
PATIENCE = 45


@frozen
class Snippet:
    line: int
    language: str
    text: str
    file: str | None


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text()
    return [
        Snippet(text[: found.start("text")].count("\n") + 1, found["language"], found["text"], found["file"])
        for found in FENCE.finditer(text)
    ]


class Shell:
    """A bash that is typed into. What it has started in the background ends with it."""

    def __init__(self, folder: Path) -> None:
        scripts = str(Path(sys.executable).parent)
        # psql is among the server's programs
        path = ":".join([scripts, os.environ["PATH"], *(str(folder) for folder in installed().values())])
        env = {"PATH": path, "HOME": str(folder), "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
        self._complaints = folder / ".stderr"
        with self._complaints.open("w") as complaints:
            self._bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )

    def type(self, command: str) -> str:
        end = "-- end of output --"
        self._bash.stdin.write(f"{command}\nprintf '\\n{end} %s\\n' $?\n")
        self._bash.stdin.flush()
        patience = threading.Timer(PATIENCE, self._bash.kill)
        patience.start()
        output = ""
        for line in self._bash.stdout:
            if line.startswith(end):
                patience.cancel()
                assert line.split()[-1] == "0", f"$ {command}\n{output}\n{self._complaints.read_text()}"
                return output.strip()
            output += line
        patience.cancel()
        pytest.fail(f"$ {command}\nhas not ended within {PATIENCE} s\n{output}\n{self._complaints.read_text()}")

    def close(self) -> None:
        if self._bash.poll() is None:
            self._bash.communicate("kill -9 $(jobs -p) 2> /dev/null; exit\n")


def session(text: str) -> Iterator[tuple[str, str]]:
    """Part a console block into commands and what they print."""
    command, output = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, output.strip()
            command, output = line[2:], ""
        elif command.endswith("\\"):
            command += f"\n{line}"
        else:
            output += f"{line}\n"
    yield command, output.strip()


def matches(expected: str, printed: str) -> bool:
    pattern = re.escape(expected).replace(r"\.\.\.", ".*?")
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


async def run_python(snippet: Snippet, page: Path, module: ModuleType) -> None:
    # Lines are counted as in the page, so that a traceback points there.
    source = "\n" * (snippet.line - 1) + snippet.text
    code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, module.__dict__)
    if inspect.iscoroutine(result):
        await result


@pytest.fixture
def dsn(page: Path, request: pytest.FixtureRequest) -> str:
    """Where the page's own database is; nowhere if it speaks of none."""
    if not any(each.language in RUN and DATABASE.search(each.text) for each in snippets(page)):
        return ""
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"page_{PAGES.index(page)}"
    server.run(f"CREATE DATABASE {name}")
    return server.dsn.replace("/postgres", f"/{name}")


@pytest.fixture
async def mysql_url(page: Path, request: pytest.FixtureRequest) -> str:
    """Where the page's own MariaDB database is; nowhere if it speaks of none."""
    if not any(each.language in RUN and MYSQL.search(each.text) for each in snippets(page)):
        return ""
    server: MariaDbServer = request.getfixturevalue("mariadb_server")
    name = f"page_{PAGES.index(page)}"
    async with await server.session() as connection, connection.cursor() as cursor:
        await cursor.execute(f"CREATE DATABASE {name}")
    return server.url.replace("/zart", f"/{name}")


async def run_sql(text: str, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(text)
    finally:
        await connection.close()


@pytest.mark.timeout(180)  # the tutorial waits for a lease to run out and packs a parcel twice, perhaps on a busy machine
@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: str(page.relative_to(ROOT)))
async def test_every_snippet_of_a_page_does_what_the_page_says(page, dsn, mysql_url, tmp_path, monkeypatch):
    module = ModuleType("page")
    known = set(sys.modules)
    monkeypatch.setitem(sys.modules, "page", module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    shell = Shell(tmp_path)
    try:
        for written in snippets(page):
            # Another user's URL leads to the same place.
            text = DATABASE.sub(lambda of: dsn.replace("zart@", of["user"] or "zart@"), written.text)
            snippet = evolve(written, text=MYSQL.sub(mysql_url, text))
            if snippet.file is not None:
                (tmp_path / snippet.file).write_text(snippet.text)
            elif snippet.language == "python":
                await run_python(snippet, page, module)
            elif snippet.language == "sql":
                await run_sql(snippet.text, dsn)
            elif snippet.language == "console":
                for command, expected in session(snippet.text):
                    printed = shell.type(command)
                    assert matches(expected, printed), f"{page}:{snippet.line}: $ {command}\nprinted:\n{printed}"
    finally:
        shell.close()
        for name in set(sys.modules) - known:
            if getattr(sys.modules[name], "__file__", None) in {str(path) for path in tmp_path.glob("*.py")}:
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_does_not_run_is_data_or_belongs_to_the_readers_machine(page):
    for snippet in snippets(page):
        if snippet.language.startswith("{"):
            continue  # a directive of the documentation's builder, which fails on what it does not know
        assert snippet.language in RUN | READ, f"{page}:{snippet.line}: {snippet.language!r} is neither run nor known as data"
        if snippet.language == "sh":
            lines = [line for line in snippet.text.splitlines() if line]
            assert all(line.startswith(ELSEWHERE) for line in lines), (
                f"{page}:{snippet.line}: make it a console block, it can run"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    targets = [found["target"] for found in LINK.finditer(page.read_text())]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing, f"{page}: nothing at {missing}"


def test_all_pages_say_the_same_of_await_outside_a_function():
    paragraphs = [(page.name, " ".join(each.split())) for page in PAGES for each in page.read_text().split("\n\n")]
    told = {page: each for page, each in paragraphs if "IPython" in each}
    assert set(told) == {"README.md", "index.md", "run-workers.md"}
    assert len(set(told.values())) == 1, told
    # Up to Python 3.12 that shell takes an empty line within a block for the block's end.
    assert not [page for page, each in paragraphs if "-m asyncio" in each]


def test_the_first_handler_of_the_readme_fits_on_a_screen():
    first = next(snippet for snippet in snippets(ROOT / "README.md") if snippet.language == "python")
    assert "class " in first.text
    assert len(first.text.splitlines()) <= 25


def test_every_guarantee_of_the_readme_names_a_test_that_exists():
    text = (ROOT / "README.md").read_text()
    rows = [row for row in text.splitlines() if row.startswith("|") and "tests/" in row]
    assert len(rows) >= 10
    for row in rows:
        for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row):
            source = (ROOT / path).read_text()
            assert not name or re.search(rf"\b{name}\b", source), f"{path} has no {name}"

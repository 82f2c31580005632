"""The pages say what they mean where they are read as they are written: in a checkout."""

import importlib
import re
from operator import attrgetter

import pytest

from tests.docs.test_snippets import PAGES, ROOT, snippets

DOCS = ROOT / "docs"
WAY = DOCS / "explain" / "how-an-execution-works.md"
MODULE = re.compile(r"\[(?P<name>[\w/]+)\.py\]\(\.\./\.\./zart/(?P<file>[\w/]+)\.py\)")
INDEXED = [page for page in PAGES if page.parent.parent == DOCS and page.parent.name != "tutorial" and page.name != "index.md"]


def prose(text):
    """Return what is neither a fence nor a comment."""
    return re.sub(r"^```.*?^```$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_file_is_named_to_the_reader_before_its_text(page):
    text = page.read_text()
    for snippet in snippets(page):
        if snippet.file is not None:
            before = prose("\n".join(text.splitlines()[: snippet.line - 1]))
            assert f"`{snippet.file}`" in before, (
                f"{page}:{snippet.line}: a comment is not seen; name {snippet.file} in a sentence"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_has_words(page):
    assert "[](" not in page.read_text()


@pytest.mark.parametrize("page", INDEXED, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_index_of_its_folder_links_a_page_by_its_title(page):
    title = re.match(r"# (.+)", page.read_text())[1]
    assert f"* [{title}]({page.name})" in (page.parent / "index.md").read_text()


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("functions", "zart_step(name, *, returns=<from the function's return annotation>, retry=None, timeout=None, "),
        ("functions", "zart_durable(name=None, *, on_failure=None, timeout=None, max_retries=0, retry=None, queue='default', "),
        ("handlers", "TaskHandler.failure_timeout = '10m'"),
        ("handlers", "await TaskContext.wait_for_event(event, type=typing.Any, *, name=None, timeout=None)"),
        (
            "handlers",
            "RetryConfig.exponential(max_retries, delay, multiplier=2.0, *, max_delay=None, jitter='none', retry_on=(), ",
        ),
    ],
)
def test_the_reference_shows_options_with_their_defaults(page, line):
    blocks = re.findall(r"^```text\n([^`]*)```$", (DOCS / "reference" / f"{page}.md").read_text(), re.MULTILINE)
    assert any(each.startswith(line) for block in blocks for each in block.splitlines())


def test_the_way_of_an_execution_through_the_code_leads_through_functions_that_are_there():
    rows = [row for row in WAY.read_text().splitlines() if row.startswith("|") and MODULE.search(row)]
    assert [row.split(" | ")[0] for row in rows] == [f"| {what}" for what in (*range(1, 12), "crash", "failure")]
    for row in rows:
        found = list(MODULE.finditer(row))
        ends = [*(each.start() for each in found[1:]), len(row)]
        for each, end in zip(found, ends, strict=True):
            assert each["name"] == each["file"]
            module = importlib.import_module(f"zart.{each['file'].replace('/', '.')}")
            names = re.findall(r"`([\w.]+)`", row[each.end() : end])
            assert names
            for name in names:
                assert callable(attrgetter(name)(module)), f"{row[:6]}: {each['file']}.py has no {name}"

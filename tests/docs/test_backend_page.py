"""The backend that the documentation builds stays small enough to read. That it keeps the contract is seen on the page."""

from tests.docs.test_snippets import ROOT, snippets

PAGE = ROOT / "docs" / "how-to" / "write-a-backend.md"


def code_lines() -> int:
    built = [each.text for each in snippets(PAGE) if each.file in {"rows.py", "file_scheduler.py"}]
    assert len(built) == 2
    return sum(bool(line.strip()) for text in built for line in text.splitlines())


def test_the_backend_of_the_page_has_less_than_three_hundred_lines():
    assert 100 < code_lines() < 300


def test_the_page_runs_the_whole_contract_on_it():
    (console,) = [each.text for each in snippets(PAGE) if each.language == "console"]
    assert "pytest" in console
    assert "test_file_scheduler.py" in console
    assert "... passed in ..." in console

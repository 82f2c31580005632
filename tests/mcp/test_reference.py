"""The page on agents is that of the tools."""

from pathlib import Path

from zart.mcp import reference
from zart.mcp.tools import TOOLS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mcp.md"


def test_the_page_is_that_of_the_tools():
    _, heading, tools = PAGE.read_text().partition(reference.HEADING)
    assert heading
    assert tools == reference.reference(), "write it anew: python -m zart.mcp.reference docs/reference/mcp.md"
    assert all(f"### `{name}`" in tools for name in TOOLS)


def test_the_page_is_written_under_its_heading(tmp_path):
    page = tmp_path / "mcp.md"
    page.write_text(f"by hand\n\n{reference.HEADING}old")
    reference.main([str(page)])
    assert page.read_text() == f"by hand\n\n{reference.HEADING}{reference.reference()}"

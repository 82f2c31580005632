"""Pages of the documentation that are partly made: tables, and what stands under a heading."""

from collections.abc import Iterable
from pathlib import Path


def cells(*said: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(each.replace('|', chr(92) + '|') for each in said)} |"


def write_under(heading: str, text: str, pages: Iterable[str]) -> None:
    """Write what is made into pages, under its heading; what stands above was written by hand, and stays."""
    for page in map(Path, pages):
        above, found, _ = page.read_text("utf-8").partition(heading)
        page.write_text(f"{above}{found}{text}", "utf-8")

"""The reference of the metrics in Markdown, made from their table.

`python -m zart.telemetry.reference docs/reference/metrics.md` writes it into the documentation, where a change of the metrics
shows as a change of the page.
"""

import sys
from collections.abc import Iterator, Sequence

from zart.markdown import write_under
from zart.telemetry.metrics import METRICS

HEADING = "## Metrics\n\n"
"""What stands under it in the page is made; what stands above is written by hand."""


def reference() -> str:
    """Return the reference in Markdown: every metric with its kind, labels and meaning."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from ("| name | kind | labels | meaning |", "|---|---|---|---|")
    for each in METRICS:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        yield f"| `{each.name}` | {each.kind.value} | {labels} | {each.help} |"


def main(arguments: Sequence[str]) -> None:
    """Write the reference into pages of the documentation, under its heading `Metrics`."""
    write_under(HEADING, reference(), arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
